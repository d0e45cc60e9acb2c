"""How long the answer to a request is waited for: until the client's deadline, while it is there, while we serve."""

import re
import time
from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from service.body import header
from service.problems import ClientGone, Problem, deadline_exceeded, malformed, unavailable

HEADER = "X-Request-Timeout"
_SECONDS = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


class Patience:
    """Asked, on any thread, whether the answer to one request is still wanted.

    `started` is when the request came, by time.perf_counter_ns; `stopping` says whether the service gives up what it
    is doing. Raises Problem (400) where the header X-Request-Timeout is no number of seconds.
    """

    __slots__ = ("_cycle", "_started", "_stopping", "deadline")

    def __init__(self, scope: Scope, started: int, stopping: Callable[[], bool]) -> None:
        self._cycle: Any = scope.get("lossmeter.cycle")
        self._started, self._stopping = started, stopping
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
        return (self._cycle is not None and self._cycle.gone) or self._stopping() or self._is_late()

    def _is_late(self) -> bool:
        return self.deadline is not None and time.perf_counter_ns() >= self.deadline

    def require(self) -> None:
        """Raises Problem (503) or ClientGone where it is over."""
        if self.over():
            raise self.reason()

    def reason(self) -> Problem | ClientGone:
        """Why it is over."""
        if self._cycle is not None and self._cycle.gone:
            return ClientGone()
        return deadline_exceeded() if self._is_late() else unavailable("the service is stopping")
