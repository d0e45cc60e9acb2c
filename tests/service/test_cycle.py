"""What a connection makes of apps that answer in other ways than this one's, and of clients that do not read."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.service.conftest import GOOD
from tests.service.live import served
from tests.service.raw import connected, request

LARGE = b"x" * 2**24
SECONDS = 20  # which only keep a test from hanging


@contextmanager
def app(answer: ASGIApp, **more: Any) -> Iterator[str]:
    """The address of an app on this project's protocol."""
    how = uvicorn.Config(
        answer, http="service.protocol:Protocol", lifespan="off", log_config=None, proxy_headers=False, **more
    )
    with served(how) as address:
        yield address


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not what() and time.monotonic() < until:
        time.sleep(0.01)


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Any:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes = b"", *, more: bool = False) -> Any:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_an_answer_of_unknown_length_ends_with_the_connection() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"one ", more=True))
        await send(body(b"two"))

    with app(answer) as address, connected(address) as wire:
        wire.send(request(None, method="GET", path="/"))
        found = wire.file.read()
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in found
    assert found.endswith(b"\r\n\r\none two")


def test_a_status_without_a_body_keeps_the_connection() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(status=304))
        await send(body())

    with app(answer) as address, connected(address) as wire:
        for _ in range(2):
            wire.send(request(None, method="GET", path="/"))
            assert wire.read()[0] == 304


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x", b"a\nb")])
def test_no_header_breaks_a_line(header: tuple[bytes, bytes]) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(header))
        await send(body())

    with app(answer) as address, connected(address) as wire:
        wire.send(request(None, method="GET", path="/"))
        assert wire.at_end()


def test_an_app_that_does_not_answer_ends_the_connection() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/raise":
            raise RuntimeError("why")
        if scope["path"] == "/begin":
            await send(start())
        if scope["path"] == "/twice":
            await send(start())
            await send(start())

    with app(fail) as address:
        for path in ("/raise", "/begin", "/twice", "/nothing"):
            with connected(address) as wire:
                wire.send(request(None, method="GET", path=path))
                assert wire.at_end()


def test_the_body_comes_in_pieces_and_then_the_end() -> None:
    seen: list[Any] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            seen.append(message)
            more = message["more_body"]
        await send(start((b"content-length", b"0")))
        await send(body())
        seen.append(await receive())

    with app(answer) as address, connected(address) as wire:
        wire.send(request(GOOD, chunked=True))
        assert wire.read()[0] == 200
    assert b"".join(message["body"] for message in seen[:-1]) == GOOD
    assert seen[-1] == {"type": "http.disconnect"}


def test_a_body_that_nobody_asks_for_is_not_read() -> None:
    asked, ask = threading.Event(), threading.Event()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await asyncio.to_thread(ask.wait, SECONDS)
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        content = b"%d" % size
        await send(start((b"content-length", b"%d" % len(content))))
        await send(body(content))

    with app(answer) as address, connected(address) as wire:
        wire.socket.settimeout(1)
        wire.send(request(None, f"Content-Length: {len(LARGE)}"))
        assert asked.wait(SECONDS)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(LARGE):
                sent += wire.socket.send(LARGE[sent : sent + 2**16])
        assert sent < len(LARGE)
        ask.set()
        wire.socket.settimeout(SECONDS)
        wire.socket.sendall(LARGE[sent:])
        assert wire.read()[2] == b"%d" % len(LARGE)


def test_an_answer_waits_for_a_client_that_reads_slowly_and_ends_with_one_that_hangs_up() -> None:
    sent: list[int] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"%d" % (4 * len(LARGE)))))
        for number in range(4):
            await send(body(LARGE, more=number < 3))
            sent.append(number)

    with app(answer) as address:
        with connected(address) as wire:
            wire.send(request(None, method="GET", path="/"))
            wait_for(lambda: bool(sent))
            time.sleep(0.2)
            assert sent == [0]
            status, _, content = wire.read()
            assert (status, len(content)) == (200, 4 * len(LARGE))
        sent.clear()
        with connected(address) as wire:
            wire.send(request(None, method="GET", path="/"))
            wait_for(lambda: bool(sent))
        wait_for(lambda: len(sent) == 4)
        assert sent == [0, 1, 2, 3]


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await asyncio.sleep(4)
        await send(start((b"content-length", b"0")))
        await send(body())

    with app(answer, timeout_keep_alive=3) as address, connected(address) as wire:
        for path in ("/", "/slow", "/"):
            wire.send(request(None, method="GET", path=path))
            assert wire.read()[0] == 200
            time.sleep(0.6)
        assert wire.at_end()
