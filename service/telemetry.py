"""What the service says of itself: Prometheus metrics and one log line a request."""

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

access = logging.getLogger("lossmeter.access")

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SAMPLES = tuple(float(4**power) for power in range(13))


@dataclass(slots=True)
class Record:
    """What is known of one request when it ends."""

    request_id: str
    method: str
    path: str
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    measure: str = ""
    samples: int | None = None


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lossmeter_requests_total",
            "Requests answered, by loss (empty: no loss was asked for) and status.",
            ["measure", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "lossmeter_request_seconds",
            "Seconds from a request's head to its answer, by loss.",
            ["measure"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.samples = Histogram(
            "lossmeter_batch_samples",
            "Samples in a computed batch, by loss.",
            ["measure"],
            buckets=SAMPLES,
            registry=self.registry,
        )
        self.in_flight = Gauge("lossmeter_in_flight_requests", "Requests being answered now.", registry=self.registry)

    def observe(self, record: Record) -> None:
        """Count a request that has ended, and log its line."""
        seconds = time.perf_counter() - record.started
        self.requests.labels(record.measure, str(record.status)).inc()
        self.seconds.labels(record.measure).observe(seconds)
        if record.samples is not None:
            self.samples.labels(record.measure).observe(record.samples)
        fields: dict[str, Any] = {
            "method": record.method,
            "path": record.path[:256],
            "status": record.status,
            "ms": round(seconds * 1000, 3),
            "request_id": record.request_id,
        }
        if record.measure:
            fields |= {"measure": record.measure, "samples": record.samples}
        access.info("request", extra={"fields": fields})


class LineFormatter(logging.Formatter):
    """One line a record, whatever a client sent: JSON, or text with quoted values. Only as text, the traceback of a
    failure stands on indented lines below its own."""

    def __init__(self, form: str) -> None:
        super().__init__("%(message)s")
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        message = super().format(record)
        fields: dict[str, Any] = getattr(record, "fields", {})
        if self.form == "json":
            entry = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "message": message}
            return json.dumps(entry | fields)  # all of it ASCII: nothing in it can move a terminal's cursor
        words = " ".join(f"{name}={self._word(value)}" for name, value in fields.items())
        text = words or message.replace("\r", "\\r").replace("\n", "\\n" if record.exc_info is None else "\n  ")
        return f"{moment} {record.levelname.lower():7} {record.name} {text}"

    @staticmethod
    def _word(value: object) -> str:
        text = str(value)
        return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def set_up_logging(level: str, form: str) -> None:
    """Send every log record to standard output, in `form` ("text" or "json")."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").name = "lossmeter.server"
