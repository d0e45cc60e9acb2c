"""OpenTelemetry traces: one span a request, with the phases of its work below it; nothing at all unless asked for."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from core import __version__
from core.engine import Engine
from service.statistics import Spans
from service.telemetry import Record
from service.tracing import Tracing
from tests.service.conftest import GOOD, JSON, LOSS, serving
from tests.service.live import listening
from tests.service.test_server import ask, ended, free_port, started, wait_until_ready
from tests.service.test_telemetry import Logged, logged

__all__ = ["logged"]  # a fixture

OIP = "/v2/models/cross_entropy/infer"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def service(exporter: InMemorySpanExporter) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.app.Tracing", lambda: Tracing(exporter))
        with serving(traces=True, max_body_bytes=2**20) as client:
            yield client


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    """The one span of a server."""
    (found,) = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
    return found


def trace(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}"


def children(exporter: InMemorySpanExporter) -> Sequence[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.kind is not SpanKind.SERVER]


def test_a_request_is_one_span_with_its_phases_below(service: TestClient, spans: InMemorySpanExporter) -> None:
    answered = service.post(LOSS, content=GOOD, headers=JSON | {"X-Request-ID": "abc"})
    span = only(spans)
    assert span.name == "POST /v1/losses/{name}"
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/losses/{name}",
        "http.response.status_code": 200,
        "http.request.body.size": len(GOOD),
        "http.response.body.size": len(answered.content),
        "url.path": LOSS,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "lossmeter.measure": "cross_entropy",
        "lossmeter.samples": 2,
        "lossmeter.request_id": "abc",
    }
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes.items() >= {"service.name": "lossmeter", "service.version": __version__}.items()
    phases = children(spans)
    assert [phase.name for phase in phases] == ["queue", "decode", "compute", "encode"]
    at = span.start_time or 0
    for phase in phases:
        assert phase.parent == span.get_span_context()
        assert at <= (phase.start_time or 0) <= (phase.end_time or 0) <= (span.end_time or 0)
        at = phase.end_time or 0


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", OIP, "POST /v2/models/{name}/infer"),
        ("POST", "/v2/models/cross_entropy/versions/1/infer", "POST /v2/models/{name}/versions/{version}/infer"),
        ("POST", "/v1/losses/evil", "POST /v1/losses/{name}"),
        ("GET", LOSS, "GET /v1/losses/{name}"),
        ("HEAD", "/livez", "HEAD /livez"),
        ("GET", "/docs", "GET /docs"),
        ("GET", "/evil", "GET"),
        ("BREW", "/evil", "HTTP"),
        ("BREW", "/livez", "HTTP /livez"),
    ],
)
def test_a_span_is_named_by_its_route(
    service: TestClient, spans: InMemorySpanExporter, method: str, path: str, name: str
) -> None:
    service.request(method, path)
    assert only(spans).name == name


def test_the_span_of_a_rejected_request_says_why_and_is_no_error(
    service: TestClient, spans: InMemorySpanExporter
) -> None:
    service.post(LOSS, content=b'{"logits": [[0, 1]], "targets": [8675309]}', headers=JSON)
    span = only(spans)
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["lossmeter.reason"] == "invalid-input"
    assert "error.type" not in span.attributes
    assert [phase.name for phase in children(spans)] == ["queue", "decode"]


def test_the_span_of_a_failure_is_an_error(
    service: TestClient, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "per_sample", None)
    service.post(LOSS, content=GOOD, headers=JSON)
    span = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "500"
    assert not span.events


def test_a_span_has_the_parent_that_the_client_names(service: TestClient, spans: InMemorySpanExporter) -> None:
    service.post(LOSS, content=GOOD, headers=JSON | {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"})
    for span in spans.get_finished_spans():
        assert trace(span) == TRACE
    parent = only(spans).parent
    assert parent is not None
    assert parent.is_remote
    assert f"{parent.span_id:016x}" == PARENT
    assert parent.trace_state.to_header() == "a=b"


@pytest.mark.parametrize("sent", ["", "hunter2", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}", "\x00", "é"])
def test_a_parent_that_is_none_is_let_be(service: TestClient, spans: InMemorySpanExporter, sent: str) -> None:
    assert service.get("/livez", headers=[(b"traceparent", sent.encode())]).status_code == 200
    assert only(spans).parent is None


def test_a_trace_that_is_not_recorded_has_no_spans(service: TestClient, spans: InMemorySpanExporter) -> None:
    assert service.get("/livez", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}).status_code == 200
    assert not spans.get_finished_spans()


def test_no_span_has_a_query_a_header_or_a_value(service: TestClient, spans: InMemorySpanExporter) -> None:
    headers = {"Authorization": "Bearer hunter2", "X-API-Key": "hunter2", "User-Agent": "hunter2"}
    for path in (LOSS, OIP, "/livez", "/evil"):
        for body in (b'{"logits": [[8675309, 1]], "targets": [8675309]}', b'{"8675309": 8675309'):
            service.post(f"{path}?token=hunter2", content=body, headers=JSON | headers)
            service.get(f"{path}?dtype=hunter2", headers=headers)
    written = "".join(span.to_json() for span in spans.get_finished_spans())
    assert written.count('"SpanKind.SERVER"') == 16
    assert "hunter2" not in written
    assert "8675309" not in written


def test_work_that_goes_on_after_its_request_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    tracing, record = Tracing(exporter), Record("id", "POST", LOSS, status=503, spans=Spans())
    assert record.spans is not None
    record.spans.end("queue")
    start = tracing._tracer.start_span

    def meanwhile(name: str, *args: Any, **more: Any) -> Any:
        record.spans.end(f"after {name}")  # type: ignore[union-attr]
        return start(name, *args, **more)

    monkeypatch.setattr(tracing._tracer, "start_span", meanwhile)
    tracing.request(record, {"headers": []})
    assert [span.name for span in children(exporter)] == ["queue", "after POST"]


def test_a_line_of_the_log_names_the_trace(service: TestClient, spans: InMemorySpanExporter, logged: Logged) -> None:
    stream = logged("json")
    service.get("/livez")
    (line,) = stream.lines(1)
    assert json.loads(line)["trace_id"] == trace(only(spans))


def test_the_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    exporter = InMemorySpanExporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.app.Tracing", lambda: Tracing(exporter))
        with serving(traces=True) as client:
            client.get("/livez")
    attributes = only(exporter).resource.attributes
    assert attributes["service.name"] == "other"
    assert attributes["deployment.environment.name"] == "test"


def test_without_the_setting_nothing_of_the_packages_is_imported() -> None:
    script = """
import sys, asyncio
from starlette.testclient import TestClient
from service.app import create_app
from service.settings import Settings
with TestClient(create_app(Settings(device="cpu", threads=1))) as client:
    assert client.get("/livez").status_code == 200
    assert client.post("/v1/losses/cross_entropy", json={"logits": [0, 1], "targets": 0}).status_code == 200
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    environment = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_packages_the_start_ends_with_one_line(missing: str) -> None:
    script = f"import sys; sys.modules['{missing}'] = None; import service.command as command; command.main([])"
    with started(program=("-c", script), PORT=str(free_port()), TRACES="true") as process:
        code, lines = ended(process)
    assert code == 2
    assert lines == ["lossmeter: LOSSMETER_TRACES is true, but lossmeter[otel] is not installed (pip install it)"]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what is exported."""

    taken: list[tuple[str, ExportTraceServiceRequest]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((self.path, ExportTraceServiceRequest.FromString(content)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[tuple[str, list[tuple[str, ExportTraceServiceRequest]]]]:
    """A collector's address, and what it has taken."""
    taken: list[tuple[str, ExportTraceServiceRequest]] = []
    handler = type("Handler", (Collector,), {"taken": taken})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", taken
        finally:
            server.shutdown()
            thread.join()


def test_a_server_sends_its_spans_to_the_collector_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = free_port()
    with collecting() as (address, taken):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        with started(PORT=str(chosen), TRACES="true") as process:
            wait_until_ready(process, chosen)
            assert ask(chosen, "POST", LOSS, GOOD)[0] == 200
            process.terminate()
            assert ended(process)[0] == 0
    assert {path for path, _ in taken} == {"/v1/traces"}
    names = [
        span.name
        for _, request in taken
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [names.count(name) for name in ("POST /v1/losses/{name}", "decode", "compute", "encode")] == [1, 1, 1, 1]


def test_a_collector_that_is_away_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with started(PORT=str(chosen), TRACES="true", LOG_FORMAT="json") as process:
        wait_until_ready(process, chosen)
        assert ask(chosen, "POST", LOSS, GOOD)[0] == 200
        process.terminate()
        code, lines = ended(process)
    assert code == 0
    assert all(json.loads(line)["level"] in ("info", "warning", "error") for line in lines)


def test_an_exporter_that_hangs_does_not_keep_the_service_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    released, done = threading.Event(), threading.Event()

    class Hanging(InMemorySpanExporter):
        def shutdown(self) -> None:
            released.wait(20)
            done.set()

    monkeypatch.setattr("service.tracing.STOP_SECONDS", 0.01)
    Tracing(Hanging()).stop()
    assert not done.is_set()
    released.set()
    assert done.wait(20)


def test_spans_go_on_over_the_services_own_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr("service.app.Tracing", lambda: Tracing(exporter))
    with listening(traces=True) as address:
        assert ask(int(address.split(":")[1]), "POST", f"{LOSS}?token=hunter2", GOOD)[0] == 200
    assert only(exporter).name == "POST /v1/losses/{name}"
    assert len(children(exporter)) == 4
