"""OpenTelemetry spans of requests, made when they have ended: one of the server, and one for each phase of the work.

The packages are an extra (`pip install 'lossmeter[otel]'`), and nothing of them is imported unless TRACES is true.
Where spans go, and which, is said by OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_ENDPOINT and the others.
"""

import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from core import __version__
from starlette.types import Scope

from service.body import listed
from service.settings import SettingsError
from service.statistics import Spans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from service.telemetry import Record

PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
STOP_SECONDS = 2.0  # for what waits to be sent: a collector that is away must not keep the service from ending


def require_packages() -> None:
    """Raise SettingsError where the packages are not installed."""
    if not all(map(_found, PACKAGES)):
        raise SettingsError("LOSSMETER_TRACES is true, but lossmeter[otel] is not installed (pip install it)")


def _found(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package that would hold it
        return False


class Tracing:
    """Makes the spans. `exporter` is where they go, if not by OTLP over HTTP; then each goes at once."""

    def __init__(self, exporter: "SpanExporter | None" = None) -> None:
        require_packages()
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = _provider(exporter)
        self._tracer = self._provider.get_tracer("lossmeter", __version__)
        self._server, self._error, self._propagator = SpanKind.SERVER, StatusCode.ERROR, TraceContextTextMapPropagator()

    def request(self, record: "Record", scope: Scope) -> None:
        """Make the spans of a request that ends now."""
        began = time.time_ns() - (time.perf_counter_ns() - record.started)
        attributes = _attributes(record, scope)
        name = " ".join(str(attributes[key]) for key in ("http.request.method", "http.route") if key in attributes)
        span = self._tracer.start_span(
            name.replace("_OTHER", "HTTP"), self._parent(scope), self._server, attributes, start_time=began
        )
        record.trace_id = f"{span.get_span_context().trace_id:032x}"
        if record.status >= 500 or record.status == 0:
            span.set_status(self._error)
        if record.spans is not None and span.is_recording():
            self._phases(record.spans, span, began + record.spans.began - record.started)
        span.end()

    def _phases(self, spans: Spans, span: Any, at: int) -> None:
        from opentelemetry.trace import set_span_in_context

        parent = set_span_in_context(span)
        for name, nanoseconds in tuple(spans.parts.items()):  # a thread may be at work on it after a deadline
            child = self._tracer.start_span(name, parent, start_time=at)
            at += nanoseconds
            child.end(at)

    def _parent(self, scope: Scope) -> "Context":
        from opentelemetry.context import Context

        carrier = {name: listed(scope, name.encode()) for name in ("traceparent", "tracestate")}
        return self._propagator.extract({key: value for key, value in carrier.items() if value}, Context())

    def stop(self) -> None:
        """Send what waits, if that is possible soon."""
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)


def _provider(exporter: "SpanExporter | None") -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    about = Resource.create({"service.name": "lossmeter", "service.version": __version__})
    provider = TracerProvider(resource=about.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter()) if exporter is None else SimpleSpanProcessor(exporter)
    )
    return provider


def _attributes(record: "Record", scope: Scope) -> dict[str, str | int]:
    """OpenTelemetry's semantic conventions for HTTP servers, and our own; no query, no header."""
    known = record.method in METHODS
    found: dict[str, str | int] = {
        "http.request.method": record.method if known else "_OTHER",
        "url.path": record.path[:256],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "http.response.body.size": record.sent,
        "lossmeter.request_id": record.request_id,
    }
    route = scope.get("route")  # of the router, or its path
    if route is not None:
        found["http.route"] = route if isinstance(route, str) else route.path
    if record.status not in (0, 499):
        found["http.response.status_code"] = record.status
    failed = str(record.status) if record.status >= 500 else None
    optional: dict[str, str | int | None] = {
        "error.type": {0: "unanswered", 499: "client-gone"}.get(record.status, failed),
        "http.request.body.size": record.received,
        "lossmeter.measure": record.measure or None,
        "lossmeter.reason": record.reason or None,
        "lossmeter.samples": record.samples,
    }
    return found | {name: value for name, value in optional.items() if value is not None}
