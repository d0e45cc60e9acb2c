"""What the service says of itself and its models."""

import time
from typing import Any

import pytest
from tritonclient.utils import InferenceServerException

from core.declare import Measure
from core.measures import MEASURES
from core.reports.tasks import TASKS
from tests.service.triton.requests import PATH, document, exchange, random_fields, tensors

MODELS = [*MEASURES, *TASKS]


def test_the_server_is_live_and_ready_and_says_what_it_is(address: str, triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    about = triton.get_server_metadata()
    assert about["name"] == "lossmeter"
    assert set(about["extensions"]) == {"binary_tensor_data", "model_configuration", "parameters", "statistics"}
    assert document(exchange(address, "GET", "/v2/health/live")[2]) == {"live": True}
    assert document(exchange(address, "GET", "/v2/health/ready")[2]) == {"ready": True}


def test_every_loss_is_a_ready_model(address: str, triton: Any, measure: Measure) -> None:
    assert triton.is_model_ready(measure.name)
    assert not triton.is_model_ready(measure.name, "2")
    assert not triton.is_model_ready(f"{measure.name}s")
    found = document(exchange(address, "GET", f"/v2/models/{measure.name}/ready")[2])
    assert found == {"name": measure.name, "ready": True}


def test_metadata_names_what_is_taken_and_answered(triton: Any, measure: Measure) -> None:
    found = triton.get_model_metadata(measure.name)
    assert (found["name"], found["versions"]) == (measure.name, ["1"])
    assert [entry["name"] for entry in found["inputs"]] == [tensor.name for tensor in measure.tensors]
    answer = triton.infer(measure.name, tensors(random_fields(measure))).get_response()
    assert [
        (said["name"], said["datatype"], len(said["shape"]), said["shape"] == [-1] or said["shape"] == real["shape"])
        for said, real in zip(found["outputs"], answer["outputs"], strict=True)
    ] == [(real["name"], real["datatype"], len(real["shape"]), True) for real in answer["outputs"]]


def test_metadata_of_cross_entropy(triton: Any) -> None:
    found = triton.get_model_metadata("cross_entropy")
    assert found["inputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [-1, -1]},
        {"name": "targets", "datatype": "INT64", "shape": [-1]},
        {"name": "weight", "datatype": "FP32", "shape": [-1]},
    ]
    assert found["outputs"] == [
        {"name": "per_sample", "datatype": "FP32", "shape": [-1]},
        {"name": "loss", "datatype": "FP32", "shape": [1]},
        {"name": "sum", "datatype": "FP64", "shape": [1]},
        {"name": "weight", "datatype": "FP64", "shape": [1]},
        {"name": "count", "datatype": "INT64", "shape": [1]},
        {"name": "ignored", "datatype": "INT64", "shape": [1]},
    ]


def test_the_configuration_marks_what_is_optional(triton: Any, measure: Measure) -> None:
    found, said = triton.get_model_config(measure.name), triton.get_model_metadata(measure.name)
    assert (found["name"], found["max_batch_size"]) == (measure.name, 0)
    optional = {entry["name"]: entry["optional"] for entry in found["input"]}
    assert optional == {tensor.name: not tensor.required for tensor in measure.tensors}
    for configured, entries in (("input", "inputs"), ("output", "outputs")):
        assert [(entry["name"], entry["data_type"], entry["dims"]) for entry in found[configured]] == [
            (entry["name"], f"TYPE_{entry['datatype']}", entry["shape"]) for entry in said[entries]
        ]


def test_the_index_names_every_model(triton: Any) -> None:
    index = triton.get_model_repository_index()
    assert index == [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in MODELS]


def test_statistics_grow_by_what_was_asked(triton: Any, measure: Measure) -> None:
    def statistics() -> Any:
        (found,) = triton.get_inference_statistics(measure.name)["model_stats"]
        assert (found["name"], found["version"]) == (measure.name, "1")
        return found

    before, began = statistics(), time.time_ns() // 10**6
    for samples in (3, 4):
        triton.infer(measure.name, tensors(random_fields(measure, samples=samples)))
    with pytest.raises(InferenceServerException):
        triton.infer(measure.name, tensors(random_fields(measure)), parameters={"x": 1})
    after = statistics()
    assert after["inference_count"] == before["inference_count"] + 7
    assert after["execution_count"] == before["execution_count"] + 2
    assert began <= after["last_inference"] <= time.time_ns() // 10**6
    grown = dict.fromkeys(("success", "queue", "compute_input", "compute_infer", "compute_output"), 2)
    for name, more in (grown | {"fail": 1, "cache_hit": 0, "cache_miss": 0}).items():
        new, old = after["inference_stats"][name], before["inference_stats"][name]
        assert new["count"] == old["count"] + more, name
        assert (new["ns"] > old["ns"]) is bool(more), name
    whole = triton.get_inference_statistics()["model_stats"]
    assert [entry["name"] for entry in whole] == MODELS
    assert after in whole


@pytest.mark.parametrize("path", ["/v2", PATH, f"{PATH}/config", f"{PATH}/stats", "/v2/models/stats", "/v2/models/no"])
def test_nothing_but_infer_is_ever_compressed(address: str, path: str) -> None:
    for coding in ("gzip", "deflate", "gzip, deflate, br", "*", "zstd"):
        _, headers, content = exchange(address, "GET", path, None, {"Accept-Encoding": coding})
        assert headers["Content-Encoding"] is None
        assert document(content)
