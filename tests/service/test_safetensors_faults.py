"""The same mistake in safetensors and in JSON: the same status, words and pointers."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from tests.service.bodies import BATCH, BINARY, LOGITS
from tests.service.conftest import problem, refuse, serving
from tests.service.tensors import by_hand, in_json, packed, post

Array = NDArray[Any]
ROW = np.array([0.5, 0.25], np.float32)
SOFT = {"logits": LOGITS, "targets": np.full((2, 3), 1 / 3, np.float32)}
BITS = {"probabilities": ROW, "targets": ROW}


def refusal(found: Any, status: int) -> dict[str, Any]:
    """What a refusal says, but for the id of its request."""
    said = problem(found, status)
    del said["request_id"]
    return said


def float_targets(*values: float) -> dict[str, Array]:
    return BATCH | {"targets": np.array(values, np.float32)}


MISTAKES: list[tuple[str, str, dict[str, Array], dict[str, Any]]] = [
    ("cross_entropy", "/targets/1", BATCH | {"targets": np.array([0, 3])}, {}),
    ("cross_entropy", "/targets/0", BATCH | {"targets": np.array([2**64 - 1, 0], np.uint64)}, {}),
    ("cross_entropy", "/targets", float_targets(0.0, 1.0), {}),
    ("cross_entropy", "/targets", SOFT, {}),
    ("cross_entropy", "/targets", BATCH | {"targets": np.array([0, 1, 2])}, {}),
    ("cross_entropy", "/logits", BATCH | {"logits": np.ones((2, 3), np.int32)}, {}),
    ("cross_entropy", "/logits", BATCH | {"logits": np.ones((2, 3), bool)}, {}),
    ("cross_entropy", "/logits", BATCH | {"logits": np.array(1, np.float32)}, {}),
    ("cross_entropy", "/weight", BATCH | {"weight": ROW}, {}),
    ("cross_entropy", "/targets", {"logits": LOGITS}, {}),
    ("cross_entropy", "/logits", {}, {}),
    ("cross_entropy", "/logit", BATCH | {"logit": LOGITS}, {}),
    ("cross_entropy", "/logits", {"Logits": LOGITS, "targets": BATCH["targets"]}, {}),
    ("cross_entropy", "/a~1b~0 é", BATCH | {"a/b~ é": ROW}, {}),
    ("cross_entropy", "/label_smoothing", BATCH, {"label_smoothing": 1.5}),
    ("cross_entropy", "/label_smoothing", BATCH, {"label_smoothing": True}),
    ("cross_entropy", "/label_smoothing", BATCH, {"label_smoothing": "x"}),
    ("cross_entropy", "/label_smoothing", BATCH, {"label_smoothing": ""}),
    ("cross_entropy", "/ignore_index", BATCH, {"ignore_index": 1.0}),
    ("cross_entropy", "/ignore_index", BATCH, {"ignore_index": 2**63}),
    ("cross_entropy", "/ignore_index", BATCH, {"ignore_index": 2**64}),
    ("cross_entropy", "/class_axis", BATCH, {"class_axis": 5}),
    ("cross_entropy", "/class_axis", BATCH, {"class_axis": 1.0}),
    ("cross_entropy", "/reduction", BATCH, {"reduction": "Mean"}),
    ("cross_entropy", "/reduction", BATCH, {"reduction": '"mean"'}),
    ("cross_entropy", "/reduction", BATCH, {"reduction": "batchmean"}),
    ("cross_entropy", "/dtype", BATCH, {"dtype": "float16"}),
    ("cross_entropy", "/per_sample", BATCH, {"per_sample": "False"}),
    ("cross_entropy", "/per_sample", BATCH, {"per_sample": 0}),
    ("cross_entropy", "/format", BATCH, {"format": "pt"}),
    ("cross_entropy", "/base", BATCH, {"base": "2"}),
    ("cross_entropy", "/", BATCH, {"": "x"}),
    ("kl_div", "/log_target", {"log_probabilities": ROW, "targets": ROW}, {"log_target": 1}),
    ("binary_cross_entropy", "/probabilities/0", BITS | {"probabilities": np.array([2, 0], np.float32)}, {}),
    ("binary_cross_entropy", "/targets/1", BITS | {"targets": np.array([0, -1], np.float16)}, {}),
    ("binary_cross_entropy", "/weight", BITS | {"weight": np.ones(3)}, {}),
    ("binary_cross_entropy", "/targets", BITS | {"targets": np.ones((2, 1), np.float32)}, {}),
    ("distribution_cross_entropy", "/p", {"p": ROW, "q": ROW}, {}),
    ("distribution_cross_entropy", "/base", {"p": ROW, "q": ROW}, {"base": "3", "normalize": True}),
    ("distribution_cross_entropy", "/normalize", {"p": ROW, "q": ROW}, {"normalize": "yes"}),
    ("soft_cross_entropy", "/targets", BATCH, {}),
]


@pytest.mark.parametrize(("name", "pointer", "fields", "options"), MISTAKES)
def test_a_mistake_is_refused_as_in_json(
    client: TestClient, name: str, pointer: str, fields: dict[str, Array], options: dict[str, Any]
) -> None:
    found = refusal(post(client, packed(fields, **options), name), 422)
    assert found == refusal(in_json(client, fields, name, **options), 422)
    assert found["errors"][0]["pointer"] == pointer


def test_several_mistakes_are_all_named_as_in_json(client: TestClient) -> None:
    fields, options = BATCH | {"wait": ROW}, {"label_smoothing": 2.5, "reduction": "avg", "x": "y"}
    found = refusal(post(client, packed(fields, **options)), 422)
    wanted = refusal(in_json(client, fields, "cross_entropy", **options), 422)
    assert {error["pointer"]: error["detail"] for error in found["errors"]} == {
        error["pointer"]: error["detail"] for error in wanted["errors"]
    }
    assert {"/wait", "/reduction", "/x"} <= {error["pointer"] for error in found["errors"]}


@pytest.mark.parametrize(
    "option", ["label_smoothing", "ignore_index", "class_axis", "reduction", "per_sample", "dtype"]
)
@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(1), np.bool_(True), ROW, np.zeros(0, np.float32)])
def test_an_option_as_a_tensor_is_refused_as_in_json(client: TestClient, option: str, value: Any) -> None:
    fields = BATCH | {option: np.asarray(value)}
    found = problem(post(client, packed(fields)), 422)
    assert [error["pointer"] for error in found["errors"]] == [f"/{option}"]
    assert found["detail"].startswith(f"{option} is an array, but must be ")
    wanted = problem(in_json(client, fields, "cross_entropy"), 422)
    assert [error["pointer"] for error in wanted["errors"]] == [f"/{option}"]


@pytest.mark.parametrize("text", ["1", "[1, 1, 1]", "NaN", "x"])
def test_an_array_in_the_metadata_is_refused(client: TestClient, text: str) -> None:
    found = problem(post(client, packed(BATCH, weight=text)), 422)
    assert found["errors"][0]["pointer"] == "/weight"
    assert "must be an array of floats" in found["detail"]


def test_no_json_but_numbers_and_booleans_is_read_in_an_option(client: TestClient) -> None:
    for text in ("null", "[0.1]", '{"a": 1}', '"0.1"', "0,1", "0.1f", "1e999", "NaN", "Infinity", "0x1", "½"):
        found = problem(post(client, packed(BATCH, label_smoothing=text)), 422)
        assert found["errors"][0]["pointer"] == "/label_smoothing"
        assert f'is "{text}", but must be a number between 0.0 and 1.0' in found["detail"]


@pytest.mark.parametrize("change", [-16, -8, -1, 1, 8])
def test_a_wrong_number_of_bytes_is_refused_in_the_words_of_json(client: TestClient, change: int) -> None:
    size = LOGITS.nbytes + change
    header = {"logits": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, size]}}
    found = refusal(post(client, by_hand(header, bytes(size))), 400)
    assert found["detail"] == f"logits has {size} bytes, but float32 of shape (2, 3) takes 24"


@pytest.mark.parametrize("shape", [[2**40, 2**40], [2**32, 2**32], [16, 2**60 + 2], [-1], [2, -5], [1] * 65, [2.0]])
def test_a_shape_that_is_none_is_refused_as_in_json(client: TestClient, shape: list[Any]) -> None:
    header = {"logits": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    found = refusal(post(client, by_hand(header, b"")), 422)
    said = json.dumps({"logits": {"dtype": "float32", "shape": shape, "b64": ""}})
    wanted = refuse(client, said, 422)
    assert (found["detail"], found["errors"]) == (wanted["detail"], wanted["errors"])
    assert found["errors"][0]["pointer"] == "/logits/shape"


def test_too_many_elements_are_refused_as_in_json() -> None:
    fields = {"logits": np.zeros((1, 21), np.float32), "targets": np.array([0])}
    with serving(max_elements=20) as tight:
        found = refusal(post(tight, packed(fields)), 422)
        assert found == refusal(in_json(tight, fields, "cross_entropy"), 422)
    assert found["errors"][0]["pointer"] == "/logits"
    assert "20" in found["detail"]


def test_an_unknown_loss_is_not_there_in_any_form(client: TestClient) -> None:
    found = refusal(client.post("/v1/losses/nope", content=packed(BATCH), headers=BINARY), 404)
    assert found == refusal(in_json(client, BATCH, "nope"), 404)


def test_a_name_with_nul_is_unknown_as_in_json(client: TestClient) -> None:
    found = refusal(post(client, packed(BATCH, **{"a\0b": "1"})), 422)
    assert found == refusal(in_json(client, BATCH, "cross_entropy", **{"a\0b": "1"}), 422)
