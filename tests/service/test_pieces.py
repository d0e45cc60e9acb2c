"""Long JSON is read in pieces, to what it is as a whole: the same arrays, the same refusals."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from core.errors import InvalidInput
from core.measures import find
from service.problems import Problem
from service.wire import oip_request, pieces
from service.wire.json import decode
from tests.service.carriers import infer
from tests.service.conftest import JSON, LOSS

MEASURE = find("cross_entropy")
Read = Callable[[bytes], Any]


def as_fields(body: bytes) -> Any:
    return decode(body, MEASURE)


def as_inference(body: bytes) -> Any:
    return oip_request.decode(body, len(body), MEASURE)


@pytest.fixture
def pieces_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not read in pieces fails."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("read as a whole")

    monkeypatch.setattr(pieces, "Document", fail)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of eight bytes are long, and pieces as short."""
    monkeypatch.setattr(pieces, "LONG", 8)
    monkeypatch.setattr(pieces, "PIECE", 8)
    monkeypatch.setattr(pieces, "LONG_ENTRY", 12)


def outcome(read: Read, body: bytes) -> Any:
    """What comes of a body, in a form that can be compared."""
    try:
        with np.printoptions(threshold=10**6, floatmode="unique"):
            return repr(read(body))
    except Problem as problem:
        return problem.status, problem.detail
    except InvalidInput as error:
        return error.faults


def both(monkeypatch: pytest.MonkeyPatch, read: Read, body: bytes) -> tuple[Any, Any]:
    """What comes of a body in pieces, and as a whole."""
    in_pieces = outcome(read, body)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "LONG", 2**40)
        return in_pieces, outcome(read, body)


@pytest.mark.usefixtures("pieces_only")
@pytest.mark.parametrize(
    "shape",
    [(200, 300), (2, 90_000), (1, 2, 60_000), (30_000, 2), (60_000, 1), (70_000,), (100, 6, 120), (300, 10, 10, 3)],
)
@pytest.mark.parametrize("indent", [None, 0])
def test_long_lists_are_read_in_pieces(shape: tuple[int, ...], indent: int | None) -> None:
    array = np.random.default_rng(0).standard_normal(shape)
    array.flat[5::7] = 3.0
    lists = {"logits": array.tolist(), "targets": [1, 2], "reduction": "sum"}
    fields = as_fields(json.dumps(lists, indent=indent).encode())
    np.testing.assert_array_equal(fields["logits"].array, array, strict=True)
    np.testing.assert_array_equal(fields["targets"].array, [1, 2])
    assert fields["reduction"] == "sum"


@pytest.mark.usefixtures("pieces_only")
def test_words_and_integers_are_read_in_pieces() -> None:
    logits = [["NaN", 0.5], [1, "-Infinity"], ["Infinity", 2]] * 20_000
    targets = list(range(2**63 - 60_000, 2**63))
    fields = as_fields(json.dumps({"logits": logits, "targets": targets}).encode())
    np.testing.assert_array_equal(fields["logits"].array, np.array(logits, np.float64), strict=True)
    np.testing.assert_array_equal(fields["targets"].array, targets)


@pytest.mark.usefixtures("pieces_only")
def test_long_inferences_are_read_in_pieces() -> None:
    array = np.arange(90_000, dtype=np.float64).reshape(300, 300)
    sent = infer("cross_entropy", {"logits": array, "targets": np.arange(300)}, {}, binary=False, id="7")
    request = as_inference(sent.content)
    np.testing.assert_array_equal(request.fields["logits"], array, strict=True)
    assert request.id == "7"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "logits",
    [
        "[\x0b[1.5, 2.5, 3.5]]",
        "[[1.5, 2.5, 3.5]\x0c]",
        "[[1.5, 2.5, 3.5]\x0c,\x0b[1.5, 2.5, 3.5]]",
        "[\xa0[1.5, 2.5, 3.5]]",
        "[ \t\r\n[1.5, 2.5, 3.5] \n]",
        "[[1, 2], [3, 4], [5, 6]]",
        "[[1, 2], [3, 4], [5, 6, 7]]",
        "[[1, 2], [3, 4], [5, [6]]]",
        "[[1, 2], [3, 4], 5, [6, 7]]",
        "[[1, 2], [3, 4], [[5, 6]]]",
        "[[1, 2], [3, 4], []]",
        "[[1, 2], [3, 4], [5, 6],]",
        "[[1, 2], [3, 4], [5, 6], ]",
        "[[1, 2], [3, 4],, [5, 6]]",
        "[[1, 2], [3, 4]], [[5, 6]]",
        "[[1, 2], [3, 4]] [5, 6]]",
        "[[1, 2], [3, 4], [5, 6]",
        '[[1, 2], [3, 4], [5, 6"NaN"]]',
        '[[1, 2], [3, 4], [5"NaN", 6]]',
        '[[1, 2], [3, 4], ["NaN", "Na\\u004e"]]',
        '[[1, 2], [3, 4], ["NaN", "\\"NaN\\""]]',
        "[[1, 2], [3, 4], [NaN, 6]]",
        "[[1, 2], [3, 4], [true, 6]]",
        "[[1, 2], [3, 4], [18446744073709551616, 6]]",
        "[[1, 2], [3, 4], {}]",
        "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]]",
        "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5]]",
        "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6],]",
        "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], ]",
        "[[1, 2, 3, 4, 5, 6],, [1, 2, 3, 4, 5, 6]]",
        "[[1, 2, 3, 4, 5, 6], 1 [1, 2, 3, 4, 5, 6]]",
        "[[1, 2, 3, 4, 5, 6] 1, [1, 2, 3, 4, 5, 6]]",
        "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6] 1]",
        "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]]]",
        "[[1, 2, 3, 4, 5, 6,], [1, 2, 3, 4, 5, 6]]",
        "[[[1, 2, 3, 4, 5, 6]], [[1, 2, 3, 4, 5, 6]]]",
        "[[1, 2, 3, 4, 5, 6]]",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
        "[1, 2, 3, 4, 5, 6, 7, [8], 9]",
        "[1, 2, 3, 4, 5, 6, 7, 8,]",
        "[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]",
        "[[[1, 2], [3, 4]], [[5, 6], [7]]]",
        "[[[1, 2], [3, 4]], [[5, 6], 7]]",
        "[[[]], [[]], [[]], [[]]]",
        "[" * 40 + "1, 2, 3" + "]" * 40,
        '"[[1, 2], [3, 4], [5, 6]]"',
        '"a:[[1, 2], [3, 4], [5, 6]]"',
        '{"a": [[1, 2], [3, 4], [5, 6]]}',
    ],
)
@pytest.mark.parametrize(
    "more", ['"targets": [0, 1, 1]', '"note": [[1, 2], [3, 4', '"logits": [[1, 2], [3, 4]]', '"x:": 1']
)
def test_pieces_come_to_what_the_whole_does(monkeypatch: pytest.MonkeyPatch, logits: str, more: str) -> None:
    for text in (f'{{"logits": {logits}, {more}}}', f'{{{more}, "logits":{logits}}}'):
        in_pieces, whole = both(monkeypatch, as_fields, text.encode())
        assert in_pieces == whole
    text = f'{{"inputs": [{{"name": "logits", "shape": [3, 2], "datatype": "FP32", "data": {logits}}}], {more}}}'
    in_pieces, whole = both(monkeypatch, as_inference, text.encode())
    assert in_pieces == whole


CHANGES = ["[", "]", ",", "],[", '"', ":", "{", "}", "1", " ", "", "null", '"NaN"', "[]", "-", "e", "\\"]
GOOD = b'{"logits": [[1, 2], [3, 4], ["NaN", 6.5]], "targets": [0, 1, -100, 5], "weight":[0.5,0.25, 1]}'


@pytest.mark.usefixtures("short")
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 6), put=st.sampled_from(CHANGES))
def test_a_change_anywhere_comes_to_the_same(monkeypatch: pytest.MonkeyPatch, at: int, cut: int, put: str) -> None:
    in_pieces, whole = both(monkeypatch, as_fields, GOOD[:at] + put.encode() + GOOD[at + cut :])
    assert in_pieces == whole


def test_a_long_list_that_is_wrong_is_refused_where_it_stands(client: TestClient) -> None:
    logits: list[Any] = [[0.5, 1.5]] * 50_000
    for wrong, pointer in (([1], "/logits/40000"), ([1, [2]], "/logits/40000/1"), (1, "/logits/40000")):
        body = json.dumps({"logits": [*logits[:40_000], wrong, *logits], "targets": [0]}).encode()
        response = client.post(LOSS, content=body, headers=JSON)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == pointer
