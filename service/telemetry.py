"""What the service counts of its requests: Prometheus metrics, and the statistics of the Open Inference Protocol."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.counters import Layout, Rows, Shared
from service.logs import AccessLog
from service.statistics import DURATIONS, Statistics

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SAMPLES = tuple(float(4**power) for power in range(13))
STATUSES = (0, 499, *map(int, HTTPStatus))  # 0: no answer was begun; 499: the client hung up


@dataclass(slots=True)
class Record:
    """What is known of one request when it ends."""

    request_id: str
    method: str
    path: str
    started: int = field(default_factory=time.perf_counter_ns)
    status: int = 0
    measure: str = ""
    samples: int | None = None


class Metrics(Collector):
    """The counters of requests, by measure; "" stands for requests that asked for none."""

    def __init__(self, measures: Iterable[str] = (), shared: Shared | None = None) -> None:
        names = ("", *measures)
        layout = Layout()
        self._requests = layout.family(names, STATUSES)
        self._seconds = layout.family(names, range(len(SECONDS) + 2))  # a bucket past the last, then the sum, in ns
        self._samples = layout.family(names, range(len(SAMPLES) + 2))
        self._in_flight = layout.family([""])[("",)]
        kept = layout.family(names[1:], ("last_inference", "rows", *chain(*DURATIONS.values())))
        self.size = layout.size
        self.rows = Rows(layout.size, shared)
        self.rows.own[self._in_flight] = 0  # of a process that took the row over from one that died
        self.statistics = {
            name: Statistics(self.rows, {part: place for (measure, part), place in kept.items() if measure == name})
            for name in names[1:]
        }
        self.in_flight = self.computed = 0  # requests of this process that are answered now; losses that were
        self.log = AccessLog()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def begin(self) -> None:
        """A request is being answered."""
        self.in_flight += 1
        self.rows.own[self._in_flight] = self.in_flight

    def end(self, record: Record) -> None:
        """Count a request that has ended, and log its line."""
        took, row, measure = time.perf_counter_ns() - record.started, self.rows.own, record.measure
        self.in_flight -= 1
        row[self._in_flight] = self.in_flight
        row[self._requests[measure, record.status]] += 1
        row[self._seconds[measure, bisect_left(SECONDS, took / 1e9)]] += 1
        row[self._seconds[measure, len(SECONDS) + 1]] += took
        if measure:
            self.computed += 1
        if record.samples is not None:
            row[self._samples[measure, bisect_left(SAMPLES, record.samples)]] += 1
            row[self._samples[measure, len(SAMPLES) + 1]] += record.samples
        fields: dict[str, Any] = {
            "method": record.method,
            "path": record.path[:256],
            "status": record.status,
            "ms": took // 1000 / 1000,
            "request_id": record.request_id,
        }
        if measure:
            fields["measure"], fields["samples"] = measure, record.samples
        self.log.add(fields)

    def collect(self) -> Iterator[Metric]:
        """The metrics of all processes, for prometheus_client to write."""
        requests = CounterMetricFamily(
            "lossmeter_requests",
            "Requests answered, by loss (empty: no loss was asked for) and status.",
            labels=["measure", "status"],
        )
        for (measure, status), place in self._requests.items():
            if total := self.rows.total(place):
                requests.add_metric([measure, str(status)], total)
        yield requests
        said = "Seconds from a request's head to its answer, by loss."
        yield self._histogram("lossmeter_request_seconds", said, self._seconds, SECONDS, 1e-9)
        said = "Samples in a computed batch, by loss."
        yield self._histogram("lossmeter_batch_samples", said, self._samples, SAMPLES, 1)
        in_flight = self.rows.total(self._in_flight)
        yield GaugeMetricFamily("lossmeter_in_flight_requests", "Requests being answered now.", in_flight)

    def _histogram(
        self, name: str, said: str, places: dict[tuple[Any, ...], int], bounds: Sequence[float], unit: float
    ) -> Metric:
        histogram = HistogramMetricFamily(name, said, labels=["measure"])
        for measure in dict.fromkeys(measure for measure, _ in places):
            buckets, reached = [], 0
            for bucket, bound in enumerate([*map(str, bounds), "+Inf"]):
                reached += self.rows.total(places[measure, bucket])
                buckets.append((bound, reached))
            if reached:
                histogram.add_metric([measure], buckets, self.rows.total(places[measure, len(bounds) + 1]) * unit)
        return histogram
