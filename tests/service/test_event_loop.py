"""The event loop is free while a loss is computed, but for a loss that is less work than to hand it over."""

import json
import threading
from typing import Any

import pytest
from starlette.routing import Router

from core.engine import Engine
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
