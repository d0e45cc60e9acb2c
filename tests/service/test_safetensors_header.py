"""safetensors whose header is not one: its length, its JSON, its names, its metadata."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import problem
from tests.service.tensors import DATA, EMPTY_ENTRY, HEADER, TEXT, by_hand, post, refuse


def test_a_header_that_does_not_lie_is_taken(client: TestClient) -> None:
    for header in (HEADER, TEXT + b"  \n\t\r ", dict(reversed(HEADER.items())), HEADER | {"__metadata__": {}}):
        found = post(client, by_hand(header))
        assert found.status_code == 200, found.text
        assert found.json()["per_sample"] == [1.3132616, 0.31326166]


@pytest.mark.parametrize("length", [0, 1, len(TEXT) - 1, len(TEXT) + 1, len(TEXT) + 40, 2**31, 2**32, 2**63, 2**64 - 1])
def test_a_wrong_header_length_is_malformed(client: TestClient, length: int) -> None:
    found = problem(post(client, length.to_bytes(8, "little") + TEXT + DATA), 400)
    assert "header" in found["detail"]
    if length > len(TEXT) + len(DATA):
        assert str(length) in found["detail"]


def test_a_length_in_big_endian_is_malformed(client: TestClient) -> None:
    problem(post(client, len(TEXT).to_bytes(8, "big") + TEXT + DATA), 400)


def test_a_body_cut_anywhere_is_malformed(client: TestClient) -> None:
    whole = by_hand(HEADER)
    for end in range(len(whole)):
        problem(post(client, whole[:end]), 400)
    for more in (b"\0", b" ", DATA):
        found = problem(post(client, whole + more), 400)
        assert f"end at byte 32, but the body at {32 + len(more)}" in found["detail"]


def test_a_longer_header_than_any_batch_needs_is_malformed(client: TestClient) -> None:
    assert "must have at most" in refuse(client, TEXT + b" " * 2**20)
    assert post(client, by_hand(TEXT + b" " * 2**19)).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"[1, 2]",
        b"null",
        b'"logits"',
        b"1",
        b" " + TEXT,
        b"\xef\xbb\xbf" + TEXT,
        TEXT + b"x",
        TEXT + b"\0",
        TEXT + TEXT,
        TEXT[:-1],
        TEXT[:-1] + b",}",
        TEXT.replace(b'"', b"'"),
        TEXT.replace(b"logits", b"log\xffits"),
        TEXT.replace(b"logits", b"log\ntits"),
        TEXT.replace(b"16", b"016"),
        TEXT.replace(b"16", b"+16"),
        TEXT.replace(b"16", b"0x10"),
        TEXT.replace(b"[0,", b"[NaN,"),
        TEXT.decode().encode("utf-16"),
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"a":' + b"[" * 100000,
    ],
)
def test_a_header_that_is_no_json_object_is_malformed(client: TestClient, text: bytes) -> None:
    assert "header" in refuse(client, text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace(b"logits", b"logits\\ud800"),
        TEXT.replace(b"logits", b"\\udc00logits"),
        TEXT.replace(b"F32", b"\\ud800"),
        b'{"__metadata__": {"reduction": "\\ud800"}, ' + TEXT[1:],
        b'{"__metadata__": {"\\udfff": "x"}, ' + TEXT[1:],
        b'{"__metadata__": {"reduction": "\\ude00\\ud83d"}, ' + TEXT[1:],
        TEXT.replace(b"logits", b"\xed\xa0\x80"),
    ],
)
def test_half_a_surrogate_pair_is_malformed(client: TestClient, text: bytes) -> None:
    assert "header" in refuse(client, text)


def test_a_whole_surrogate_pair_is_text(client: TestClient) -> None:
    text = b'{"__metadata__": {"reduction": "\\ud83d\\ude00"}, ' + TEXT[1:]
    assert '"😀"' in refuse(client, text, status=422)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b'{"logits": 1, ' + TEXT[1:], "logits"),
        (TEXT[:-1] + b", " + TEXT[1:], "logits"),
        (b'{"log\\u0069ts": {}, ' + TEXT[1:], "logits"),
        (b'{"__metadata__": {}, "__metadata__": {}, ' + TEXT[1:], "__metadata__"),
        (b'{"__metadata__": {"reduction": "sum", "reduction": "mean"}, ' + TEXT[1:], "reduction"),
        (b'{"__metadata__": {"reduction": "sum", "reduction": "sum"}, ' + TEXT[1:], "reduction"),
        (TEXT.replace(b'{"dtype"', b'{"dtype": "F64", "dtype"', 1), "dtype"),
        (TEXT.replace(b'{"dtype"', b'{"shape": [4], "dtype"', 1), "shape"),
    ],
)
def test_a_key_given_twice_is_malformed(client: TestClient, text: bytes, key: str) -> None:
    assert f"{key!r} more than once" in refuse(client, text)


def test_a_name_both_tensor_and_metadata_is_malformed(client: TestClient) -> None:
    detail = refuse(client, HEADER | {"__metadata__": {"logits": "1"}})
    assert detail == "logits is both a tensor and in __metadata__"


@pytest.mark.parametrize("text", [b"lo\\u0000gits", b"logits\\u0000", b"\\u0000"])
def test_a_tensor_name_with_nul_is_refused(client: TestClient, text: bytes) -> None:
    for header in (
        TEXT.replace(b"logits", text),
        b'{"' + text + b'": ' + json.dumps(EMPTY_ENTRY).encode() + b", " + TEXT[1:],
    ):
        assert post(client, by_hand(header)).status_code in (400, 422)


@pytest.mark.parametrize("value", [None, 1, "x", [], True, [["reduction", "sum"]]])
def test_metadata_that_is_no_object_is_malformed(client: TestClient, value: Any) -> None:
    assert "__metadata__" in refuse(client, HEADER | {"__metadata__": value})


@pytest.mark.parametrize("value", [None, 0.5, 1, False, [], {}, ["0.5"]])
def test_metadata_that_is_no_string_is_malformed(client: TestClient, value: Any) -> None:
    found = refuse(client, HEADER | {"__metadata__": {"reduction": "sum", "label_smoothing": value}})
    assert found == "label_smoothing in __metadata__ is no string"


def test_more_names_than_any_loss_has_are_malformed(client: TestClient) -> None:
    many = {f"t{place}": EMPTY_ENTRY for place in range(63)}
    assert refuse(client, HEADER | many) == "the header has more than 64 keys, the limit"
    options = {f"o{place}": "1" for place in range(65)}
    assert refuse(client, HEADER | {"__metadata__": options}) == "__metadata__ has more than 64 keys, the limit"
    del many["t0"]
    assert "is not known" in refuse(client, HEADER | many, status=422)
