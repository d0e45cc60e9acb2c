"""Free memory is given back, once, when nothing is asked for any more."""

import asyncio

import pytest

from service import memory
from service.telemetry import Metrics, Record

LOOK = 0.02


class Trim:
    """Stands for glibc's malloc_trim: how often it was called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, pad: int) -> int:
        self.times += 1
        return 1


async def looks(count: int) -> None:
    await asyncio.sleep(count * LOOK * 2)


def test_it_is_given_back_once_after_the_last_request() -> None:
    async def run() -> None:
        trim = Trim()
        metrics = Metrics(["kl_div"])
        task = asyncio.create_task(memory.give_back_when_idle(metrics, trim, LOOK))
        await looks(3)
        assert trim.times == 0
        for times in (1, 2):
            for _ in range(3):
                metrics.begin()
                metrics.end(Record("id", "POST", "/", measure="kl_div"))
            await looks(5)
            assert trim.times == times
        task.cancel()

    asyncio.run(run())


def test_nothing_is_given_back_while_a_request_is_answered() -> None:
    async def run() -> None:
        trim = Trim()
        metrics = Metrics(["kl_div"])
        task = asyncio.create_task(memory.give_back_when_idle(metrics, trim, LOOK))
        await looks(1)
        metrics.begin()
        await looks(5)
        assert trim.times == 0
        metrics.end(Record("id", "POST", "/", measure="kl_div"))
        await looks(5)
        assert trim.times == 1
        task.cancel()

    asyncio.run(run())


def test_probes_keep_nothing_and_give_nothing_back() -> None:
    async def run() -> None:
        trim = Trim()
        metrics = Metrics(["kl_div"])
        task = asyncio.create_task(memory.give_back_when_idle(metrics, trim, LOOK))
        await looks(1)
        metrics.begin()
        metrics.end(Record("id", "GET", "/livez"))
        await looks(3)
        assert trim.times == 0
        task.cancel()

    asyncio.run(run())


@pytest.mark.skipif(memory.trim is None, reason="this is not glibc, which alone has malloc_trim")
def test_glibc_can_give_back() -> None:
    assert memory.trim is not None
    assert memory.trim(0) in (0, 1)
