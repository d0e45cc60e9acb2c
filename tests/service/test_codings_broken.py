"""Compressed request bodies that are cut, changed, mislabelled or followed by more: malformed, whatever the place."""

import zlib
from itertools import product

import pytest
from starlette.testclient import TestClient

from tests.service.codings import COMPRESS, MEMBERS, post, refuse
from tests.service.conftest import GOOD, JSON, LOSS, problem


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_body_cut_anywhere_is_malformed(client: TestClient, coding: str) -> None:
    body = COMPRESS[coding](GOOD)
    for end in range(len(body)):
        assert f"the body is not {coding}" in refuse(client, body[:end], coding)


@pytest.mark.parametrize("coding", MEMBERS)
def test_members_cut_anywhere_are_malformed(client: TestClient, coding: str) -> None:
    first = COMPRESS[coding](GOOD[:9])
    body = first + COMPRESS[coding](GOOD[9:])
    for end in range(len(body)):
        assert f"the body is not {'JSON' if end == len(first) else coding}" in refuse(client, body[:end], coding)


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_changed_byte_never_changes_the_answer(client: TestClient, coding: str, flip: int) -> None:
    """The checksum catches it; a few bytes, such as the time in a gzip header, mean nothing."""
    plain, good = client.post(LOSS, content=GOOD, headers=JSON).content, COMPRESS[coding](GOOD)
    harmless = 0
    for place in range(len(good)):
        body = bytearray(good)
        body[place] ^= flip
        found = post(client, bytes(body), coding)
        if found.status_code == 200:
            assert found.content == plain
            harmless += 1
        else:
            problem(found, 400)
    assert harmless <= 8


@pytest.mark.parametrize(("coding", "size"), [("gzip", 8), ("deflate", 4), ("zstd", 4)])
def test_a_wrong_checksum_or_length_is_malformed(client: TestClient, coding: str, size: int) -> None:
    good = COMPRESS[coding](GOOD)
    for place in range(len(good) - size, len(good)):
        body = bytearray(good)
        body[place] ^= 1
        assert f"the body is not {coding}" in refuse(client, bytes(body), coding)


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("more", [b"x", b"garbage", GOOD, b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\0\1"])
def test_what_follows_a_compressed_body_is_malformed(client: TestClient, coding: str, more: bytes) -> None:
    assert f"the body is not {coding}" in refuse(client, COMPRESS[coding](GOOD) + more, coding)


@pytest.mark.parametrize("coding", COMPRESS)
def test_bytes_of_another_coding_are_malformed(client: TestClient, coding: str) -> None:
    others = {name: compress(GOOD) for name, compress in COMPRESS.items() if name != coding}
    for body in (GOOD, *others.values(), zlib.compress(GOOD, wbits=-15), b"\0" * 50):
        assert f"the body is not {coding}" in refuse(client, body, coding)


@pytest.mark.parametrize("coding", COMPRESS)
def test_nothing_is_no_compressed_body_and_compressed_nothing_no_json(client: TestClient, coding: str) -> None:
    assert f"the body is not {coding}" in refuse(client, b"", coding)
    assert "the body is not JSON" in refuse(client, COMPRESS[coding](b""), coding)
    assert "the body is not JSON" in refuse(client, COMPRESS[coding](GOOD[:-1]), coding)


def test_deflate_has_no_members(client: TestClient) -> None:
    parts = [COMPRESS["deflate"](part) for part in (b"", GOOD[:9], GOOD[9:], GOOD)]
    for body in (parts[1] + parts[2], parts[3] + parts[0], parts[0] + parts[3]):
        assert "the body is not deflate" in refuse(client, body, "deflate")


def test_what_is_compressed_twice_is_taken_apart_once(client: TestClient) -> None:
    """334 bytes of gzip that stand for 102 KB of gzip, which stand for 100 MiB: two codings are refused by name, and
    under one name the inner bytes are no JSON."""
    for inner, outer in product(COMPRESS.values(), COMPRESS):
        body = COMPRESS[outer](inner(bytes(100 * 2**20)))
        assert len(body) < 2000
        assert "the body is not" in refuse(client, body, outer)
        problem(client.post(LOSS, content=body, headers=JSON | {"Content-Encoding": f"{outer}, {outer}"}), 415)
