"""The event loop is free while a loss is computed."""

import threading
from typing import Any

import pytest

from core.engine import Engine
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import LOSSES, connected, loss, request

SECONDS = 30  # which only keep a test from hanging: nothing here takes long


def test_others_are_answered_while_a_loss_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun, others_answered = Engine.per_sample, threading.Event(), threading.Event()

    def wait(*arguments: Any) -> Any:
        begun.set()
        assert others_answered.wait(SECONDS)
        return real(*arguments)

    with listening() as address, connected(address) as computing, connected(address) as other:
        monkeypatch.setattr(Engine, "per_sample", wait)
        computing.send(request(GOOD))
        try:
            assert begun.wait(SECONDS)
            for path in ("/livez", "/v2/health/live"):
                other.send(request(None, method="GET", path=path))
                assert other.read()[0] == 200
        finally:
            others_answered.set()
        assert loss(computing.read()) == LOSSES[GOOD]
