"""Bodies that never arrive whole: the app called by hand, as a server calls it."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.body import header, listed
from tests.service.conftest import GOOD, JSON, LOSS


def exchange(app: FastAPI, messages: list[dict[str, Any]], *headers: tuple[bytes, bytes]) -> list[Any]:
    """What the app sends for a POST whose body arrives as `messages`."""
    sent: list[Any] = []
    arriving = iter(messages)

    async def receive() -> Any:
        return next(arriving)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": LOSS,
        "raw_path": LOSS.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers],
        "server": ("testserver", 80),
        "client": ("testclient", 1),
    }
    asyncio.run(app(scope, receive, send))
    return sent


def chunk(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def counted(client: TestClient, status: int) -> float:
    lines = client.get("/metrics").text.splitlines()
    label = f'lossmeter_requests_total{{measure="cross_entropy",status="{status}"}}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(label))


def test_a_client_that_hangs_up_gets_no_answer_and_is_counted(client: TestClient) -> None:
    before = counted(client, 499)
    app: Any = client.app
    assert exchange(app, [chunk(GOOD[:9], more=True), {"type": "http.disconnect"}]) == []
    assert exchange(app, [{"type": "http.disconnect"}], (b"content-length", b"47")) == []
    assert counted(client, 499) == before + 2
    assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 200


@pytest.mark.parametrize("declared", [b"-1", b"+5", b"5, 5", b"1e3", b"x", b"", b"9" * 25, b"\xb2"])
def test_a_length_that_is_no_number_is_malformed(client: TestClient, declared: bytes) -> None:
    app: Any = client.app
    start, body = exchange(app, [chunk(GOOD, more=False)], (b"content-length", declared))
    assert start["status"] == 400
    assert json.loads(body["body"])["status"] == 400


@pytest.mark.parametrize("change", [-1, 1])
def test_a_body_of_another_length_than_declared_is_malformed(client: TestClient, change: int) -> None:
    app: Any = client.app
    length = str(len(GOOD) + change).encode()
    messages = [chunk(GOOD[:5], more=True), chunk(b"", more=True), chunk(GOOD[5:], more=False)]
    start, _ = exchange(app, messages, (b"content-length", length))
    assert start["status"] == 400
    start, _ = exchange(app, messages, (b"content-length", str(len(GOOD)).encode()))
    assert start["status"] == 200


def test_a_declared_length_over_the_limit_is_refused_unread(client: TestClient) -> None:
    app: Any = client.app
    start, _ = exchange(app, [], (b"content-length", b"9" * 15))
    assert start["status"] == 413


def test_the_headers_that_the_connection_has_sorted_are_not_sorted_again() -> None:
    scope: dict[str, Any] = {"headers": [(b"accept", b"a"), (b"accept", b"b")]}
    assert (listed(scope, b"accept"), header(scope, b"accept")) == ("a, b", "a")
    scope = {"headers": [], "lossmeter.headers": {b"accept": b"c"}}
    assert listed(scope, b"accept") == "c"
