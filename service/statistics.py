"""What each loss has done since the start, as the Open Inference Protocol's statistics extension counts it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PARTS = {"queue": "queue", "decode": "compute_input", "compute": "compute_infer", "encode": "compute_output"}


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
    """The counts of one loss; they only grow. For use on the event loop alone, which is its lock."""

    def __init__(self) -> None:
        self.last_inference = 0
        self.rows = 0
        self.durations = {name: [0, 0] for name in ("success", "fail", *PARTS.values())}  # count, nanoseconds

    @contextmanager
    def failure_counted(self) -> Iterator[None]:
        """Count what ends with an exception in this block as a failure."""
        began = time.perf_counter_ns()
        try:
            yield
        except BaseException:
            self._add("fail", time.perf_counter_ns() - began)
            raise

    def succeeded(self, spans: Spans, rows: int) -> None:
        """Count an answered request for `rows` samples."""
        self.last_inference = time.time_ns() // 10**6
        self.rows += rows
        self._add("success", sum(spans.parts.values()))
        for name, part in PARTS.items():
            self._add(part, spans.parts[name])

    def _add(self, name: str, nanoseconds: int) -> None:
        self.durations[name][0] += 1
        self.durations[name][1] += nanoseconds

    def report(self) -> dict[str, Any]:
        """The counts, under the names of the extension."""
        durations = {name: {"count": count, "ns": ns} for name, (count, ns) in self.durations.items()}
        nothing = {"count": 0, "ns": 0}
        return {
            "last_inference": self.last_inference,
            "inference_count": self.rows,
            "execution_count": self.durations["success"][0],
            "inference_stats": durations | {"cache_hit": nothing, "cache_miss": nothing},
        }
