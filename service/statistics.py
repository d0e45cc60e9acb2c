"""What each loss has done since the start, as the Open Inference Protocol's statistics extension counts it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from service.counters import Rows

PARTS = {"queue": "queue", "decode": "compute_input", "compute": "compute_infer", "encode": "compute_output"}
DURATIONS = {name: (f"{name} count", f"{name} ns") for name in ("success", "fail", *PARTS.values())}


class Spans:
    """The nanoseconds of the parts of one request, each from the end of the one before it."""

    def __init__(self) -> None:
        self._mark = time.perf_counter_ns()
        self.parts: dict[str, int] = {}

    def end(self, name: str) -> None:
        """`name` ends here."""
        now = time.perf_counter_ns()
        self.parts[name], self._mark = now - self._mark, now

    def server_timing(self) -> str:
        """The value of the header Server-Timing, in milliseconds; waiting is the client's to measure."""
        return ", ".join(f"{name};dur={ns / 1e6:.3f}" for name, ns in self.parts.items() if name != "queue")


class Statistics:
    """The counts of one loss; they only grow. `places` are those of its counters in `rows`."""

    def __init__(self, rows: Rows, places: dict[str, int]) -> None:
        self.rows, self.places = rows, places
        self._pairs = {name: (places[count], places[ns]) for name, (count, ns) in DURATIONS.items()}

    @contextmanager
    def failure_counted(self) -> Iterator[None]:
        """Count what ends with an exception in this block as a failure."""
        began = time.perf_counter_ns()
        try:
            yield
        except BaseException:
            self._add({"fail": time.perf_counter_ns() - began})
            raise

    def succeeded(self, spans: Spans, rows: int) -> None:
        """Count an answered request for `rows` samples."""
        own = self.rows.own
        own[self.places["last_inference"]] = time.time_ns() // 10**6
        own[self.places["rows"]] += rows
        self._add({"success": sum(spans.parts.values())} | {PARTS[name]: ns for name, ns in spans.parts.items()})

    def _add(self, durations: dict[str, int]) -> None:
        own = self.rows.own
        for name, nanoseconds in durations.items():
            count, ns = self._pairs[name]
            own[count] += 1
            own[ns] += nanoseconds

    def report(self) -> dict[str, Any]:
        """The counts of all processes, under the names of the extension."""

        def total(name: str) -> int:
            return self.rows.total(self.places[name])

        durations = {name: {"count": total(count), "ns": total(ns)} for name, (count, ns) in DURATIONS.items()}
        nothing = {"count": 0, "ns": 0}
        return {
            "last_inference": self.rows.latest(self.places["last_inference"]),
            "inference_count": total("rows"),
            "execution_count": durations["success"]["count"],
            "inference_stats": durations | {"cache_hit": nothing, "cache_miss": nothing},
        }
