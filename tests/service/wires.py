"""What tests of the wire share: a flood, and whether the server is none the worse for what it was sent."""

import contextlib
import json
import select
import time
from collections.abc import Callable, Iterator

from service.parser import Head, Parser
from service.problems import Problem
from tests.service.conftest import GOOD
from tests.service.raw import LOSSES, Answer, Wire, connected, loss, request

HANG_SECONDS = 20  # which only keep a test from hanging


def assert_unharmed(address: str) -> None:
    """A good request on a new connection has the known answer."""
    with connected(address) as wire:
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]


def only_answer(address: str, *pieces: bytes, pause: float = 0.001) -> Answer:
    """The answer to `pieces`, after which the connection must end; the server must be none the worse.

    Once it comes no more pieces are sent: the server reads them for no longer than a moment.
    """
    with connected(address) as wire:
        for piece in pieces:
            if select.select([wire.socket], [], [], pause)[0]:
                break
            wire.send(piece)
        answer = wire.read()
        assert wire.at_end()
    assert_unharmed(address)
    return answer


def refusal(answer: Answer, status: int) -> str:
    """What a problem document of the connection itself says."""
    found, headers, content = answer
    assert (found, headers["content-type"]) == (status, "application/problem+json"), content
    assert headers["connection"] == "close"
    document = json.loads(content)
    assert (document["status"], document["request_id"]) == (status, headers["x-request-id"])
    detail: str = document["detail"]
    return detail


def flood(wire: Wire, pieces: Iterator[bytes]) -> int:
    """Send `pieces` as long as they are taken: how many bytes were."""
    sent = 0
    with contextlib.suppress(OSError):
        for piece in pieces:
            wire.socket.sendall(piece)
            sent += len(piece)
    return sent


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + HANG_SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


class Nobody:
    """A reader that counts what it is told."""

    def __init__(self) -> None:
        self.heads = self.bytes = self.ends = 0

    def on_head(self, head: Head) -> None:
        self.heads += 1

    def on_piece(self, piece: bytes) -> None:
        self.bytes += len(piece)

    def on_end(self) -> None:
        self.ends += 1


def parsed(data: bytes, size: int) -> tuple[Nobody, int, Problem | None]:
    """What is found in `data`, parsed `size` bytes at a time; how far that went, and what stopped it."""
    reader, whole = Nobody(), memoryview(data)
    parser = Parser(reader)
    for start in range(0, len(whole), size):
        try:
            parser.feed(whole[start : start + size])
        except Problem as problem:
            return reader, start, problem
    return reader, len(data), None
