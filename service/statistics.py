"""What each loss has done since the start: the phases of requests, which Prometheus' histogram and the statistics
extension of the Open Inference Protocol read from the same counters."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service.counters import Layout, Rows
from service.families import Histogram

if TYPE_CHECKING:
    from service.telemetry import Record

PARTS = {"queue": "queue", "decode": "compute_input", "compute": "compute_infer", "encode": "compute_output"}
COUNTS = ("last_inference", "rows", "success count", "success ns", "fail count", "fail ns")

KIB, MIB, GIB = 2**10, 2**20, 2**30
BODY_BYTES = (256, 4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB)  # bounds of buckets
SIZES = ("64KiB", "1MiB", "16MiB", "256MiB", "1GiB", "larger")  # the classes of bodies, by the most that one may have
UNREAD = ""  # the class of a body that was not read whole, or of none
_SIZE_OF_BUCKET = ("64KiB", "64KiB", *SIZES)

# Coarse, since there are many of them: what is read of phases are mostly their means, which are exact.
PHASES = ("receive", *PARTS)
PHASE_NS = tuple(10**power for power in range(5, 11))


def size_class(received: int | None) -> str:
    """The class of a body of `received` bytes."""
    return UNREAD if received is None else _SIZE_OF_BUCKET[bisect_left(BODY_BYTES, received)]


class Spans:
    """The nanoseconds of the parts of one request, each from the end of the one before it."""

    def __init__(self) -> None:
        self.began = self._mark = time.perf_counter_ns()
        self.parts: dict[str, int] = {}

    def end(self, name: str) -> None:
        """`name` ends here."""
        now = time.perf_counter_ns()
        self.parts[name], self._mark = now - self._mark, now

    def server_timing(self) -> str:
        """The value of the header Server-Timing, in milliseconds; waiting is the client's to measure."""
        return ", ".join(f"{name};dur={ns / 1e6:.3f}" for name, ns in self.parts.items() if name != "queue")


def phase_histogram(layout: Layout, measures: list[str]) -> Histogram:
    """The seconds of the phases of requests that were computed."""
    said = "Seconds of one phase of a computed request, by loss, phase and size class of the body (at most so large)."
    labels = {"measure": measures, "phase": PHASES, "size": SIZES}
    return Histogram(layout, "lossmeter_phase_seconds", said, labels, PHASE_NS, unit=10**9)


class Statistics:
    """The counts of one loss; they only grow. `places` are those of its counters in `rows`."""

    def __init__(self, measure: str, rows: Rows, places: Mapping[str, int], phases: Histogram) -> None:
        self.measure, self.rows, self.places, self.phases = measure, rows, places, phases
        self._first = {size: {phase: phases.first[measure, phase, size] for phase in PHASES} for size in SIZES}

    @contextmanager
    def failure_counted(self) -> Iterator[None]:
        """Count what ends with an exception in this block as a failure."""
        began = time.perf_counter_ns()
        try:
            yield
        except BaseException:
            self._add("fail", time.perf_counter_ns() - began)
            raise

    def succeeded(self, spans: Spans, record: "Record") -> None:
        """Count a request whose answer is ready."""
        own, parts = self.rows.own, spans.parts
        own[self.places["last_inference"]] = time.time_ns() // 10**6
        own[self.places["rows"]] += record.samples or 0
        self._add("success", sum(parts.values()))
        received = {"receive": spans.began - record.started}
        self.phases.observe_all(own, self._first[size_class(record.received or 0)], received | parts)

    def _add(self, name: str, nanoseconds: int) -> None:
        own = self.rows.own
        own[self.places[f"{name} count"]] += 1
        own[self.places[f"{name} ns"]] += nanoseconds

    def report(self) -> dict[str, Any]:
        """The counts of all processes, under the names of the extension."""
        totals = self.rows.totals()
        durations = {
            name: {"count": totals[self.places[f"{name} count"]], "ns": totals[self.places[f"{name} ns"]]}
            for name in ("success", "fail")
        }
        for phase, name in PARTS.items():
            labels = [(self.measure, phase, size) for size in SIZES]
            durations[name] = {
                "count": sum(self.phases.count(totals, each) for each in labels),
                "ns": sum(self.phases.sum(totals, each) for each in labels),
            }
        nothing = {"count": 0, "ns": 0}
        return {
            "last_inference": self.rows.latest(self.places["last_inference"]),
            "inference_count": totals[self.places["rows"]],
            "execution_count": durations["success"]["count"],
            "inference_stats": durations | {"cache_hit": nothing, "cache_miss": nothing},
        }
