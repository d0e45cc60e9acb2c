"""The outermost layer, around apps that misbehave."""

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from core.errors import DeviceUnavailable
from service.app import create_app
from service.edge import Edge, LastResort
from service.settings import Settings
from service.telemetry import Metrics
from tests.service.conftest import serving

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def nothing() -> Message:
    raise AssertionError("nothing was to be received")


def answers(app: Any, scope: dict[str, Any] = SCOPE) -> list[Any]:
    """What `app` sends, inside the outermost layers."""
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Edge(LastResort(app), Metrics())(scope, nothing, send))
    return sent


def test_a_failure_before_the_answer_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("why")

    start, body = answers(app)
    assert start["status"] == 500
    assert "why" not in str(json.loads(body["body"]))
    assert "why" in caplog.text


def test_a_failure_in_the_middle_of_an_answer_starts_no_second_one(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("why")

    (start,) = answers(app)
    assert start["status"] == 200
    assert "why" in caplog.text


def test_head_keeps_the_form_of_an_answer_in_pieces() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    _, first, second = answers(app, SCOPE | {"method": "HEAD"})
    assert (first["body"], first["more_body"], second["body"]) == (b"", True, b"")


def test_a_request_that_is_still_answered_is_in_flight() -> None:
    metrics, seen = Metrics(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(metrics.registry.get_sample_value("lossmeter_in_flight_requests"))

    asyncio.run(Edge(app, metrics)(SCOPE, nothing, nothing))  # type: ignore[arg-type]
    assert seen == [1]
    assert metrics.registry.get_sample_value("lossmeter_in_flight_requests") == 0


def test_a_start_that_fails_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise DeviceUnavailable("DEVICE is cuda, but: there is none")

    monkeypatch.setattr("service.app.Engine", fail)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(DeviceUnavailable):
        asyncio.run(create_app(Settings())({"type": "lifespan", "app": None}, receive, send))
    assert sent == [
        {"type": "lifespan.startup.failed", "message": "cannot start: DEVICE is cuda, but: there is none"},
    ]


def test_a_stopped_service_can_be_started_again() -> None:
    for _ in range(2):
        with serving() as client:
            assert client.get("/readyz").status_code == 200
    assert logging.getLogger("lossmeter").isEnabledFor(logging.WARNING)
