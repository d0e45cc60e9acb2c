"""safetensors whose header lies of its tensors: refused before anything in it is trusted."""

from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from starlette.testclient import TestClient

from core.errors import InvalidInput
from core.measures import find
from service.problems import Problem
from service.wire.safetensors import decode
from tests.service.conftest import problem
from tests.service.tensors import (
    DATA,
    EMPTY_ENTRY,
    HEADER,
    LOGITS_ENTRY,
    TARGETS_ENTRY,
    TEXT,
    by_hand,
    post,
    refuse,
)

SIZES = {"F64": 8, "I64": 8, "F32": 4, "BF16": 2, "U8": 1, "BOOL": 1}


def entry(**changes: Any) -> dict[str, Any]:
    """The header with another entry for the logits; a change to ... leaves a member out."""
    return HEADER | {"logits": {name: value for name, value in (LOGITS_ENTRY | changes).items() if value is not ...}}


@pytest.mark.parametrize("member", ["dtype", "shape", "data_offsets"])
def test_an_entry_has_three_members(client: TestClient, member: str) -> None:
    assert "data_offsets, dtype, shape" in refuse(client, entry(**{member: ...}))
    assert "data_offsets, dtype, shape" in refuse(client, entry(**{member: ..., member.upper(): LOGITS_ENTRY[member]}))
    assert "data_offsets, dtype, shape" in refuse(client, entry(more=1))


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, True, [LOGITS_ENTRY]])
def test_an_entry_is_an_object(client: TestClient, value: Any) -> None:
    assert "logits in the header" in refuse(client, HEADER | {"logits": value})


@pytest.mark.parametrize(
    "offsets",
    [
        [0, 33],
        [0, 2**63],
        [0, 2**64],
        [0, 2**64 + 16],
        [2**64 - 16, 2**64],
        [-16, 0],
        [-1, 15],
        [16, 0],
        [0.0, 16],
        [0, 16.0],
        ["0", "16"],
        [False, 16],
        [None, 16],
        [0],
        [0, 16, 16],
        [[0], [16]],
        [],
        {},
        None,
        16,
        "0,16",
    ],
)
def test_offsets_are_two_integers_within_the_body(client: TestClient, offsets: Any) -> None:
    assert refuse(client, entry(data_offsets=offsets)).startswith("data_offsets of logits ")


@pytest.mark.parametrize(
    ("logits", "targets", "data"),
    [
        ([0, 16], [8, 24], bytes(24)),
        ([0, 16], [0, 16], bytes(16)),
        ([16, 32], [8, 24], bytes(32)),
        ([0, 16], [17, 33], bytes(33)),
        ([1, 17], [17, 33], bytes(33)),
        ([16, 32], [32, 48], bytes(48)),
        ([0, 16], [16, 32], bytes(33)),
        ([0, 16], [16, 32], bytes(64)),
        ([17, 33], [0, 16], bytes(33)),
    ],
)
def test_tensors_neither_overlap_nor_leave_a_hole(
    client: TestClient, logits: list[int], targets: list[int], data: bytes
) -> None:
    header = {"logits": LOGITS_ENTRY | {"data_offsets": logits}, "targets": TARGETS_ENTRY | {"data_offsets": targets}}
    assert refuse(client, header, data).startswith(("data_offsets of ", "the tensors end at byte "))


def test_an_empty_tensor_lies_at_an_edge(client: TestClient) -> None:
    for place in (0, 16, 32):
        found = refuse(client, HEADER | {"t": EMPTY_ENTRY | {"data_offsets": [place, place]}}, status=422)
        assert "t is not known" in found
    for place in (1, 8, 31):
        assert "data_offsets of " in refuse(client, HEADER | {"t": EMPTY_ENTRY | {"data_offsets": [place, place]}})


@pytest.mark.parametrize("dtype", ["F64", "F16", "BF16", "BOOL", "U8", "I8", "I16", "U16", "I64", "U64"])
def test_a_dtype_of_another_size_is_malformed(client: TestClient, dtype: str) -> None:
    assert refuse(client, entry(dtype=dtype)).startswith("logits has 16 bytes, but ")


@pytest.mark.parametrize("dtype", ["f32", "float32", "F8_E4M3", "F4", "C64", "<f4", "O", "", None, 1, [], {}, "F32 "])
def test_a_dtype_is_looked_up(client: TestClient, dtype: Any) -> None:
    found = problem(post(client, by_hand(entry(dtype=dtype))), 422)
    assert found["errors"][0]["pointer"] == "/logits/dtype"
    assert "must be one of BF16, BOOL, F16, F32, F64" in found["detail"]


def test_a_byte_that_is_no_bool_is_refused(client: TestClient) -> None:
    header = HEADER | {"targets": {"dtype": "BOOL", "shape": [2], "data_offsets": [16, 18]}}
    found = problem(post(client, by_hand(header, DATA[:16] + b"\1\2")), 422)
    assert found["errors"][0]["pointer"] in ("/targets", "/targets/1")
    assert post(client, by_hand(header, DATA[:16] + b"\1\0")).status_code == 200


def taken(content: bytes | bytearray) -> dict[str, list[int]] | None:
    """The shapes of the tensors, None if the body is refused."""
    try:
        found = decode(bytearray(content), find("cross_entropy"))
    except (Problem, InvalidInput):
        return None
    return {name: list(array.shape) for name, array in found.items()}


def taken_by_package(content: bytes) -> dict[str, list[int]] | None:
    """The same of the safetensors package."""
    read: Any = deserialize
    try:
        return {name: found["shape"] for name, found in read(content)}
    except SafetensorError:
        return None


def test_no_changed_byte_is_taken_that_the_safetensors_package_refuses() -> None:
    """Every byte of the length and the header in turn, by every other byte; and no failure that is no refusal."""
    whole, both = by_hand(HEADER), 0
    for place in range(8 + len(TEXT)):
        for byte in range(256):
            changed = bytearray(whole)
            changed[place] = byte
            if taken(changed) is not None:
                assert taken(changed) == taken_by_package(bytes(changed)), bytes(changed[8:])
                both += 1
    assert both > len(whole)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    """Entries that follow each other, of which some have been moved or said to be larger or smaller."""
    header, reached = {}, 0
    for name in draw(st.lists(st.sampled_from("abcde"), max_size=4, unique=True)):
        dtype = draw(st.sampled_from(sorted(SIZES)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        begin, end = reached, reached + prod(shape) * SIZES[dtype]
        slip = st.sampled_from([0] * 12 + [-8, -1, 1, 4])
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin + draw(slip), end + draw(slip)]}
        reached = end
    return header


@settings(max_examples=400)
@given(headers(), st.sampled_from([0] * 8 + [-1, 1, 8]))
def test_what_the_safetensors_package_takes_is_taken_and_nothing_else(header: dict[str, Any], more: int) -> None:
    reached = max([0, *(entry["data_offsets"][1] for entry in header.values())])
    content = by_hand(header, bytes(max(0, reached + more)))
    assert taken(content) == taken_by_package(content)
