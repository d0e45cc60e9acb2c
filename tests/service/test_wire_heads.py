"""Heads that are too large, and bytes in them that belong in none."""

from collections.abc import Iterator
from itertools import repeat

import pytest

from service.connection import LINGER_BYTES
from service.parser import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import H2C, LOSSES, OTHER, connected, loss, request
from tests.service.wires import assert_unharmed, flood, only_answer, parsed, refusal

LINE = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
KERNEL_BYTES = 2**23  # that the two sockets may hold


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


def head_of(size: int) -> bytes:
    """A head of so many bytes, with one long header."""
    rest = size - len(LINE) - len(b"x: \r\n\r\n")
    return LINE + b"x: " + b"a" * rest + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 4096, MAX_HEAD_BYTES])
def test_the_largest_head_is_taken_and_one_byte_more_refused(size: int) -> None:
    reader, _, problem = parsed(head_of(MAX_HEAD_BYTES), size)
    assert (reader.heads, problem) == (1, None)
    reader, _, problem = parsed(head_of(MAX_HEAD_BYTES + 1), size)
    assert (reader.heads, problem and problem.status) == (0, 431)


def test_heads_may_follow_each_other_closely(address: str) -> None:
    pair = (head_of(20_000) + head_of(MAX_HEAD_BYTES)) * 4
    with connected(address) as wire:
        wire.send(pair)
        assert [wire.read()[0] for _ in range(8)] == [200] * 8


@pytest.mark.parametrize("part", [b"", b": ", b": \t"])
def test_a_head_that_never_ends_is_refused_before_it_takes_memory(part: bytes) -> None:
    for size in (1, 1000, MAX_HEAD_BYTES):
        _, read, problem = parsed(LINE + b"x" + part + b"a" * 2**20, size)
        assert (problem and problem.status, read <= 2 * MAX_HEAD_BYTES) == (431, True)


FLOODS = {
    "headers": (431, LINE, b"x%d: " % 1 + b"a" * 1000 + b"\r\n"),
    "small headers": (431, LINE, b"a:\r\n" * 16384),
    "a header": (431, LINE + b"x: ", b"a" * 2**16),
    "a name": (431, LINE, b"a" * 2**16),
    "spaces": (431, LINE + b"x:", b" " * 2**16),
    "a target": (414, b"GET /", b"a" * 2**16),
    "a query": (414, b"GET /livez?", b"a" * 2**16),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_refused_and_read_no_further(address: str, name: str) -> None:
    status, head, more = FLOODS[name]
    with connected(address) as wire:
        sent = flood(wire, iter([head, *repeat(more, 10**8 // len(more))]))
        assert sent < LINGER_BYTES + KERNEL_BYTES
    assert_unharmed(address)
    detail = refusal(only_answer(address, head, more * (100_000 // len(more)), pause=0.02), status)
    assert any(str(limit) in detail for limit in (MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES))


def test_the_most_headers_are_taken_and_one_more_refused(address: str) -> None:
    most = [f"x{number}: a" for number in range(MAX_HEADERS - 1)]  # and Host
    with connected(address) as wire:
        wire.send(request(None, *most, method="GET", path="/livez"))
        assert wire.read()[0] == 200
    refused = request(None, *most, "y: a", method="GET", path="/livez")
    for pieces in ([refused], [bytes([byte]) for byte in refused]):
        assert "100 headers" in refusal(only_answer(address, *pieces, pause=0), 431)


def test_the_longest_target_is_taken_and_one_byte_more_refused(address: str) -> None:
    longest = "/livez?" + "a" * (MAX_TARGET_BYTES - len("/livez?"))
    with connected(address) as wire:
        wire.send(request(None, method="GET", path=longest))
        assert wire.read()[0] == 200
        wire.send(*(bytes([byte]) for byte in request(None, method="GET", path=longest)), pause=0)
        assert wire.read()[0] == 200
    assert "8192 bytes" in refusal(only_answer(address, request(None, method="GET", path=longest + "a")), 414)


def test_what_is_refused_comes_wherever_it_is_cut(address: str) -> None:
    whole = request(None, *(f"x{number}: a" for number in range(MAX_HEADERS)), method="GET", path="/livez")
    for place in range(1, len(whole), 29):
        refusal(only_answer(address, whole[:place], whole[place:]), 431)


NO_HEAD = {
    "garbage": bytes(range(128, 256)) * 64,
    "NUL in the path": b"GET /li\0vez HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR in the path": b"GET /li\rvez HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR in a header": b"GET /livez HTTP/1.1\r\nHost: x\r\nx: a\rb\r\n\r\n",
    "NUL in a name": b"GET /livez HTTP/1.1\r\nHost: x\r\nx\0: a\r\n\r\n",
    "a folded line": b"GET /livez HTTP/1.1\r\nHost: x\r\nx: a\r\n b\r\n\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_HEAD)
def test_bytes_that_belong_in_no_head_are_refused(address: str, name: str) -> None:
    for size in (10_000, 1):
        sent = NO_HEAD[name]
        refusal(only_answer(address, *(sent[start : start + size] for start in range(0, len(sent), size))), 400)


@pytest.mark.parametrize("path", ["/%ff%fe", "/%00", "/%0d%0aX-Evil:%20x", "/\xff\xfe"])
def test_a_strange_path_is_not_found(address: str, path: str) -> None:
    sent = request(None, method="GET", path="/PATH").replace(b"/PATH", path.encode("latin-1"))
    with connected(address) as wire:
        wire.send(sent)
        status, headers, _ = wire.read()
        assert status in (400, 404)
        assert "x-evil" not in headers
    assert_unharmed(address)


@pytest.mark.parametrize("offer", [(), H2C])
def test_a_head_may_be_long_beside_an_offer_to_upgrade(address: str, offer: tuple[str, ...]) -> None:
    with connected(address) as wire:
        for body in (GOOD, OTHER):
            wire.send(request(body, *offer, "x: " + "a" * 30_000))
            assert loss(wire.read()) == LOSSES[body]
