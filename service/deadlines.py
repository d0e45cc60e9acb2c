"""What a connection waits for and how long: deadlines that are set often and come seldom."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

SLOWEST = 2**16  # bytes a second: what is slower on the whole is given up


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The most seconds that a connection waits: see the settings of these names."""

    head: float
    body: float
    send: float
    idle: float


class Timer:
    """Calls `ring` at the earliest moment that was set. To set a later one costs a comparison, and no timer is undone
    for a request: whoever is rung looks what is due, and sets the next moment."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._call = loop, ring
        self._handle: asyncio.TimerHandle | None = None
        self._when = inf

    def by(self, when: float) -> None:
        """Ring at `when` (the loop's time) at the latest."""
        if when < self._when:
            if self._handle:
                self._handle.cancel()
            self._when, self._handle = when, self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._when, self._handle = inf, None
        self._call()

    def stop(self) -> None:
        """Never ring again."""
        if self._handle:
            self._handle.cancel()
        self._when, self._handle = -inf, None


class Pace:
    """How quickly bytes come: some every `allowance` seconds, and after so long SLOWEST a second on the whole."""

    __slots__ = ("_allowance", "_began", "_count", "_last")

    def __init__(self, now: float, allowance: float) -> None:
        self._began = self._last = now
        self._allowance, self._count = allowance, 0

    def reach(self, count: int, now: float) -> None:
        """`count` bytes have come in all."""
        if count > self._count:
            self._count, self._last = count, now

    def halted(self, seconds: float) -> None:
        """For so long none could come."""
        self._began += seconds
        self._last += seconds

    @property
    def due(self) -> float:
        """When the next ones must have come."""
        return min(self._last, self._began + self._count / SLOWEST) + self._allowance
