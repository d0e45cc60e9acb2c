"""How long the answer to a request is waited for: until the client's deadline, while it is there, while we serve."""

import re
import time
from typing import Any, Protocol

from starlette.types import Scope

from service.body import header
from service.problems import ClientGone, Problem, deadline_exceeded, malformed, unavailable

HEADER = "X-Request-Timeout"
_SECONDS = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


class Serving(Protocol):
    """What is serving."""

    giving_up: bool  # what it does is to be left


class Patience:
    """Asked, on any thread, whether the answer to one request is still wanted.

    `started` is when the request came, by time.perf_counter_ns. Raises Problem (400) where the header X-Request-Timeout
    is no number of seconds.
    """

    __slots__ = ("_cycle", "_running", "_started", "deadline")

    def __init__(self, scope: Scope, started: int, running: Serving) -> None:
        self._cycle: Any = scope.get("lossmeter.cycle")
        self._started, self._running = started, running
        self.deadline: int | None = None  # by time.perf_counter_ns
        sent = header(scope, HEADER.lower().encode())
        if sent is not None:
            if not _SECONDS.fullmatch(sent):
                raise malformed(f"{HEADER} is {sent[:40]!r}, but must be a number of seconds")
            self.limit(float(sent))

    def limit(self, seconds: float) -> None:
        """The answer is wanted for `seconds` from the beginning of the request, and no longer than was said before."""
        deadline = self._started + int(seconds * 1e9)
        self.deadline = deadline if self.deadline is None else min(self.deadline, deadline)

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline; None without one."""
        return None if self.deadline is None else (self.deadline - time.perf_counter_ns()) / 1e9

    def over(self) -> bool:
        """Whether nobody wants the answer any more."""
        if self._running.giving_up or (self._cycle is not None and self._cycle.gone):
            return True
        return self.deadline is not None and time.perf_counter_ns() >= self.deadline

    def require(self) -> None:
        """Raises Problem (503) or ClientGone where it is over."""
        if self.over():
            raise self.reason()

    def reason(self) -> Problem | ClientGone:
        """Why it is over."""
        if self._cycle is not None and self._cycle.gone:
            return ClientGone()
        left = self.seconds_left
        return unavailable("the service is stopping") if left is None or left > 0 else deadline_exceeded()
