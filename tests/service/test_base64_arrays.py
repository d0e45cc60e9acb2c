"""Arrays as objects of dtype, shape and base64 text: what is not one is refused before anything is allocated."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from starlette.testclient import TestClient

from core.measures import find
from service.wire.json import decode
from tests.service.conftest import b64, problem, refuse, zeros

LOGITS = b64(np.array([[1, 2], [3, 4]], np.float32))
SIZES = [
    (0, 2**40, 2**40),
    (0, 2**62),
    (0, 2**63 - 1),
    (0, 2**63),
    (0, 2**64 - 1),
    (2**63 - 1, 0),
    (2**32, 0, 2**32),
]


def sent(client: TestClient, status: int, **changes: Any) -> dict[str, Any]:
    """The refusal of logits that are good but for `changes`; a change to ... leaves the member out."""
    logits = {name: value for name, value in (LOGITS | changes).items() if value is not ...}
    return refuse(client, json.dumps({"logits": logits, "targets": [0, 1]}), status)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(hnp.integer_dtypes() | st.just(np.dtype(bool)), hnp.array_shapes(min_dims=0, min_side=0)))
def test_integers_decode_to_the_same_bits(array: Any) -> None:
    found = decode(json.dumps({"targets": b64(array)}).encode(), find("cross_entropy"))["targets"]
    np.testing.assert_array_equal(found, array.astype(array.dtype.newbyteorder("=")), strict=True)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.array_shapes(min_dims=0, min_side=0)))
def test_floats_decode_to_the_same_bits(array: Any) -> None:
    found = decode(json.dumps({"logits": b64(array)}).encode(), find("cross_entropy"))["logits"]
    assert found.dtype.name == array.dtype.name
    assert found.shape == array.shape
    assert found.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_base64_is_read_as_little_endian_and_row_major(client: TestClient) -> None:
    text = base64.b64encode(bytes.fromhex("0000c03f000020c00000000000000041")).decode()
    body = {"log_probabilities": {"dtype": "float32", "shape": [2, 2], "b64": text}, "targets": [[1, 1], [1, 1]]}
    response = client.post("/v1/losses/kl_div", json=body)
    assert response.json()["per_sample"] == [[-1.5, 2.5], [0.0, -8.0]]


@pytest.mark.parametrize("count", [0, 1, 15, 17, 32])
def test_a_wrong_number_of_bytes_is_malformed_and_both_numbers_named(client: TestClient, count: int) -> None:
    found = sent(client, 400, b64=base64.b64encode(bytes(count)).decode())
    assert found["detail"] == f"logits has {count} bytes, but float32 of shape (2, 2) takes 16"


@pytest.mark.parametrize("text", ["A", "AAA", "%%%%", "AA AA", "AA\nAA", "é", "-_-_", "[[[[", "="])
def test_what_is_not_base64_is_malformed(client: TestClient, text: str) -> None:
    assert sent(client, 400, b64=text)["detail"].startswith("logits.b64 is not base64")


@pytest.mark.parametrize("value", [None, 1, ["AAAA"], {"a": "AAAA"}, True])
def test_base64_that_is_no_string_is_refused_where_it_stands(client: TestClient, value: Any) -> None:
    found = sent(client, 422, b64=value)
    assert found["errors"][0]["pointer"] == "/logits/b64"
    assert "logits.b64" in found["detail"]


@pytest.mark.parametrize(
    "dtype",
    [
        "O",
        "V0",
        "S2000000000",
        "f8,f8",
        "(1000000,)f8",
        ">f4",
        "<f4",
        "f4",
        "FP32",
        "FLOAT32",
        "float",
        "complex64",
        "float128",
        "datetime64",
        "",
        "float32 ",
        "z" * 9999,
        None,
        1,
        ["float32"],
        {"a": 1},
        True,
    ],
)
def test_a_dtype_is_looked_up_and_never_tried(client: TestClient, dtype: Any) -> None:
    found = sent(client, 422, dtype=dtype)
    assert found["errors"][0]["pointer"] == "/logits/dtype"
    assert "float32" in found["detail"]
    assert "z" * 100 not in found["detail"]


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ([-1, 2], "-1"),
        ([2, -5], "-5"),
        ([-2, -2], "-2"),
        ([2.0, 2], "2.0"),
        ([True, 4], "true"),
        ([2, None], "null"),
        (["2", 2], '"2"'),
        ([[2, 2]], "an array"),
        ([{"a": 1}], "an object"),
        ([2**64, 0], ""),
        ([1] * 33, "32"),
        ([1] * 65, "32"),
        (4, ""),
        (None, ""),
        ("2,2", ""),
        ({"0": 2}, ""),
    ],
)
def test_a_shape_that_is_none_is_refused_in_the_words_of_json(client: TestClient, shape: Any, shown: str) -> None:
    found = sent(client, 422, shape=shape)
    assert found["errors"][0]["pointer"] in ("/logits/shape", *(f"/logits/shape/{place}" for place in range(2)))
    assert "logits.shape" in found["detail"]
    assert shown in found["detail"]


@pytest.mark.parametrize("shape", [[2**40, 2**40], [2**32, 2**32], [16, 2**60 + 2], [2**63 - 1] * 32])
def test_a_huge_shape_never_wraps(client: TestClient, shape: list[int]) -> None:
    assert "logits.shape" in sent(client, 422, shape=shape)["detail"]
    assert "logits.shape" in sent(client, 422, shape=shape, b64="")["detail"]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_huge_shape_without_elements_is_refused(client: TestClient, shape: tuple[int, ...], dtype: str) -> None:
    body = {"logits": zeros(*shape) | {"dtype": dtype}, "targets": [0]}
    problem(client.post("/v1/losses/cross_entropy", json=body), 422)


@pytest.mark.parametrize(
    "changes",
    [{"dtype": ...}, {"shape": ...}, {"b64": ...}, {"x": 1}, {"k" * 9999: 1}, {"dtype": ..., "shape": ..., "b64": ...}],
)
def test_members_that_are_missing_or_unknown_are_refused(client: TestClient, changes: dict[str, Any]) -> None:
    found = sent(client, 422, **changes)
    assert found["errors"][0]["pointer"].startswith("/logits")
    assert "must have dtype, shape and b64" in found["detail"]
    assert "with ," not in found["detail"]


def test_a_byte_that_is_no_bool_is_refused(client: TestClient) -> None:
    targets = b64(np.array([0, 2], np.uint8), "bool")
    found = refuse(client, json.dumps({"logits": [[1, 2], [3, 4]], "targets": targets}), 422)
    assert found["errors"][0]["pointer"] in ("/targets", "/targets/1")


def test_base64_where_a_scalar_must_be_is_refused(client: TestClient) -> None:
    body = {"logits": LOGITS, "targets": [0, 1], "label_smoothing": b64(np.array(0.1))}
    assert (
        problem(client.post("/v1/losses/cross_entropy", json=body), 422)["errors"][0]["pointer"] == "/label_smoothing"
    )
