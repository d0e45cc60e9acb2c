"""What the service counts of its requests: Prometheus metrics, and the statistics of the Open Inference Protocol."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from service import gauges
from service.counters import Layout, Rows, Shared
from service.families import Counts, Histogram
from service.logs import AccessLog
from service.problems import SLUGS
from service.statistics import BODY_BYTES, COUNTS, SIZES, UNREAD, Spans, Statistics, phase_histogram, size_class
from service.tracing import Tracing

log = logging.getLogger("lossmeter.service")

_US = 10**3  # in ns
REQUEST_NS = (
    *(500 * _US, 1000 * _US, 2500 * _US, 5000 * _US, 10_000 * _US, 25_000 * _US, 50_000 * _US, 100_000 * _US),
    *(250_000 * _US, 500_000 * _US, 1_000_000 * _US, 2_500_000 * _US, 5_000_000 * _US, 10_000_000 * _US),
)
SAMPLES = tuple(4**power for power in range(13))
STATUSES = (0, 499, *map(int, HTTPStatus))  # 0: no answer was begun; 499: the client hung up
OTHER = "other"  # a reason that is none of SLUGS


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
    received: int | None = None  # bytes of the body, once it is there
    sent: int = 0  # bytes of the answer's body
    reason: str = ""  # why it was rejected: the last word of its problem's type
    spans: Spans | None = None
    trace_id: str = ""


class Metrics(Collector):
    """The counters of requests, by measure; "" stands for requests that asked for none."""

    in_flight_bytes, in_flight_limit_bytes = gauges.Own(), gauges.Own()  # of this process, for requests
    ready = gauges.Own()  # 1 if this process is, else 0

    def __init__(self, measures: Iterable[str] = (), shared: Shared | None = None) -> None:
        measures = list(measures)
        names, layout = ["", *measures], Layout()
        self.gauges = {name: place for (name,), place in layout.family(gauges.PLACES).items()}
        self._make_families(layout, names)
        self._phases = phase_histogram(layout, measures)
        kept = layout.family(measures, COUNTS)
        self.size = layout.size
        self.rows = Rows(layout.size, shared)
        gauges.begin(self.rows.own, self.gauges)
        self.statistics = {
            name: Statistics(name, self.rows, {count: kept[name, count] for count in COUNTS}, self._phases)
            for name in measures
        }
        self._in_flight = self.gauges["in_flight_requests"]
        self.in_flight = self.computed = 0  # requests of this process that are answered now; losses that were
        self.build: dict[str, str] = {}  # what this is and runs on, once that is known
        self.tracing: Tracing | None = None
        self.log = AccessLog()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def _make_families(self, layout: Layout, names: list[str]) -> None:
        by_measure = {"measure": names}
        said = "Requests answered, by loss (empty: no loss was asked for) and status."
        self._requests = Counts(layout, "lossmeter_requests", said, by_measure | {"status": STATUSES})
        said = "Requests refused, by reason: the last word of the problem's type."
        reasons = [*SLUGS, OTHER]
        self._rejected = Counts(layout, "lossmeter_rejected_requests", said, {"reason": reasons})
        said = "Seconds from a request's head to its answer, by loss and size class of the body (empty: none was read)."
        by_size = by_measure | {"size": (UNREAD, *SIZES)}
        self._seconds = Histogram(layout, "lossmeter_request_seconds", said, by_size, REQUEST_NS, unit=10**9)
        said = "Samples in a computed batch, by loss."
        self._samples = Histogram(layout, "lossmeter_batch_samples", said, by_measure, SAMPLES)
        said = "Bytes of a request's body, as it was sent, by loss."
        self._received = Histogram(layout, "lossmeter_request_body_bytes", said, by_measure, BODY_BYTES)
        said = "Bytes of an answer's body, as it was sent, by loss."
        self._sent = Histogram(layout, "lossmeter_response_body_bytes", said, by_measure, BODY_BYTES)

    def begin(self) -> None:
        """A request is being answered."""
        self.in_flight += 1
        self.rows.own[self._in_flight] = self.in_flight

    def end(self, record: Record, scope: Scope | None = None) -> None:
        """Count a request that has ended, and log its line; trace it by its `scope`, where that is wanted."""
        took, row, measure = time.perf_counter_ns() - record.started, self.rows.own, record.measure
        self.in_flight -= 1
        row[self._in_flight] = self.in_flight
        row[self._requests.places[measure, record.status]] += 1
        self._seconds.observe(row, (measure, size_class(record.received)), took)
        if record.reason:
            known = self._rejected.places
            row[known.get((record.reason,), known[OTHER,])] += 1
        if measure:
            self.computed += 1
            self._sent.observe(row, (measure,), record.sent)
        if record.received is not None:
            self._received.observe(row, (measure,), record.received)
        if record.samples is not None:
            self._samples.observe(row, (measure,), record.samples)
        if self.tracing is not None and scope is not None:
            try:
                self.tracing.request(record, scope)  # which gives the record its trace_id
            except Exception:
                log.exception("request %s was not traced", record.request_id)
        self.log.add(_fields(record, took))

    def collect(self) -> Iterator[Metric]:
        """The metrics of all processes, for prometheus_client to write."""
        totals = self.rows.totals()
        yield self._requests.collect(totals)
        yield self._rejected.collect(totals)
        for histogram in (self._seconds, self._phases, self._samples, self._received, self._sent):
            yield histogram.collect(totals)
        yield from gauges.collect(self.rows, self.gauges)
        if self.build:
            yield InfoMetricFamily("lossmeter_build", "What this is and runs on.", self.build)


def _fields(record: Record, took: int) -> dict[str, Any]:
    """What the log says of a request that took `took` ns."""
    fields: dict[str, Any] = {
        "method": record.method,
        "path": record.path[:256],
        "status": record.status,
        "ms": took // 1000 / 1000,
        "request_id": record.request_id,
    }
    if record.measure:
        fields["measure"], fields["samples"] = record.measure, record.samples
    if record.received is not None:
        fields["body_bytes"] = record.received
    if record.reason:
        fields["reason"] = record.reason
    if record.trace_id:
        fields["trace_id"] = record.trace_id
    return fields
