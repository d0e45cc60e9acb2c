"""Clients that are too slow, and those that only look it. The deadlines are short here; none is asserted to be kept."""

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from service.connection import Connection
from service.deadlines import Deadlines
from service.settings import Settings
from tests.service.conftest import GOOD, LOSS
from tests.service.live import listening
from tests.service.raw import CHUNKED, H2C, JSON_TYPE, LOSSES, OTHER, SIZED, Wire, connected, loss, request
from tests.service.test_cycle import LARGE, SECONDS, app, body, start
from tests.service.wires import assert_unharmed, only_answer, refusal

# Long enough for a machine that stands still for a second.
SHORT: dict[str, Any] = {"head_seconds": 2, "body_seconds": 2, "send_seconds": 2, "idle_seconds": 7}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening(**SHORT) as made:
        yield made


def impatient(answer: ASGIApp) -> Any:
    """An app with short deadlines."""
    answer.settings = Settings(**SHORT)  # type: ignore[attr-defined]
    return answer


def drip(wire: Wire, sent: bytes) -> int:
    """Send a byte at a time, until there is an answer: how many were sent."""
    for place in range(len(sent)):
        if select.select([wire.socket], [], [], 0.02)[0]:
            return place
        wire.socket.sendall(sent[place : place + 1])
    return len(sent)


def test_a_silent_connection_is_closed(address: str) -> None:
    for sent in (b"", b"\r\n"):
        with connected(address) as wire:
            wire.send(sent)
            assert wire.at_end()
    assert_unharmed(address)


@pytest.mark.parametrize("place", [1, 5, 17, 30, -1])
def test_half_a_head_is_answered_with_408(address: str, place: int) -> None:
    assert "HEAD_SECONDS, 2" in refusal(only_answer(address, request(GOOD).split(GOOD)[0][:place]), 408)


def test_no_byte_puts_off_the_end_of_a_head(address: str) -> None:
    whole = request(None, *(f"x{number}: a" for number in range(90)), method="GET", path="/livez")
    with connected(address) as wire:
        assert drip(wire, whole) < len(whole)
        refusal(wire.read(), 408)
        assert wire.at_end()
    assert_unharmed(address)


def test_the_next_head_has_its_time_from_its_first_byte(address: str) -> None:
    with connected(address) as wire:
        for _ in range(2):
            wire.send(request(GOOD))
            assert loss(wire.read()) == LOSSES[GOOD]
            time.sleep(2.5)
        wire.send(request(GOOD)[:20])
        refusal(wire.read(), 408)
        assert wire.at_end()
    with connected(address) as wire:
        wire.send(request(GOOD) + request(OTHER)[:20])
        assert loss(wire.read()) == LOSSES[GOOD]
        refusal(wire.read(), 408)
        assert wire.at_end()


UNFINISHED = {
    "json": request(None, JSON_TYPE, SIZED) + GOOD[:5],
    "no byte": request(None, JSON_TYPE, SIZED),
    "large": request(None, JSON_TYPE, "Content-Length: 30000000") + b" " * 3_000_000,
    "chunked": request(None, JSON_TYPE, CHUNKED) + b"5\r\n     \r\n9\r\n    ",
    "h2c": request(None, *H2C, JSON_TYPE, SIZED) + GOOD[:5],
    "inference": request(None, JSON_TYPE, SIZED, path="/v2/models/kl_div/infer") + GOOD[:5],
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_body_that_stalls_is_answered_with_408(address: str, name: str) -> None:
    status, headers, content = only_answer(address, UNFINISHED[name])
    assert (status, headers["connection"]) == (408, "close")
    assert b"BODY_SECONDS, 2" in content


def test_a_body_that_stalls_behind_another_request_is_answered_in_its_turn(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD) + UNFINISHED["json"])
        assert loss(wire.read()) == LOSSES[GOOD]
        refusal(wire.read(), 408)
        assert wire.at_end()


def test_a_body_that_drips_is_answered_with_408(address: str) -> None:
    content = b" " * 1000 + GOOD
    for head, sent in (
        (request(None, JSON_TYPE, f"Content-Length: {len(content)}"), content),
        (request(None, JSON_TYPE, CHUNKED), b"".join(b"1\r\n%c\r\n" % byte for byte in content)),
    ):
        with connected(address) as wire:
            wire.send(head)
            assert drip(wire, sent) < len(sent)
            refusal(wire.read(), 408)
            assert wire.at_end()
    assert_unharmed(address)


def test_a_body_that_takes_longer_than_its_idle_time_but_keeps_coming_is_taken(address: str) -> None:
    content = b" " * 1_200_000 + GOOD
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, f"Content-Length: {len(content)}"))
        wire.send(*(content[start : start + 200_000] for start in range(0, len(content), 200_000)), pause=0.5)
        assert loss(wire.read()) == LOSSES[GOOD]


def test_the_clock_of_a_body_stands_still_while_nobody_asks_for_it() -> None:
    asked = threading.Event()

    @impatient
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(4)
        asked.set()
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        content = b"%d" % size
        await send(start((b"content-length", b"%d" % len(content))))
        await send(body(content))

    with app(late) as address:
        with connected(address) as wire:  # more than is read without being asked for, and the rest later than that
            wire.send(request(None, f"Content-Length: {2**18}"), LARGE[: 2**17])
            assert asked.wait(SECONDS)
            time.sleep(0.3)
            wire.send(LARGE[: 2**17])
            assert wire.read()[2] == b"%d" % 2**18
        with connected(address) as wire:  # which the client sends only when asked
            wire.send(request(None, "Expect: 100-continue", "Content-Length: 5"))
            assert wire.read()[0] == 100
            wire.send(b"hello")
            assert wire.read()[2] == b"5"


def test_a_client_that_was_asked_for_its_body_has_its_time_from_then(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, JSON_TYPE, SIZED, "Expect: 100-continue"))
        assert wire.read()[0] == 100
        refusal(wire.read(), 408)
        assert wire.at_end()


def large_answers(over: threading.Event) -> Any:
    """An app that says when its answer is sent, or given up."""

    @impatient
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"%d" % (2 * len(LARGE)))))
        await send(body(LARGE, more=True))
        try:
            await send(body(LARGE))  # not before the first half is taken
        finally:
            over.set()

    return answer


@pytest.mark.parametrize("header", ["Connection: close", "Connection: keep-alive"])
def test_an_answer_that_is_not_read_is_given_up(header: str) -> None:
    over = threading.Event()
    with app(large_answers(over)) as address, connected(address) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        wire.send(request(None, header, method="GET"))
        assert over.wait(SECONDS)
        received = 0
        try:
            while piece := wire.socket.recv(2**20):
                received += len(piece)
        except ConnectionResetError:
            pass
        assert received < len(LARGE)


def test_an_answer_that_is_read_slowly_is_sent_whole() -> None:
    with app(large_answers(threading.Event())) as address, connected(address) as wire:
        wire.send(request(None, method="GET"))
        received = 0
        while received < 2 * len(LARGE):
            time.sleep(0.25)
            piece = wire.socket.recv(2**20, socket.MSG_WAITALL if received + 2**20 < 2 * len(LARGE) else 0)
            assert piece
            received += len(piece)


def test_a_connection_is_kept_for_the_idle_time_and_no_longer(address: str) -> None:
    with connected(address) as wire:
        for _ in range(3):
            wire.send(request(GOOD))
            assert loss(wire.read()) == LOSSES[GOOD]
            time.sleep(3.6)
        assert wire.at_end()


def test_work_that_takes_longer_than_every_deadline_is_answered() -> None:
    @impatient
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(4)
        await send(start((b"content-length", b"0")))
        await send(body())

    with app(slow, timeout_keep_alive=1) as address, connected(address) as wire:
        wire.send(request(GOOD, path=LOSS))
        assert wire.read()[0] == 200


class Stuck:
    """A transport, and the loop that it is on, whose client takes what a test says."""

    def __init__(self) -> None:
        self.now, self.unsent, self.aborted = 0.0, 0, False
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Any:
        self.timers.append((when, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def pass_to(self, now: float) -> None:
        while self.timers and self.timers[0][0] <= now and not self.aborted:
            self.now, call = self.timers.pop()
            call()
        self.now = now

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.unsent += len(data)

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


def sending(stuck: Any) -> Connection:
    connection = Connection(stuck, Deadlines(head=10, body=10, send=30, idle=75))
    connection.transport = stuck
    return connection


def test_the_time_between_two_answers_is_not_that_of_the_second() -> None:
    stuck = Stuck()
    connection = sending(stuck)
    for now in (0, 29.5, 58):
        stuck.pass_to(now)
        connection.write([b"x" * 1000])
        connection.watch_sending()
        stuck.pass_to(now + 1)
        stuck.unsent = 0
    assert not stuck.aborted


@pytest.mark.parametrize(("taken", "until"), [(0, 30), (2**16 - 2000, 700), (2**16 + 2000, None)])
def test_an_answer_is_given_up_where_too_little_of_it_is_taken(taken: int, until: float | None) -> None:
    stuck = Stuck()
    connection = sending(stuck)
    stuck.unsent = 70_000_000
    connection._written = stuck.unsent
    connection.watch_sending()
    for now in range(1, 1000):
        stuck.unsent -= taken
        stuck.pass_to(now)
        if stuck.aborted:
            break
    assert (until is not None) == stuck.aborted
    assert until is None or until <= stuck.now <= 2 * until
