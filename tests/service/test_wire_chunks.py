"""Chunked bodies that are mostly framing, and chunks that are none."""

from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from service.connection import LINGER_BYTES
from service.parser import MAX_CHUNKS, MAX_FRAMING_BYTES
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import CHUNKED, H2C, JSON_TYPE, LOSSES, OTHER, chunks, connected, loss, request
from tests.service.wires import assert_unharmed, flood, only_answer, parsed, refusal

HEAD = request(None, JSON_TYPE, CHUNKED)
ONE_BYTE = b"1\r\n \r\n"
KERNEL_BYTES = 2**23  # that the two sockets may hold


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


@pytest.mark.parametrize("size", [1, 100, 2**15])
def test_so_many_small_chunks_are_taken_and_one_more_refused(size: int) -> None:
    most = HEAD + ONE_BYTE * (MAX_CHUNKS - 1)  # and the last one, which is empty
    reader, _, problem = parsed(most + b"0\r\n\r\n", size)
    assert (reader.bytes, reader.ends, problem) == (MAX_CHUNKS - 1, 1, None)
    reader, _, problem = parsed(most + ONE_BYTE * 2, size)
    assert problem
    assert (reader.bytes, problem.status) == (MAX_CHUNKS, 400)


def test_more_chunks_are_taken_where_they_are_large() -> None:
    large = b"400\r\n" + b" " * 1024 + b"\r\n"
    reader, _, problem = parsed(HEAD + large * (MAX_CHUNKS + 5000) + b"0\r\n\r\n", 2**15)
    assert (reader.bytes, reader.ends, problem) == (1024 * (MAX_CHUNKS + 5000), 1, None)


def test_a_million_chunks_of_a_byte_are_refused(address: str) -> None:
    with connected(address) as wire:
        sent = flood(wire, iter([HEAD, *repeat(ONE_BYTE * 10_000, 100)]))
        assert sent < LINGER_BYTES + KERNEL_BYTES
    detail = refusal(only_answer(address, HEAD, *repeat(ONE_BYTE * 1000, 100), pause=0), 400)
    assert "65536 chunks" in detail


EXTENDED: dict[str, Callable[[int], bytes]] = {
    "one": lambda size: b"1;x=" + b"a" * size + b"\r\n{\r\n",
    "many": lambda size: b"1;" + b"a;" * (size // 2) + b"a\r\n{\r\n",
    "zeros": lambda size: b"0" * size + b"1\r\n{\r\n",
    "one a chunk": lambda size: (b"1;x=" + b"a" * 200 + b"\r\n \r\n") * (size // 200),
}


@pytest.mark.parametrize("name", EXTENDED)
def test_extensions_are_bounded(address: str, name: str) -> None:
    most, fewer, make = MAX_FRAMING_BYTES + 2**15, MAX_FRAMING_BYTES - 100, EXTENDED[name]
    detail = refusal(only_answer(address, HEAD, make(most), make(most), pause=0.02), 400)
    assert str(MAX_FRAMING_BYTES) in detail
    with connected(address) as wire:
        wire.send(HEAD, make(fewer), pause=0.02)
        rest = GOOD if name == "one a chunk" else GOOD[1:]
        wire.send(chunks(rest))
        assert loss(wire.read()) == LOSSES[GOOD]


def test_an_extension_that_never_ends_is_refused(address: str) -> None:
    with connected(address) as wire:
        sent = flood(wire, iter([HEAD + b"1;", *repeat(b"a" * 2**16, 320)]))
        assert sent < LINGER_BYTES + KERNEL_BYTES
    assert_unharmed(address)


def test_trailers_are_bounded(address: str) -> None:
    last, line = chunks(GOOD)[:-2], b"x: " + b"a" * 1000 + b"\r\n"
    for trailers in (line * 20, line * 20_000, b"x: " + b"a" * 100_000, b"a:\r\n" * 5000):
        pieces = [trailers[start : start + 2**15] for start in range(0, len(trailers), 2**15)]
        refusal(only_answer(address, HEAD + last, *pieces, pause=0.002), 400)
    _, _, problem = parsed(HEAD + last + line * 17 + b"\r\n", 2**15)  # all at once
    assert problem
    assert problem.status == 400
    with connected(address) as wire:
        wire.send(HEAD + last + line * 16 + b"\r\n" + request(OTHER))
        assert [loss(wire.read()), loss(wire.read())] == [LOSSES[GOOD], LOSSES[OTHER]]


NO_CHUNK = {
    "bare line feeds": chunks(GOOD).replace(b"\r\n", b"\n"),
    "a bare line feed after the size": b"%x\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "a bare line feed after the data": b"%x\r\n%s\n0\r\n\r\n" % (len(GOOD), GOOD),
    "a size over 64 bits": b"FFFFFFFFFFFFFFFFF\r\n" + GOOD,
    "a negative size": b"-1\r\n" + GOOD,
    "a signed size": b"+%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "a size in 0x": b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "a space before the size": b" %x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "a space after the size": b"%x \r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "no size": b"\r\n" + GOOD,
    "data longer than its size": b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD) - 1, GOOD),
}


@pytest.mark.parametrize("name", NO_CHUNK)
@pytest.mark.parametrize("offer", [H2C, ()], ids=["h2c", "none"])
def test_what_is_no_chunk_is_refused(address: str, name: str, offer: tuple[str, ...]) -> None:
    head, sent = request(None, *offer, JSON_TYPE, CHUNKED), NO_CHUNK[name]
    for pieces in ([head + sent + request(OTHER)], [head, sent], [bytes([byte]) for byte in head + sent]):
        refusal(only_answer(address, *pieces), 400)
    for place in range(1, len(sent), 3):
        refusal(only_answer(address, head + sent[:place], sent[place:]), 400)


def test_a_chunk_of_any_size_that_does_not_come_is_only_awaited(address: str) -> None:
    with connected(address) as wire:
        wire.send(HEAD + b"FFFFFFFFFFFFFFF\r\n" + GOOD)
    assert_unharmed(address)
