"""The columns of reports as models: each takes scores of any one kind."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from core.declare import Measure
from core.engine import Engine
from core.reports.columns import COLUMNS
from tests.core.reports.scores import IGNORED, batch
from tests.service.triton.requests import FORMS, asked, by_hand, check, document, exchange, outputs_of, tensors

CONCRETE = [(union, one) for union in COLUMNS.values() for one in union.concrete]


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


@pytest.mark.parametrize(("union", "measure"), CONCRETE, ids=[one.name for _, one in CONCRETE])
def test_columns_are_those_of_the_engine(triton: Any, columns: Engine, union: Measure, measure: Measure) -> None:
    for dtype in ("float32", "float64"):
        fields = batch(measure, np.random.default_rng(1), 7, 5, dtype)
        wanted = outputs_of(columns.compute(union, fields))
        assert list(wanted) == [*measure.outputs, "count", "ignored"]
        for sent, back in FORMS:
            answer = triton.infer(union.name, tensors(fields, binary=sent), outputs=asked(wanted, binary=back))
            check(answer, wanted, binary=back)
        some = {name: wanted[name] for name in (measure.outputs[1], "ignored")}
        check(triton.infer(union.name, tensors(fields), outputs=asked(some)), some)


@pytest.mark.parametrize("union", COLUMNS.values(), ids=lambda union: union.name)
def test_metadata_names_every_kind_of_scores(triton: Any, union: Measure) -> None:
    said, found = triton.get_model_metadata(union.name), triton.get_model_config(union.name)
    names = ["logits", "log_probabilities", "probabilities", "targets"]
    assert [entry["name"] for entry in said["inputs"]] == names
    assert [entry["optional"] for entry in found["input"]] == [True, True, True, False]
    assert [(entry["name"], entry["datatype"]) for entry in said["outputs"]] == [
        *((name, "INT64" if name in union.indices else "FP32") for name in union.outputs),
        ("count", "INT64"),
        ("ignored", "INT64"),
    ]
    samples = {"tokens": [-1, -1]}.get(union.name, [-1])
    assert [entry["shape"] for entry in said["outputs"]] == [samples] * len(union.outputs) + [[1], [1]]


def test_options_are_parameters(triton: Any) -> None:
    fields = {"probabilities": np.array([[0.2, 0.6]], np.float32), "targets": np.array([[1, 1]])}
    found = [
        triton.infer("multilabel", tensors(fields), parameters={"threshold": share}).as_numpy("predicted_positives")
        for share in (0.1, 0.5, 0.9)
    ]
    assert [values.tolist() for values in found] == [[2], [1], [0]]


def test_what_is_not_finite_is_a_word_in_json(address: str) -> None:
    given = {"logits": ("FP32", [["NaN", 0], ["-Infinity", 0]]), "targets": ("INT64", [0, 0])}
    entries, _ = by_hand(address, "multiclass", given)
    found = {entry["name"]: entry["data"] for entry in entries}
    assert found["loss"] == ["NaN", "Infinity"]
    assert found["predicted"] == [0, 1]
    assert found["rank"] == [0, 1]
    assert (found["count"], found["ignored"]) == ([2], [0])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "exactly one of logits, log_probabilities, probabilities must be there, but there is none"),
        (
            {"logits": np.zeros((2, 3), np.float32), "probabilities": np.full((2, 3), 1 / 3)},
            "must be there, but there are logits and probabilities",
        ),
        (
            {"scores": np.zeros((2, 3))},
            "scores is not known: multiclass takes logits, log_probabilities, probabilities",
        ),
    ],
)
def test_scores_of_one_kind_are_wanted(triton: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(InferenceServerException, match=says):
        triton.infer("multiclass", tensors({"targets": np.array([0, IGNORED]), **more}))


def test_columns_are_no_losses(address: str) -> None:
    for name in (*COLUMNS, "multiclass_logits"):
        for method, path in (("POST", f"/v1/losses/{name}"), ("GET", f"/v1/losses/{name}")):
            status, _, content = exchange(address, method, path, b"{}", {"Content-Type": "application/json"})
            assert (status, f"no loss called '{name}'" in document(content)["detail"]) == (404, True), path
    status, _, content = exchange(address, "GET", "/v2/models/multiclass_logits")
    assert (status, "no model called 'multiclass_logits'" in document(content)["detail"]) == (404, True)


def test_they_are_counted(address: str, triton: Any) -> None:
    measure = COLUMNS["binary"].concrete[0]
    before = triton.get_inference_statistics("binary")["model_stats"][0]
    triton.infer("binary", tensors(batch(measure, np.random.default_rng(1), 11, 1)))
    after = triton.get_inference_statistics("binary")["model_stats"][0]
    assert after["inference_count"] == before["inference_count"] + 11
    assert b'lossmeter_requests_total{measure="binary",status="200"}' in exchange(address, "GET", "/metrics")[2]
