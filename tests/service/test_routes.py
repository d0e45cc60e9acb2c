"""The routes beside the losses: catalogue, graphs, information, probes, metrics."""

import base64
import hashlib
import math
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from starlette.testclient import TestClient

import core
from core.declare import Choice, Measure, Tensor
from core.measures import MEASURES
from tests.service.conftest import GOOD, JSON, LOSS, answer, problem

PLAIN = ["/v1/losses", LOSS, f"{LOSS}/graph", "/v1/info", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"]
PLAIN += ["/redoc", "/static/swagger-ui.css"]
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def test_the_catalogue_lists_every_measure_once(client: TestClient) -> None:
    found = answer(client.get("/v1/losses"))
    assert list(found) == ["losses"]
    assert [loss["name"] for loss in found["losses"]] == list(MEASURES)


def test_one_entry_is_the_catalogues(client: TestClient, measure: Measure) -> None:
    listed = {loss["name"]: loss for loss in answer(client.get("/v1/losses"))["losses"]}
    assert answer(client.get(f"/v1/losses/{measure.name}")) == listed[measure.name]


def test_an_entry_is_the_declaration(client: TestClient, measure: Measure) -> None:
    found = answer(client.get(f"/v1/losses/{measure.name}"))
    assert found["summary"] == measure.summary
    assert found["formula"] == measure.formula
    assert found["outputs"] == list(measure.outputs)
    inputs = {entry["name"]: entry for entry in found["inputs"]}
    assert list(inputs) == [tensor.name for tensor in measure.tensors]
    for tensor in measure.tensors:
        assert inputs[tensor.name]["optional"] is not tensor.required
        assert len(inputs[tensor.name]["dims"]) == len(tensor.dims)
        assert len(inputs[tensor.name]["rules"]) == len(tensor.rules)
    options = {entry["name"]: entry for entry in found["options"]}
    scalars: list[Tensor | Choice] = [*measure.options, *measure.choices]
    assert list(options) == [scalar.name for scalar in scalars]
    for scalar in scalars:
        assert options[scalar.name]["default"] == scalar.default
        assert options[scalar.name]["type"] == TYPES[type(scalar.default)]
        assert options[scalar.name]["range"]


def test_every_dtype_of_the_catalogue_is_one_that_the_loss_takes(client: TestClient) -> None:
    for entry in answer(client.get(LOSS))["inputs"]:
        for dtype in entry["dtypes"]:
            size = {"bool": 1, "bfloat16": 2}.get(dtype) or np.dtype(dtype).itemsize
            shape = {"logits": [1, 3], "targets": [1], "weight": [3]}[entry["name"]]
            text = base64.b64encode(bytes(math.prod(shape) * size)).decode()
            fields: dict[str, Any] = {"logits": [[0, 0, 0]], "targets": [0]}
            fields[entry["name"]] = {"dtype": dtype, "shape": shape, "b64": text}
            assert client.post(LOSS, json=fields).status_code == 200, (entry["name"], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_graph_is_the_file_that_the_catalogue_names(client: TestClient, measure: Measure, dtype: str) -> None:
    entry = answer(client.get(f"/v1/losses/{measure.name}"))["graphs"][dtype]
    response = client.get(entry["href"])
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert hashlib.sha256(response.content).hexdigest() == entry["sha256"]
    assert len(response.content) == entry["bytes"]
    assert response.headers["ETag"] == f'"{entry["sha256"]}"'


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_graph_runs_elsewhere_and_gives_the_example(client: TestClient, dtype: str) -> None:
    content = client.get(f"{LOSS}/graph", params={"dtype": dtype}).content
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()][:3] == ["logits", "targets", "weight"]
    feeds = {
        "logits": np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], dtype),
        "targets": np.array([0, 2]),
        "weight": np.array([1, 1, 2], dtype),
        "ignore_index": np.array(-100),
        "label_smoothing": np.array(0.0),
    }
    per_sample = session.run(["per_sample"], feeds)[0]
    assert per_sample.dtype == dtype
    assert per_sample == pytest.approx([0.24131129665715706, 2.003885696458488], rel=1e-6)


def test_float32_is_the_graph_that_is_given_unasked(client: TestClient) -> None:
    graphs = [client.get(f"{LOSS}/graph{query}").content for query in ("", "?dtype=float32", "?dtype=float64")]
    assert graphs[0] == graphs[1] != graphs[2]


def test_a_graph_that_is_known_already_is_not_sent_again(client: TestClient) -> None:
    tag = client.get(f"{LOSS}/graph").headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', f"{tag},W/{tag}", "*"):
        response = client.get(f"{LOSS}/graph", headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b""), known
        assert response.headers["ETag"] == tag
    for other in ('"other"', tag.strip('"')[:-1], client.get(f"{LOSS}/graph?dtype=float64").headers["ETag"]):
        assert client.get(f"{LOSS}/graph", headers={"If-None-Match": other}).status_code == 200


@pytest.mark.parametrize("dtype", ["float16", "", "FLOAT32", "x" * 5000])
def test_another_dtype_of_a_graph_is_refused_and_shown(client: TestClient, dtype: str) -> None:
    found = problem(client.get(f"{LOSS}/graph", params={"dtype": dtype}), 422)
    assert "dtype" in found["errors"][0]["pointer"]
    assert "float32" in found["detail"]
    assert dtype[:20] in found["detail"]


def test_info_tells_what_runs_and_its_limits(client: TestClient) -> None:
    found = answer(client.get("/v1/info"))
    assert found["version"] == core.__version__
    sizes = {"max_body_bytes": 2**30, "max_json_bytes": 2**25, "max_inflight_bytes": 2**31, "max_elements": 2**30}
    sizes |= {"device_memory_bytes": 0}
    seconds = {"head_seconds": 10, "body_seconds": 10, "send_seconds": 30, "idle_seconds": 75, "queue_seconds": 0.5}
    of_json = {"max_json_depth": 32, "max_json_keys": 64}
    of_heads = {"max_head_bytes": 2**15, "max_headers": 100, "max_target_bytes": 2**13, "max_small_chunks": 2**16}
    of_heads |= {"small_chunk_bytes": 2**10, "max_chunk_framing_bytes": 2**14, "min_bytes_per_second": 2**16}
    of_heads |= {"max_zstd_window_bytes": 2**23, "max_compressed_members": 2**15, "max_safetensors_header_bytes": 2**20}
    assert found["limits"] == sizes | seconds | of_json | of_heads
    assert found["device"] == "cpu"
    assert found["execution_provider"] == "CPUExecutionProvider"
    assert found["threads"] == 2
    assert found["onnxruntime"] == ort.__version__


def test_probes_answer(client: TestClient) -> None:
    assert answer(client.get("/livez")) == {"status": "live"}
    assert answer(client.get("/readyz")) == {"status": "ready"}


@pytest.mark.parametrize("path", PLAIN)
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert got.status_code == headed.status_code == 200
    assert headed.content == b""
    for name in ("Content-Type", "ETag", "Content-Security-Policy"):
        assert headed.headers.get(name) == got.headers.get(name)
    if path != "/metrics":
        assert headed.headers["Content-Length"] == got.headers["Content-Length"]


def metrics(client: TestClient) -> dict[str, float]:
    """Every sample by its name and labels."""
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_every_metric_begins_with_the_services_name(client: TestClient) -> None:
    client.post(LOSS, content=GOOD, headers=JSON)
    for line in client.get("/metrics").text.splitlines():
        assert line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("lossmeter_")


def test_requests_are_counted_by_loss_and_status(client: TestClient, measure: Measure) -> None:
    def count(found: dict[str, float], status: int) -> float:
        return found.get(f'lossmeter_requests_total{{measure="{measure.name}",status="{status}"}}', 0)

    before = metrics(client)
    client.post(f"/v1/losses/{measure.name}", json=dict(measure.examples[0].fields))
    client.post(f"/v1/losses/{measure.name}", json={})
    client.post(f"/v1/losses/{measure.name}", content=b"{", headers=JSON)
    client.post(f"/v1/losses/{measure.name}", content=b"{}")
    after = metrics(client)
    assert {s: count(after, s) - count(before, s) for s in (200, 400, 415, 422, 500)} == {
        200: 1,
        400: 1,
        415: 1,
        422: 1,
        500: 0,
    }


def test_samples_and_seconds_are_observed(client: TestClient) -> None:
    names = [f'lossmeter_batch_samples_{part}{{measure="cross_entropy"}}' for part in ("count", "sum")]
    names.append('lossmeter_request_seconds_count{measure="cross_entropy",size="64KiB"}')
    before = metrics(client)
    client.post(LOSS, json={"logits": [[0, 1]] * 3, "targets": [0, -100, 1]})
    after = metrics(client)
    assert [after[name] - before.get(name, 0) for name in names] == [1, 3, 1]


def test_paths_and_unknown_losses_make_no_label(client: TestClient) -> None:
    for path in ("/v1/losses/evil_label", "/evil_label"):
        client.post(path, content=GOOD, headers=JSON)
        client.get(path)
    assert "evil_label" not in client.get("/metrics").text


def test_nothing_is_in_flight_when_nothing_is_asked(client: TestClient) -> None:
    assert metrics(client)["lossmeter_in_flight_requests"] == 1  # the one that asks
