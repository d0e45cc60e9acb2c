"""safetensors bodies, written by the safetensors package: they give the answers of the same requests in JSON."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from core.declare import Measure
from core.measures import find
from service.wire import safetensors
from tests import inputs
from tests.service.bodies import BATCH, INTEGERS, LOGITS
from tests.service.conftest import problem, serving
from tests.service.tensors import in_json, packed, post

Array = NDArray[Any]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_every_float_type_gives_the_answer_of_json(client: TestClient, measure: Measure, dtype: str) -> None:
    made = inputs.request(measure, np.random.default_rng(7), samples=7, classes=3)
    fields = {
        name: array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype) if array.dtype.kind == "f" else array
        for name, array in made.items()
    }
    if measure.name == "distribution_cross_entropy" and dtype in ("float16", "bfloat16"):
        found = post(client, packed(fields, normalize=True), measure.name)
        wanted = in_json(client, fields, measure.name, normalize=True)
    else:
        found, wanted = post(client, packed(fields), measure.name), in_json(client, fields, measure.name)
    assert found.status_code == 200, found.text
    assert found.headers["Content-Type"] == "application/json"
    assert found.content == wanted.content
    assert found.json()["dtype"] == ("float64" if dtype == "float64" else "float32")


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_every_integer_type_is_taken_for_class_indices(client: TestClient, name: str, dtype: str) -> None:
    targets = np.array([True, False]) if dtype == "bool" else np.array([2, 1], dtype)
    fields = {find(name).main.name: -np.abs(LOGITS), "targets": targets}
    found = post(client, packed(fields), name)
    assert found.status_code == 200, found.text
    assert found.content == in_json(client, fields, name).content
    assert found.content == in_json(client, fields | {"targets": targets.astype(np.int64)}, name).content


def test_signed_indices_below_zero_are_read_as_such(client: TestClient) -> None:
    for dtype in ("int8", "int16", "int32", "int64"):
        answer = post(client, packed(BATCH | {"targets": np.array([-100, 2], dtype)})).json()
        assert answer["totals"]["ignored"] == 1
        assert answer["per_sample"][0] == 0.0
        found = problem(post(client, packed(BATCH | {"targets": np.array([-1, 2], dtype)})), 422)
        assert found["errors"][0]["pointer"] == "/targets/0"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", *INTEGERS, "bool"])
def test_a_tensor_is_a_view_of_the_body(dtype: str) -> None:
    sent = np.arange(6).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype).reshape(2, 3)
    body = bytearray(packed({"logits": sent}))
    array = safetensors.decode(body, find("cross_entropy"))["logits"]
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    np.testing.assert_array_equal(array.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else array, sent, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tensors_at_any_address_give_the_same_bits(client: TestClient, measure: Measure, dtype: str) -> None:
    fields = inputs.request(measure, np.random.default_rng(3), samples=70, classes=5)
    fields = {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in fields.items()}
    more = {"normalize": True} if measure.name == "distribution_cross_entropy" else {}
    body = packed(fields, **more)
    end = 8 + int.from_bytes(body[:8], "little")
    answer = post(client, body, measure.name)
    assert answer.status_code == 200, answer.text
    for spaces in range(1, 9):
        moved = (end - 8 + spaces).to_bytes(8, "little") + body[8:end] + b" " * spaces + body[end:]
        assert post(client, moved, measure.name).content == answer.content


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross_entropy", {"reduction": "sum"}),
        ("cross_entropy", {"reduction": "none", "label_smoothing": 0.1, "ignore_index": 2, "class_axis": -1}),
        ("cross_entropy", {"ignore_index": -(2**63), "label_smoothing": 1}),
        ("cross_entropy", {"ignore_index": 2**63 - 1, "label_smoothing": 1e-3, "per_sample": False}),
        ("soft_cross_entropy", {"label_smoothing": 0.25, "class_axis": 1, "per_sample": True}),
        ("kl_div", {"log_target": True, "reduction": "batchmean"}),
        ("kl_div", {"log_target": False, "dtype": "float64"}),
        ("distribution_cross_entropy", {"base": "2", "normalize": True, "per_sample": False}),
        ("distribution_cross_entropy", {"base": "10", "normalize": False, "dtype": "float32"}),
    ],
)
def test_options_are_text_in_the_metadata(client: TestClient, name: str, options: dict[str, Any]) -> None:
    fields = inputs.request(find(name), np.random.default_rng(5), classes=4)
    found = post(client, packed(fields, **options), name)
    assert found.status_code == 200, found.text
    assert found.content == in_json(client, fields, name, **options).content
    assert ("per_sample" in found.json()) is options.get("per_sample", True)


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "Application/X-Safetensors", "application/x-safetensors; v=1"]
)
def test_the_media_type_may_be_said_otherwise(client: TestClient, kind: str) -> None:
    found = post(client, packed(BATCH), **{"Content-Type": kind})
    assert found.content == post(client, packed(BATCH)).content


@pytest.mark.parametrize("kind", ["application/safetensors", "application/x-npy", "application/python-pickle", "x/y"])
def test_no_other_binary_type_is_taken(client: TestClient, kind: str) -> None:
    found = problem(post(client, packed(BATCH), **{"Content-Type": kind}), 415)
    assert "application/json" in found["detail"]
    assert "application/x-safetensors" in found["detail"]


def test_the_body_is_limited_by_its_own_limit_and_not_by_that_of_json() -> None:
    body = packed(BATCH)
    with serving(max_json_bytes=len(body) - 1, max_body_bytes=len(body)) as tight:
        assert post(tight, body).status_code == 200
        found = problem(post(tight, body[:-1] + b"  "), 413)
    assert found["detail"] == f"the body is larger than {len(body)} bytes, the limit MAX_BODY_BYTES"


def test_empty_batches_are_said_by_their_shape(client: TestClient) -> None:
    fields: dict[str, Array] = {"logits": np.zeros((0, 3), np.float32), "targets": np.zeros(0, np.int64)}
    found = post(client, packed(fields))
    assert found.json()["totals"] == {"sum": 0.0, "weight": 0.0, "count": 0, "ignored": 0}
    assert found.json()["per_sample"] == []
    assert found.content == in_json(client, fields, "cross_entropy").content
