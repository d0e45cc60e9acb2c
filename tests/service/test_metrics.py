"""What the metrics count: each request once, in the histograms and under the reasons that it belongs to."""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Oracle
from prometheus_client.core import Metric
from starlette.testclient import TestClient

from core import __version__
from core.engine import Engine
from service.counters import Layout, Rows
from service.families import Histogram
from service.gauges import begin
from service.statistics import PARTS, PHASES, size_class
from service.system import memory_bytes, resident_bytes
from service.telemetry import Metrics, Record
from tests.service.conftest import GOOD, JSON, LOSS, serving
from tests.service.scrape import samples, value

REQUEST, PHASE = "lossmeter_request_seconds_count", "lossmeter_phase_seconds_count"
LARGE = GOOD + b" " * 2**16


def numbers(family: Metric) -> list[tuple[str, dict[str, str], float]]:
    return [(s.name, dict(s.labels), s.value) for s in family.samples if not s.name.endswith("_created")]


def test_a_histogram_is_what_prometheus_client_makes_of_the_same_values() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    random_, bounds = random.Random(seed), (0, 7, 100, 1000)
    layout = Layout()
    ours = Histogram(layout, "x", "said", {"a": ["p", "q"], "b": ["r"]}, bounds, unit=1000)
    rows = Rows(layout.size)
    theirs = Oracle("x", "said", ["a", "b"], buckets=[bound / 1000 for bound in bounds], registry=CollectorRegistry())
    for _ in range(200):
        observed = random_.choice((0, 1, 6, 7, 8, 100, 101, 1000, random_.randrange(2000)))
        ours.observe(rows.own, ("q", "r"), observed)
        theirs.labels("q", "r").observe(observed / 1000)
    (family,) = theirs.collect()
    assert [(name, labels) for name, labels, _ in numbers(ours.collect(rows.totals()))] == [
        (name, labels) for name, labels, _ in numbers(family)
    ]
    found = {name + str(labels): number for name, labels, number in numbers(ours.collect(rows.totals()))}
    assert found == pytest.approx({name + str(labels): number for name, labels, number in numbers(family)})


@pytest.mark.parametrize(
    ("received", "size"),
    [
        *((None, ""), (0, "64KiB"), (2**16, "64KiB"), (2**16 + 1, "1MiB"), (2**20, "1MiB"), (2**20 + 1, "16MiB")),
        *((2**24 + 1, "256MiB"), (2**28, "256MiB"), (2**28 + 1, "1GiB"), (2**30, "1GiB"), (2**30 + 1, "larger")),
    ],
)
def test_a_body_has_the_class_of_the_most_that_one_may_have(received: int | None, size: str) -> None:
    assert size_class(received) == size


@pytest.mark.parametrize(("body", "size"), [(GOOD, "64KiB"), (LARGE, "1MiB")])
@pytest.mark.parametrize("path", [LOSS, "/v2/models/cross_entropy/infer"])
def test_seconds_and_phases_are_counted_by_loss_and_size(client: TestClient, path: str, body: bytes, size: str) -> None:
    if path != LOSS:
        tensors = b'[{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [0, 1]},'
        tensors += b'{"name": "targets", "datatype": "INT64", "shape": [1], "data": [1]}]'
        body = b'{"inputs": ' + tensors + b"}" + b" " * (len(body) - len(GOOD))
    wanted: dict[str, Any] = {"measure": "cross_entropy", "size": size}
    before = [value(client, REQUEST, **wanted), *(value(client, PHASE, phase=phase, **wanted) for phase in PHASES)]
    assert client.post(path, content=body, headers=JSON).status_code == 200
    assert client.post(path, content=b"{" + body, headers=JSON).status_code == 400
    after = [value(client, REQUEST, **wanted), *(value(client, PHASE, phase=phase, **wanted) for phase in PHASES)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, *(1 for _ in PHASES)]


def test_the_phases_are_those_of_the_statistics() -> None:
    with serving() as client:
        for body in (GOOD, LARGE, b"{}"):
            client.post(LOSS, content=body, headers=JSON)
        (stats,) = client.get("/v2/models/cross_entropy/stats").json()["model_stats"]
        for phase, name in PARTS.items():
            found = stats["inference_stats"][name]
            assert found["count"] == value(client, PHASE, phase=phase) == 2
            assert found["ns"] == pytest.approx(value(client, "lossmeter_phase_seconds_sum", phase=phase) * 1e9)
        assert stats["inference_stats"]["fail"]["count"] == 1
        assert all(sample.value for sample in samples(client) if sample.name == PHASE)  # no series without a count


def test_the_phases_of_a_request_come_to_less_than_the_whole() -> None:
    with serving() as client:
        client.post(LOSS, content=LARGE, headers=JSON)
        whole = value(client, "lossmeter_request_seconds_sum", measure="cross_entropy")
        assert 0 < value(client, "lossmeter_phase_seconds_sum") < whole


def test_bytes_of_bodies_are_counted(client: TestClient) -> None:
    names = [f"lossmeter_{which}_body_bytes_{part}" for which in ("request", "response") for part in ("sum", "count")]
    before = [value(client, name, measure="cross_entropy") for name in names]
    for body in (GOOD, LARGE):
        answered = client.post(LOSS, content=body, headers=JSON)
    refused = client.post(LOSS, content=GOOD)  # without a media type: its body is not read
    after = [value(client, name, measure="cross_entropy") for name in names]
    sent = 2 * len(answered.content) + len(refused.content)
    assert [new - old for new, old in zip(after, before, strict=True)] == [len(GOOD + LARGE), 2, sent, 3]


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", LOSS, b"{", "malformed"),
        ("POST", LOSS, b"{}", "invalid-input"),
        ("POST", "/v2/models/cross_entropy/infer", b'{"inputs": []}', "invalid-input"),
        ("POST", "/v1/losses/nope", b"{}", "not-found"),
        ("GET", "/nope", None, "not-found"),
        ("DELETE", "/livez", None, "method-not-allowed"),
        ("POST", LOSS, b" " * 2000, "too-large"),
        ("GET", "/v1/losses/kl_div/graph?dtype=float16", None, "invalid-input"),
    ],
)
def test_a_rejected_request_is_counted_by_its_reason(method: str, path: str, body: bytes | None, reason: str) -> None:
    with serving(max_body_bytes=1000) as client:
        client.request(method, path, content=body, headers=JSON)
        found = {s.labels["reason"]: s.value for s in samples(client) if s.name == "lossmeter_rejected_requests_total"}
    assert found == {reason: 1}


def test_neither_an_answer_nor_a_failure_is_a_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as client:
        client.post(LOSS, content=GOOD, headers=JSON)
        monkeypatch.setattr(Engine, "per_sample", None)
        assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 500
        assert value(client, "lossmeter_rejected_requests_total") == 0
        assert value(client, "lossmeter_requests_total", status="500") == 1


def test_a_request_before_the_start_is_rejected_as_unavailable() -> None:
    with serving() as client:
        app = client.app
    stopped = TestClient(app)
    assert stopped.post(LOSS, content=GOOD, headers=JSON).status_code == 503
    assert value(stopped, "lossmeter_rejected_requests_total", reason="unavailable") == 1
    assert value(stopped, "lossmeter_ready_workers") == 0


def test_an_unknown_reason_is_another_one() -> None:
    metrics = Metrics()
    metrics.begin()
    metrics.end(Record("id", "GET", "/", status=418, reason="no-tea"))
    assert metrics.registry.get_sample_value("lossmeter_rejected_requests_total", {"reason": "other"}) == 1


def test_what_a_process_sets_for_itself_is_exposed() -> None:
    metrics = Metrics()
    metrics.in_flight_bytes, metrics.in_flight_limit_bytes, metrics.ready = 7, 2**31, 1
    metrics.in_flight_bytes += 5
    assert (metrics.in_flight_bytes, metrics.ready) == (12, 1)
    for name, wanted in (("in_flight_bytes", 12), ("in_flight_limit_bytes", 2**31), ("ready_workers", 1)):
        assert metrics.registry.get_sample_value(f"lossmeter_{name}") == wanted


def test_a_row_that_is_taken_over_is_begun_anew() -> None:
    metrics = Metrics()
    metrics.in_flight_bytes, metrics.ready = 7, 1
    begin(metrics.rows.own, metrics.gauges)
    assert (metrics.in_flight_bytes, metrics.ready) == (0, 0)


def test_what_the_service_is_and_runs_on_is_exposed(client: TestClient) -> None:
    (build,) = [sample for sample in samples(client) if sample.name == "lossmeter_build_info"]
    info = client.get("/v1/info").json()
    assert build.labels == {"version": __version__, "onnxruntime": info["onnxruntime"], "device": "cpu"}
    assert build.value == 1
    assert value(client, "lossmeter_ready_workers") == 1
    assert time.time() - 3600 < value(client, "lossmeter_start_time_seconds") <= time.time()
    assert 2**24 < value(client, "lossmeter_resident_memory_bytes") < value(client, "lossmeter_memory_limit_bytes")


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert resident_bytes(2**22 + 1) == 0
    assert resident_bytes(os.getpid()) > 2**24


@pytest.mark.parametrize(
    ("membership", "files", "wanted"),
    [
        ("0::/a/b", {"a/memory.max": "max", "a/b/memory.max": "4096"}, 4096),
        ("0::/a/b", {"a/memory.max": "4096", "a/b/memory.max": "8192"}, 4096),
        ("0::/", {"memory.max": "4096"}, 4096),
        ("5:cpu,memory:/a\n4:pids:/", {"memory/a/memory.limit_in_bytes": "4096", "memory.max": "1"}, 4096),
        ("0::/a", {"a/memory.max": "9223372036854771712"}, 0),
        ("0::/../a", {"memory.max": "4096"}, 4096),
        ("", {}, 0),
        ("nonsense", {"memory.max": "nonsense"}, 0),
    ],
)
def test_the_limit_of_memory_is_the_least_of_the_cgroups(
    tmp_path: Path, membership: str, files: dict[str, str], wanted: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "membership").write_text(membership)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_bytes(tmp_path, tmp_path / "membership") == (wanted or machine)
