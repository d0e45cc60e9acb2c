"""A process that serves."""

import gc
from typing import Any

import pytest

from service.process import START_FAILED, run
from service.server import Server
from service.settings import Settings


def test_what_stays_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: done.append("frozen"))

    def serve(_: Server, sockets: Any) -> None:
        done.append("served")

    monkeypatch.setattr(Server, "run", serve)
    assert run(Settings(device="cpu", watchdog_seconds=0), []) == START_FAILED  # since nothing has started
    assert done == ["frozen", "served"]
