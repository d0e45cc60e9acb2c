"""Nested lists become arrays exactly, or are refused with the place of the first entry that is wrong."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from core.errors import InvalidInput
from core.measures import find
from service.wire.json import decode
from service.wire.nested import length
from service.wire.reader import Document
from tests.service.conftest import JSON, refuse

MEASURE = find("cross_entropy")
WORDS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
INDICES = st.integers(-(2**63), 2**63 - 1)


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of a nested list; None if it is irregular."""
    if not isinstance(value, list):
        return ()
    shapes = {shape_of(entry) for entry in value}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(value), *(shapes.pop() or ())) if value else (0,)


def regular(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Nested lists in which every list of a level has the same length."""

    def deeper(shape: list[int]) -> st.SearchStrategy[list[Any]]:
        rows = deeper(shape[1:]) if len(shape) > 1 else leaves
        return st.lists(rows, min_size=shape[0], max_size=shape[0])

    return st.lists(st.integers(0, 3), min_size=1, max_size=4).flatmap(deeper)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Nested lists of any form, the regular ones among them."""
    return regular(leaves) | st.lists(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3)), max_size=3)


def decoded(field: str, value: Any, other: str) -> Any:
    """The array of `field`, or None where it is refused; `other` is text elsewhere in the body."""
    body = {"note": other, field: value, "after": other}
    try:
        return decode(json.dumps(body).encode(), MEASURE)[field].array
    except InvalidInput as error:
        where = error.faults[0].where
    assert where[0] == field
    place = value
    for step in where[1:]:
        assert isinstance(step, int)
        place = place[step]
    return None


@settings(deadline=None, max_examples=400)
@given(nested(NUMBERS | st.sampled_from(list(WORDS))), st.sampled_from(["", "[", "[[[", '"NaN"', "]]"]))
@example([[1, 2], [3, [4]]], "")
@example([[[1], [2]], [[3], 4]], "[")
@example([1, [2]], "")
@example([[], [[]]], "")
@example([["NaN", [1]], [1]], "")
@example([3, []], "]")
def test_float_lists_decode_as_numpy_has_them_or_are_refused(value: list[Any], other: str) -> None:
    found, shape = decoded("logits", value, other), shape_of(value)
    if shape is None:
        assert found is None
        return
    leaves = [WORDS.get(leaf, leaf) if isinstance(leaf, str) else leaf for leaf in np.array(value, object).ravel()]
    assert found.dtype == np.float64
    assert found.shape == shape
    np.testing.assert_array_equal(found, np.array([float(leaf) for leaf in leaves]).reshape(shape), strict=True)


@settings(deadline=None, max_examples=300)
@given(nested(INDICES), st.sampled_from(["", "[["]))
def test_integer_lists_decode_exactly_or_are_refused(value: list[Any], other: str) -> None:
    found, shape = decoded("targets", value, other), shape_of(value)
    if shape is None:
        assert found is None
        return
    np.testing.assert_array_equal(found, np.array(value, np.int64).reshape(shape), strict=True)


@settings(deadline=None, max_examples=100)
@given(regular(INDICES), st.data())
def test_one_entry_that_is_no_integer_is_found_where_it_stands(value: list[Any], data: st.DataObject) -> None:
    shape = shape_of(value)
    assert shape is not None
    if 0 in shape:
        return
    wrong: Any = data.draw(st.sampled_from([1.0, 0.7, True, "1", None, {}, "NaN", 2**63, 2**64, 1e300]))
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    row = value
    for step in index[:-1]:
        row = row[step]
    row[index[-1]] = wrong
    with pytest.raises(InvalidInput) as caught:
        decode(json.dumps({"targets": value}).encode(), MEASURE)
    assert caught.value.faults[0].where == ("targets", *index)


@pytest.mark.parametrize(
    ("logits", "pointer"),
    [
        ("[[1, 2], [3]]", "/logits/1"),
        ("[[1], [2, 3]]", "/logits/1"),
        ("[[1, 2], 3]", "/logits/1"),
        ("[1, [2]]", "/logits/1"),
        ("[1, []]", "/logits/1"),
        ("[[1, 2], [3, [4]]]", "/logits/1/1"),
        ("[[1, 2], [3, []]]", "/logits/1/1"),
        ("[[[1, 2], [3, 4]], [[5, 6], [7, [8]]]]", "/logits/1/1/1"),
        ("[[1, 2], []]", "/logits/1"),
        ("[[], [1, 2]]", "/logits/1"),
        ("[[1, 2], {}]", "/logits/1"),
        ("[[1, 2], [3, {}]]", "/logits/1/1"),
        ("[[1, 2], [true, 4]]", "/logits/1/0"),
        ("[[1, 2], [3, null]]", "/logits/1/1"),
        ("[[1, 2], null]", "/logits/1"),
        ('[[1, 2], "NaN"]', "/logits/1"),
        ('[[1, "NaN"], [3, "4"]]', "/logits/1/1"),
    ],
)
def test_irregular_lists_are_refused_where_they_stand(client: TestClient, logits: str, pointer: str) -> None:
    found = refuse(client, f'{{"logits": {logits}, "targets": [0, 1]}}', 422)
    assert [error["pointer"] for error in found["errors"]] == [pointer]
    index = ", ".join(pointer.split("/")[2:])
    assert found["detail"].startswith(f"logits[{index}] ")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("1.0", "targets[1] is 1.0, but must be a 64-bit integer"),
        ("0.7", "targets[1] is 0.7, but must be a 64-bit integer"),
        ("1e0", "targets[1] is 1.0, but must be a 64-bit integer"),
        ("true", "targets[1] is true, but must be a 64-bit integer"),
        ('"1"', 'targets[1] is "1", but must be a 64-bit integer'),
        ("null", "targets[1] is null, but must be a 64-bit integer"),
        ("9223372036854775808", "targets[1] is 9223372036854775808, but must be a 64-bit integer"),
        ("18446744073709551616", "targets[1] is 1.8446744073709552e+19, but must be a 64-bit integer"),
        ("-9223372036854775809", "targets[1] is -9"),
        ("2", "targets[1] is 2, but must be a class index in [0, 2) or ignore_index -100"),
        ("-1", "targets[1] is -1, but must be a class index in [0, 2) or ignore_index -100"),
        ("4611686018427387904", "targets[1] is 4611686018427387904, but must be a class index"),
    ],
)
def test_a_wrong_class_index_is_refused_and_never_truncated(client: TestClient, entry: str, said: str) -> None:
    found = refuse(client, f'{{"logits": [[1, 2], [3, 4]], "targets": [0, {entry}]}}', 422)
    assert found["detail"].startswith(said)
    assert found["errors"][0]["pointer"] == "/targets/1"


def test_integers_of_any_length_are_good_floats(client: TestClient) -> None:
    for text in ("18446744073709551615", "18446744073709551616", "-9223372036854775809", "1" + "0" * 38):
        array = decode(f'{{"logits": [[1,{text}], [2, -{text.lstrip("-")} ]]}}'.encode(), MEASURE)["logits"].array
        np.testing.assert_array_equal(array, [[1, float(text)], [2, -abs(float(text))]])


def test_a_long_float_changes_no_integer_beside_it(client: TestClient) -> None:
    for lowest in (-(2**63), 2**63 - 1, 10**18):
        body = f'{{"logits": [[1, {2**64}], [3, 4]], "targets": [0, {lowest}], "ignore_index": {lowest}}}'
        response = client.post("/v1/losses/cross_entropy", content=body, headers=JSON)
        assert response.status_code == 200, response.text
        assert response.json()["totals"]["ignored"] == 1


@pytest.mark.parametrize(("depth", "status"), [(32, 422), (33, 400), (1000, 400), (2000, 400)])
def test_lists_nest_to_a_limit(client: TestClient, depth: int, status: int) -> None:
    found = refuse(client, f'{{"logits": {"[" * depth}1{"]" * depth}, "targets": 0}}', status)
    assert ("nested deeper than 32 lists, the limit" in found["detail"]) == (depth > 32)


def test_thirty_two_axes_are_answered(client: TestClient) -> None:
    value: Any = 0
    for _ in range(32):
        value = [value]
    response = client.post("/v1/losses/binary_cross_entropy_with_logits", json={"logits": value, "targets": value})
    assert response.status_code == 200
    assert np.shape(response.json()["per_sample"]) == (1,) * 32


def test_a_list_longer_than_simdjson_counts_has_its_true_length() -> None:
    class Long:
        def __len__(self) -> int:
            return 2**24 - 1

        def __iter__(self) -> Iterator[int]:
            return iter(range(2**24 + 5))

    assert length(Long()) == 2**24 + 5
    assert length([1, 2]) == 2


NAN = '"\\u004eaN"'


@pytest.mark.parametrize(
    ("row", "shape"), [(f"[{NAN}]", (1,)), (f"[[{NAN},2]]", (1, 2)), ("[]", (0,)), ("[[],[]]", (2, 0))]
)
def test_many_rows_alike_are_not_looked_at_one_by_one(
    row: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*_: object) -> None:
        raise AssertionError("each row is looked at")

    monkeypatch.setattr("service.wire.nested._rows", slowly)
    text = f'{{"logits": [{",".join([row] * 20_000)}]}}'.encode()
    found = Document(text).array(MEASURE.inputs[0], "logits")
    assert found.shape == (20_000, *shape)
    assert np.isnan(found[:, :1].flat[:: 2 if shape == (1, 2) else 1]).all()


@pytest.mark.parametrize("odd", ["[]", "[1,2]", "[[1]]", "1", '["]"]', '["\\u005d"]'])
@pytest.mark.parametrize("place", [0, 7, 20_000])
@pytest.mark.parametrize("row", [f"[{NAN}]", "[1]"])
def test_the_one_among_many_rows_that_differs_is_found(odd: str, place: int, row: str) -> None:
    rows = [row] * 20_000
    rows.insert(place, odd)
    document = Document(f'{{"logits": [{",".join(rows)}]}}'.encode())

    def read() -> None:
        document.array(MEASURE.inputs[0], "logits")
        document.refuse_mixed_depth()

    with pytest.raises(InvalidInput) as caught:
        read()
    (fault,) = caught.value.faults
    assert fault.where[:2] == ("logits", place if place or odd in ('["]"]', '["\\u005d"]') else 1)
