"""What is let in: bytes of bodies and results up to a limit, and work while its turn comes soon. The rest is refused.

Bytes are reserved before they are read or computed. How long work takes is estimated from what such work took before.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import TypeVar

from service.problems import Problem, overloaded, unavailable
from service.settings import Settings
from service.telemetry import Metrics

Answer = TypeVar("Answer")

NEW = 1e-9  # seconds for a byte or an element of work such as there has not been yet
WEIGHT = 0.2  # of the last piece of work among those before it


class Admission:
    """One worker's. Leases may be used on any thread, the rest on the event loop only."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.most_bytes, self.most_seconds = int(settings.max_inflight_bytes), settings.queue_seconds
        metrics.in_flight_limit_bytes = self.most_bytes
        self._row, self._place = metrics.rows.own, metrics.gauges["in_flight_bytes"]
        self.bytes = 0  # that are reserved
        self._lock = threading.Lock()
        self._running = 0  # pieces of work that have been given to threads
        self._seconds = 0.0  # that they take, as estimated
        self._taken: dict[Hashable, float] = {}  # seconds, by kind of work and power of two of its size

    def take(self, count: int, *, anyway: bool = False) -> int:
        """Reserve `count` bytes, or give as many back if it is negative, if so many are left, or `anyway`: how many
        were left."""
        with self._lock:
            left = self.most_bytes - self.bytes
            if count <= left or anyway:
                self.bytes += count
                self._row[self._place] = self.bytes
            return left

    def require_turn(self, threads: int) -> None:
        """Raises Problem (503) where work that comes now would wait too long for one of `threads`."""
        wait = self._seconds / threads
        if self._running >= threads and wait > self.most_seconds:
            raise overloaded(f"work would wait {wait:.1f} s for a thread", math.ceil(wait))

    async def run(self, workers: ThreadPoolExecutor, kind: Hashable, size: int, work: Callable[[], Answer]) -> Answer:
        """The answer of `work`, of `size` bytes or elements, from a thread of `workers`."""
        like, loop = (kind, size.bit_length()), asyncio.get_running_loop()
        expected = self._taken.get(like, size * NEW)
        self._running += 1
        self._seconds += expected

        def timed() -> Answer:
            began = perf_counter()
            answer = work()
            taken = perf_counter() - began
            self._taken[like] = (1 - WEIGHT) * self._taken.get(like, taken) + WEIGHT * taken
            return answer

        def ended(_: Future[Answer]) -> None:
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self._end, expected)

        future = workers.submit(timed)
        future.add_done_callback(ended)  # which is when the thread is free, whether anybody waits for it or not
        return await asyncio.wrap_future(future)

    def _end(self, expected: float) -> None:
        self._running -= 1
        self._seconds = self._seconds - expected if self._running else 0.0  # no rounding is left over


class Lease:
    """The bytes that one request has reserved, until the end of the block."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.bytes = admission, 0
        self._over = False

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.become(0)
        self._over = True

    def become(self, count: int) -> None:
        """Have `count` bytes reserved from now on, since it is what there is."""
        self._admission.take(count - self.bytes, anyway=True)
        self.bytes = count

    def hold(self, count: int) -> None:
        """Have at least `count` bytes reserved. Raises Problem: 422 where that is more than there can ever be, 503
        where it is more than is left now."""
        more = count - self.bytes
        if more <= 0:
            return
        admission = self._admission
        if self._over:  # whoever asked has been told, and a thread goes on
            raise unavailable("the request has ended")
        if count > admission.most_bytes:
            detail = f"the batch takes {count} bytes in the work, more than {admission.most_bytes}, the limit"
            raise Problem(422, f"{detail} MAX_INFLIGHT_BYTES: send it in parts")
        left = admission.take(more)
        if more > left:
            raise overloaded(f"{more} bytes more are needed, but {left} of MAX_INFLIGHT_BYTES are left")
        self.bytes = count
