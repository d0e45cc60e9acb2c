"""`lossmeter report` within this process, with engines that are kept from one test to the next."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from core.declare import Measure
from core.engine import Engine
from offline import command

Lossmeter = Callable[..., int]


@lru_cache
def engine_of(columns: Measure) -> Engine:
    """An engine on one thread."""
    return Engine([columns], device="cpu", threads=1)


class Kept:
    """An engine as the command wants it, which does not end with it."""

    def __init__(self, measures: list[Measure], **_: Any) -> None:
        self.per_sample = engine_of(measures[0]).per_sample

    def close(self) -> None:
        """Nothing ends."""


@pytest.fixture
def lossmeter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lossmeter:
    """The command, in an empty folder; its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(command, "Engine", Kept)
    return lambda *arguments: command.main([str(one) for one in arguments])
