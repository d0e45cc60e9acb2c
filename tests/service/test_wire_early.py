"""An answer that is there before its request is: it is delivered, and little more is read."""

import json
import time
from collections.abc import Iterator
from itertools import repeat

import pytest
from starlette.types import Receive, Scope, Send

from service.connection import LINGER_BYTES
from tests.service.conftest import GOOD, LOSS
from tests.service.live import listening
from tests.service.raw import CHUNKED, H2C, JSON_TYPE, LOSSES, OTHER, chunks, connected, loss, request
from tests.service.test_cycle import LARGE, app, body, start
from tests.service.wires import assert_unharmed, flood

GIGABYTE = 2**30
KERNEL_BYTES = 2**23  # that the two sockets may hold
EARLY = {
    "too large": (413, LOSS, JSON_TYPE),
    "not found": (404, "/nope", JSON_TYPE),
    "wrong type": (415, LOSS, "Content-Type: text/plain"),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening(max_json_bytes=2**20) as made:
        yield made


@pytest.mark.parametrize("name", EARLY)
@pytest.mark.parametrize("offer", [H2C, ()], ids=["h2c", "none"])
@pytest.mark.parametrize("framing", [f"Content-Length: {GIGABYTE}", CHUNKED])
def test_a_client_that_sends_on_has_its_answer(address: str, name: str, offer: tuple[str, ...], framing: str) -> None:
    status, path, kind = EARLY[name]
    piece = b"%x\r\n%s\r\n" % (2**16, b" " * 2**16) if framing == CHUNKED else b" " * 2**16
    with connected(address) as wire:
        wire.send(request(None, *offer, kind, framing, path=path))
        sent = flood(wire, repeat(piece, GIGABYTE // 2**16))
        answer = wire.read()
        assert sent < LINGER_BYTES + KERNEL_BYTES
        assert (answer[0], answer[1]["connection"]) == (status, "close")
        assert json.loads(answer[2])["status"] == status
        assert wire.at_end()
    assert_unharmed(address)


@pytest.mark.parametrize("name", EARLY)
def test_a_client_that_waits_to_be_asked_is_not_asked(address: str, name: str) -> None:
    status, path, kind = EARLY[name]
    for framing in (f"Content-Length: {GIGABYTE}", "Content-Length: 2000000"):
        with connected(address) as wire:
            wire.send(request(None, kind, framing, "Expect: 100-continue", path=path))
            answer = wire.read()
            assert (answer[0], answer[1]["connection"]) == (status, "close")
            assert wire.at_end()


@pytest.mark.parametrize("name", EARLY)
def test_a_short_rest_is_read_and_the_connection_kept(address: str, name: str) -> None:
    status, path, kind = EARLY[name]
    content = b" " * LINGER_BYTES
    with connected(address) as wire:
        for _ in range(2):
            wire.send(request(None, kind, f"Content-Length: {len(content)}", path=path))
            found, headers, _ = wire.read()
            assert (found, "connection" in headers) == (status, False)
            wire.send(content[:5], content[5:] + request(OTHER))
            assert loss(wire.read()) == LOSSES[OTHER]


def test_a_short_rest_is_not_awaited_for_long(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, "Content-Length: 100", path="/nope") + b"abc")
        assert wire.read()[0] == 404
        assert wire.at_end()
    assert_unharmed(address)


def test_the_rest_is_read_no_further_though_it_drips(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, CHUNKED, path="/nope"))
        assert wire.read()[0] == 404
        until = time.monotonic() + 20
        try:
            while time.monotonic() < until:
                wire.send(b"1\r\n \r\n")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() < until


def test_a_body_over_the_limit_is_refused_at_its_first_byte_too_many(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, CHUNKED))
        wire.send(*[b"%x\r\n%s\r\n" % (2**16, b" " * 2**16)] * 17)
        assert wire.read()[0] == 413
        assert wire.at_end()


def test_what_is_sent_after_an_early_answer_is_no_request(address: str) -> None:
    hidden = request(GOOD)
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, f"Content-Length: {GIGABYTE}", path="/nope"))
        assert wire.read()[0] == 404
        wire.send(hidden)
        assert wire.at_end()
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, CHUNKED, path="/nope"))
        assert wire.read()[0] == 404
        wire.send(chunks(GOOD) + hidden)
        assert wire.at_end()


def test_an_early_answer_arrives_whole_though_the_client_has_sent_what_nobody_reads() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"%d" % len(LARGE))))
        await send(body(LARGE))

    with app(answer) as address, connected(address) as wire:
        wire.send(request(None, f"Content-Length: {GIGABYTE}"))
        time.sleep(0.2)
        wire.send(b" " * 2**20)
        time.sleep(0.2)
        assert len(wire.read()[2]) == len(LARGE)
        assert wire.at_end()
