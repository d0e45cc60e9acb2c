"""Answers in safetensors, read by the safetensors package: what they hold is what JSON says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from numpy.typing import NDArray
from safetensors import safe_open
from starlette.testclient import TestClient

from core.declare import Measure
from tests import inputs
from tests.service.bodies import BATCH
from tests.service.conftest import GOOD, JSON, LOSS, problem, serving
from tests.service.tensors import in_json, packed, post

Array = NDArray[Any]
WANTED = {"Accept": "application/x-safetensors"}
SURE = {"p": np.array([[1.0, 0.0]], np.float32), "q": np.array([[0.0, 1.0]], np.float32)}


def read(response: Response, folder: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors and the metadata of an answer."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-safetensors"
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert int.from_bytes(response.content[:8], "little") % 8 == 0
    file = folder / "answer.safetensors"
    file.write_bytes(response.content)
    with safe_open(file, framework="numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_answer_holds_what_json_says(
    client: TestClient, measure: Measure, tmp_path: Path, reduction: str, per_sample: bool, dtype: str
) -> None:
    fields = inputs.request(measure, np.random.default_rng(11), dtype=dtype)
    options = {"reduction": reduction, "per_sample": per_sample}
    tensors, metadata = read(post(client, packed(fields, **options), measure.name, **WANTED), tmp_path)
    text = in_json(client, fields, measure.name, **options).text
    answer = json.loads(text)
    reduced = ({"loss"} | ({"reduced"} if "reduced" in answer else set())) if reduction != "none" else set()
    assert set(metadata) == {"reduction", "dtype", "totals"} | reduced
    assert (metadata["reduction"], metadata["dtype"]) == (reduction, dtype)
    assert json.loads(metadata["totals"]) == answer["totals"]
    for name in {"totals"} | reduced:
        assert f'"{name}":{metadata[name]},' in text
    assert set(tensors) == (set(measure.outputs) if per_sample else set())
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, np.array(answer[name], dtype), strict=True)


def test_the_totals_and_reduced_values_of_distributions_are_named(client: TestClient, tmp_path: Path) -> None:
    halves = {"p": np.array([[0.5, 0.5]], np.float32), "q": np.array([[0.25, 0.75]], np.float32)}
    body = packed(halves, base="2")
    tensors, metadata = read(post(client, body, "distribution_cross_entropy", **WANTED), tmp_path)
    assert {name: array.shape for name, array in tensors.items()} == dict.fromkeys(
        ("per_sample", "entropy", "kl_divergence"), (1,)
    )
    assert float(metadata["loss"]) == pytest.approx(1.2075187, rel=1e-6)
    assert json.loads(metadata["reduced"]) == pytest.approx({"entropy": 1.0, "kl_divergence": 0.20751875}, rel=1e-6)
    totals = {"sum": 1.2075187, "sum_entropy": 1, "sum_kl_divergence": 0.20751875}
    assert json.loads(metadata["totals"]) == pytest.approx(totals | {"weight": 1, "count": 1, "ignored": 0}, rel=1e-6)


def test_numbers_that_are_not_finite_are_words_in_the_metadata(client: TestClient, tmp_path: Path) -> None:
    tensors, metadata = read(post(client, packed(SURE), "distribution_cross_entropy", **WANTED), tmp_path)
    assert metadata["loss"] == "Infinity"
    assert json.loads(metadata["reduced"]) == {"entropy": 0.0, "kl_divergence": "Infinity"}
    assert json.loads(metadata["totals"])["sum"] == "Infinity"
    assert tensors["per_sample"].tolist() == [np.inf]
    nothing = packed(BATCH | {"targets": np.array([-100, -100])})
    tensors, metadata = read(post(client, nothing, **WANTED), tmp_path)
    assert metadata["loss"] == "NaN"
    assert tensors["per_sample"].tolist() == [0.0, 0.0]
    fields = {"log_probabilities": np.array([np.inf], np.float64), "targets": np.ones(1)}
    tensors, metadata = read(post(client, packed(fields, reduction="sum"), "kl_div", **WANTED), tmp_path)
    assert metadata["loss"] == "-Infinity"
    assert tensors["per_sample"].tolist() == [-np.inf]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_keep_every_bit(client: TestClient, tmp_path: Path, dtype: str) -> None:
    sent = np.array([[np.inf, 1e-310], [-0.1, np.nan]], np.float64).astype(dtype)
    fields = {"log_probabilities": -sent, "targets": np.ones((2, 2), dtype)}
    tensors, _ = read(post(client, packed(fields), "kl_div", **WANTED), tmp_path)
    np.testing.assert_array_equal(tensors["per_sample"], sent, strict=True)


def test_one_unbatched_sample_is_a_tensor_without_axes(client: TestClient, tmp_path: Path) -> None:
    one = {"logits": np.zeros(2, np.float32), "targets": np.array(1)}
    tensors, metadata = read(post(client, packed(one), **WANTED), tmp_path)
    assert tensors["per_sample"].shape == ()
    assert tensors["per_sample"] == pytest.approx(np.log(2), rel=1e-6)
    assert metadata["loss"] == "0.6931472"


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0)])
def test_an_empty_batch_has_empty_tensors(client: TestClient, tmp_path: Path, shape: tuple[int, ...]) -> None:
    samples = (shape[0], *shape[2:])
    empty: dict[str, Array] = {"logits": np.zeros(shape, np.float32), "targets": np.zeros(samples, np.int64)}
    tensors, metadata = read(post(client, packed(empty, reduction="sum"), **WANTED), tmp_path)
    assert tensors["per_sample"].shape == samples
    assert metadata["loss"] == "0.0"


def test_a_json_request_may_have_a_binary_answer(client: TestClient, tmp_path: Path) -> None:
    response = client.post(LOSS, content=GOOD, headers=JSON | WANTED)
    tensors, metadata = read(response, tmp_path)
    answer = client.post(LOSS, content=GOOD, headers=JSON).json()
    assert tensors["per_sample"].tolist() == np.array(answer["per_sample"], np.float32).tolist()
    assert metadata["loss"] == str(answer["loss"])


def test_an_answer_too_long_for_json_is_given_in_safetensors(tmp_path: Path) -> None:
    many = {"log_probabilities": np.full(300, -0.5, np.float32), "targets": np.ones(300, np.float32)}
    with serving(max_json_bytes=500) as tight:
        found = problem(post(tight, packed(many), "kl_div"), 422)
        assert "safetensors" in found["detail"]
        tensors, metadata = read(post(tight, packed(many), "kl_div", **WANTED), tmp_path)
    assert tensors["per_sample"].tolist() == [0.5] * 300
    assert json.loads(metadata["totals"]) == {"sum": 150.0, "weight": 300.0, "count": 300, "ignored": 0}


@pytest.mark.parametrize("status", [400, 422])
def test_refusals_are_problem_documents_whatever_is_wanted(client: TestClient, status: int) -> None:
    body = packed(BATCH, reduction="x") if status == 422 else b"x"
    assert problem(post(client, body, **WANTED), status)["status"] == status
