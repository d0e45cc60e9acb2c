"""The event loop is free while a loss is computed, but for a loss that is less work than to hand it over."""

import asyncio
import json
import threading
from collections import Counter
from typing import Any

import pytest
from starlette.routing import Router

from core.engine import Engine
from service import losses
from service.app import create_app
from service.settings import Settings
from service.work import Work
from tests.service.conftest import GOOD, JSON, LOSS, serving
from tests.service.live import listening
from tests.service.raw import connected, loss, request

LARGE = json.dumps({"logits": [[0.0, 0.0]] * 10_000, "targets": [1] * 10_000}).encode()
BROADCAST = json.dumps({"log_probabilities": [[0.0]] * 200, "targets": [[0.5] * 200]}).encode()  # small, not its work
SECONDS = 30  # which only keep a test from hanging: nothing here takes long


def test_others_are_answered_while_a_loss_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun, others_answered = Engine.per_sample, threading.Event(), threading.Event()

    def wait(*arguments: Any) -> Any:
        begun.set()
        assert others_answered.wait(SECONDS)
        return real(*arguments)

    with listening() as address, connected(address) as computing, connected(address) as other:
        monkeypatch.setattr(Engine, "per_sample", wait)
        computing.send(request(LARGE))
        try:
            assert begun.wait(SECONDS)
            for path in ("/livez", "/v2/health/live"):
                other.send(request(None, method="GET", path=path))
                assert other.read()[0] == 200
        finally:
            others_answered.set()
        assert loss(computing.read()) == pytest.approx(0.6931472)


def threads_that_compute(monkeypatch: pytest.MonkeyPatch, *requests: tuple[str, bytes]) -> list[str]:
    """The names of the threads on which `requests`, paths and bodies, are computed."""
    real, names = Engine.per_sample, []

    def note(*arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        return real(*arguments)

    with listening() as address, connected(address) as wire:
        monkeypatch.setattr(Engine, "per_sample", note)
        for path, body in requests:
            wire.send(request(body, path=path))
            assert wire.read()[0] == 200
    return names


def test_a_small_loss_is_computed_on_the_loop_and_any_other_on_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    names = threads_that_compute(monkeypatch, (LOSS, GOOD), (LOSS, LARGE), ("/v1/losses/kl_div", BROADCAST))
    assert [name.startswith("request") for name in names] == [False, True, True]


@pytest.mark.parametrize("path", [LOSS, "/v2/models/cross_entropy/infer"])
def test_a_loss_is_found_without_the_router_unless_pages_of_others_may_ask(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def fail(*_: Any) -> None:
        raise AssertionError("routed")

    with serving() as client:
        monkeypatch.setattr(Router, "__call__", fail)
        assert client.post(path, content=b"{}", headers=JSON).status_code in (400, 422)
    monkeypatch.undo()
    with serving(cors_origins=("*",)) as client:
        monkeypatch.setattr(Router, "__call__", fail)
        assert client.post(path, content=b"{}", headers=JSON).status_code == 500


def test_the_loop_reads_no_more_than_so_many_requests_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MOST_INLINE", 3)
    read: list[int] = []  # the turn in which each was
    turn = 0
    real = Work.prepare

    def prepare(work: Work) -> int:
        read.append(turn)
        return real(work)

    monkeypatch.setattr(Work, "prepare", prepare)
    app = create_app(Settings(device="cpu", threads=2))

    async def ask() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": GOOD}

        async def send(message: Any) -> None:
            assert message.get("status", 200) == 200

        headers = [(b"content-type", b"application/json")]
        await app({"type": "http", "method": "POST", "path": LOSS, "headers": headers}, receive, send)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            counting = asyncio.create_task(count_turns())
            await asyncio.gather(*(ask() for _ in range(20)))
            counting.cancel()

    asyncio.run(run())
    assert len(read) == 20
    assert max(Counter(read).values()) <= 3
