"""Free memory is given back, once, when nothing is asked for any more."""

import asyncio
import sys

import pytest

from service import memory
from service.telemetry import Metrics, Record

LOOK = 0.02


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A mark for each time."""
    times: list[int] = []

    def trim(pad: int) -> int:
        times.append(pad)
        return 1

    monkeypatch.setattr(memory, "trim", trim)
    monkeypatch.setattr(memory, "SECONDS", LOOK)
    return times


async def looks(count: int) -> None:
    await asyncio.sleep(count * LOOK * 2)


def test_it_is_given_back_once_after_the_last_request(given_back: list[int]) -> None:
    async def run() -> None:
        metrics = Metrics()
        task = asyncio.create_task(memory.give_back_when_idle(metrics))
        await looks(3)
        assert given_back == []
        for times in (1, 2):
            for _ in range(3):
                metrics.begin()
                metrics.end(Record("id", "GET", "/"))
            await looks(5)
            assert given_back == [0] * times
        task.cancel()

    asyncio.run(run())


def test_nothing_is_given_back_while_a_request_is_answered(given_back: list[int]) -> None:
    async def run() -> None:
        metrics = Metrics()
        task = asyncio.create_task(memory.give_back_when_idle(metrics))
        await looks(1)
        metrics.begin()
        await looks(5)
        assert given_back == []
        metrics.end(Record("id", "GET", "/"))
        await looks(5)
        assert given_back == [0]
        task.cancel()

    asyncio.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc_trim is not elsewhere")
def test_glibc_can_give_back() -> None:
    assert memory.trim is not None
    assert memory.trim(0) in (0, 1)
