"""Clients that hang up, and those that only say that they have sent all."""

import asyncio
import contextlib
import http.client
import socket
import struct
import sys
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from service.body import read_body
from service.problems import ClientGone
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import CHUNKED, JSON_TYPE, LOSSES, SIZED, connected, loss, request
from tests.service.test_cycle import app, body, start
from tests.service.wires import assert_unharmed, wait_for

SECONDS = 20  # which only keep a test from hanging
CONTINUE = (100, dict[str, str](), b"")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


class Busy:
    """An app that answers after a while, unless the client is gone before."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.begun, self.gone, self.answered = seconds, 0, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        cycle = scope["lossmeter.cycle"]
        for _ in range(round(self.seconds / 0.01)):
            await asyncio.sleep(0.01)
            if cycle.gone:
                self.gone += 1
                assert (await receive())["type"] in ("http.request", "http.disconnect")
                return
        await send(start((b"content-length", b"2")))
        await send(body(b"ok"))
        self.answered += 1


def reset(wire: socket.socket) -> None:
    """Have the close of `wire` say so at once."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.skipif(sys.platform != "linux", reason="only there a hang-up can be told")
@pytest.mark.parametrize("sent", [request(GOOD), request(None, method="GET"), request(GOOD) * 5])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_work_for_clients_that_hung_up_is_given_up(sent: bytes, how: str) -> None:
    busy = Busy(SECONDS)
    with app(busy) as address:
        for _ in range(30):
            with connected(address) as wire:
                wire.send(sent)
                if how == "reset":
                    reset(wire.socket)
        wait_for(lambda: busy.gone == busy.begun == 30)
    assert busy.answered == 0


@pytest.mark.parametrize("cut", [False, True])
def test_a_client_that_only_sends_no_more_has_its_answers(cut: bool) -> None:
    busy = Busy(0.3)
    with app(busy) as address, connected(address) as wire:
        wire.send(request(GOOD) * 3 + (b"GET / HT" if cut else b""))
        wire.socket.shutdown(socket.SHUT_WR)
        answers = [wire.read() for _ in range(4)]
        assert wire.at_end()
    assert (answers[0] == CONTINUE) == (sys.platform == "linux")
    assert [content for _, _, content in answers[1:]] == [b"ok"] * 3
    assert (busy.gone, busy.answered) == (0, 3)


def test_version_1_0_is_sent_no_interim_answer() -> None:
    with app(Busy(0.3)) as address, connected(address) as wire:
        wire.send(request(GOOD, version="1.0"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.read()[2] == b"ok"
        assert wire.at_end()


def test_no_interim_answer_comes_within_an_answer() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"6")))
        await send(body(b"one", more=True))
        await asyncio.sleep(0.3)
        await send(body(b"two"))

    with app(answer) as address, connected(address) as wire:
        wire.send(request(GOOD))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.read()[2] == b"onetwo"
        assert wire.at_end()


def test_a_quick_answer_comes_alone(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD))
        wire.socket.shutdown(socket.SHUT_WR)
        assert loss(wire.read()) == LOSSES[GOOD]
        assert wire.at_end()


def test_pythons_client_skips_the_interim_answer() -> None:
    with app(Busy(0.3)) as address:
        connection = http.client.HTTPConnection(address, timeout=SECONDS)
        connection.request("GET", "/")
        connection.sock.shutdown(socket.SHUT_WR)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ok")
        connection.close()


CUT = {
    "head": request(GOOD)[:30],
    "body": request(None, JSON_TYPE, SIZED) + GOOD[:5],
    "chunk": request(None, JSON_TYPE, CHUNKED) + b"5\r\n{",
    "large": request(None, JSON_TYPE, "Content-Length: 9000000") + b" " * 300_000,
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("how", ["end", "close", "reset"])
def test_nothing_is_computed_of_what_is_cut_off(name: str, how: str) -> None:
    ended: list[str] = []

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(scope, receive, 10**8, "MAX")
            ended.append("whole")
        except ClientGone:
            ended.append("gone")

    count = 100
    with app(read) as address:
        for _ in range(count):
            with connected(address) as wire:
                wire.send(CUT[name])
                if how == "end":
                    wire.socket.shutdown(socket.SHUT_WR)
                    assert wire.at_end()
                elif how == "reset":
                    reset(wire.socket)
        if name in ("body", "chunk", "large") and how != "reset":  # of which nothing may have been read
            wait_for(lambda: len(ended) == count)
    assert set(ended) <= {"gone"}


def test_the_end_of_a_body_is_where_its_length_says(address: str) -> None:
    for length, status in ((len(GOOD) - 1, 400), (len(GOOD), 200)):
        with connected(address) as wire:
            wire.send(request(None, JSON_TYPE, f"Content-Length: {length}") + GOOD)
            assert wire.read()[0] == status
            if length < len(GOOD):  # what is left over is no request
                assert wire.socket.send(b"\r\n\r\n")
                assert wire.read()[0] == 400
                assert wire.at_end()
    with contextlib.suppress(OSError), connected(address) as wire:
        wire.send(request(None, JSON_TYPE, f"Content-Length: {len(GOOD) + 1}") + GOOD)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.at_end()
    assert_unharmed(address)
