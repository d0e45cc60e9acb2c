"""One connection: its requests are answered by the app, one after the other, in the order in which they came.

The body of a request goes from the socket into one buffer, once: see Cycle.upload. What is no request is refused with
a problem document.

uvicorn's server makes the connections, and asks of them no more than `shutdown` and a place in its `connections`.
"""

import asyncio
import logging
import threading
from collections import deque
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from service.cycle import Cycle
from service.edge import request_id
from service.parser import Head, Parser
from service.problems import Problem, respond

log = logging.getLogger("lossmeter.server")

READ_BYTES = 2**18  # that are read at once while a head is awaited
JOINED = 2**16  # what is sent in fewer bytes is one piece
_of_thread = threading.local()  # a buffer for every connection of a loop: what is read is parsed before the next read


def _scratch() -> memoryview:
    if not hasattr(_of_thread, "scratch"):
        _of_thread.scratch = memoryview(bytearray(READ_BYTES))
    found: memoryview = _of_thread.scratch
    return found


class State(ServerState):
    """What a server and its connections know of each other."""

    ending = False  # each connection ends with its next answer


class Protocol(asyncio.BufferedProtocol):
    """What uvicorn makes a connection of."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.app, self.server_state, self.idle_seconds = config.loaded_app, server_state, config.timeout_keep_alive
        self.loop = _loop or asyncio.get_running_loop()
        self.full: asyncio.Future[None] | None = None  # done when the client has read enough of an answer
        self._scratch = _scratch()
        self._parser = Parser(self)
        self._refused = False  # nothing more is parsed
        self._paused = False
        self._direct: memoryview | None = None  # where the rest of a body goes
        self._reached = 0  # in it
        self._cycle: Cycle | None = None  # the request that is answered now
        self._waiting: deque[Cycle] = deque()  # those that came after it
        self._arriving: Cycle | None = None  # the one whose body is arriving, or arrived last
        self._idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # The transport

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        self.transport = transport
        self.server_state.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self.server_state.connections.discard(self)
        if self._timer:
            self._timer.cancel()
        for cycle in (self._cycle, *self._waiting):
            if cycle:
                cycle.hang_up()
        self._waiting.clear()
        self._direct = None
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client will send no more, but may wait for the answers to what it has sent whole."""
        if self._arriving and self._arriving.more_body and not self._arriving.answered:
            self._arriving.hang_up()
            if not self._waiting:
                return False
            self._waiting.pop()
        self._refused = True
        if self._cycle:
            self.shutdown()
        return self._cycle is not None

    def get_buffer(self, hint: int) -> memoryview:
        """Where the next bytes go: to their place in the body that is awaited, or to be parsed."""
        return self._scratch if self._direct is None else self._direct[self._reached :]

    def buffer_updated(self, count: int) -> None:
        """`count` bytes are there."""
        if self._direct is not None:
            self._reached += count
            if self._reached == len(self._direct):
                self._direct = None
                self._parser.skip_body()
                self.on_end()
        elif not self._refused:
            try:
                self._parser.feed(self._scratch[:count])
            except Problem as problem:
                self._refuse(problem)

    def receive_into(self, place: memoryview) -> None:
        """What is left of the body that is arriving goes to `place`, past the parser."""
        self._direct, self._reached = place, 0

    def pause_reading(self) -> None:
        """Read no more until somebody asks."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless there are requests enough."""
        if self._paused and not self._waiting:
            self._paused = False
            self.transport.resume_reading()

    def write(self, pieces: list[bytes]) -> None:
        """Send `pieces`."""
        if sum(map(len, pieces)) < JOINED:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines([b"".join(pieces[:-1]), pieces[-1]])

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        self.full = self.loop.create_future()

    def resume_writing(self) -> None:
        """The client has read enough of its answer."""
        if self.full is not None and not self.full.done():  # whoever waited may have been cancelled
            self.full.set_result(None)
        self.full = None

    # The parser

    def on_head(self, head: Head) -> None:
        """A request begins."""
        self._arriving = cycle = Cycle(self, head)
        if self._cycle is None:
            self._begin(cycle)
        else:
            self._waiting.append(cycle)
            self.pause_reading()

    def on_piece(self, piece: bytes) -> None:
        """A piece of its body."""
        if self._arriving and not self._arriving.take(piece):
            self.pause_reading()

    def on_end(self) -> None:
        """The end of its body."""
        if self._arriving:
            self._arriving.end_body()

    def _refuse(self, problem: Problem) -> None:
        """Answer with `problem` and close the connection: what follows cannot be told apart.

        Where requests before it wait for their answers, those are the last ones; `problem` is only logged.
        """
        self._refused = True
        if self._arriving and self._arriving.answered and self._arriving.more_body:
            self.transport.close()  # the rest of its body is broken, and it has its answer
            return
        made = request_id(None)
        log.warning("refused a request: %s (%s)", problem.detail, made)
        if self._waiting and self._waiting[-1].more_body:
            self._waiting.pop()  # it is the body of that one that is broken
        elif self._cycle and self._cycle.more_body and not self._waiting:
            self._cycle.hang_up()
            self._cycle = None
        if self._cycle:
            self.shutdown()
            return
        response = respond(problem, made, str(self._parser.url, "latin-1"))
        headers = [*response.raw_headers, (b"x-request-id", made.encode()), (b"connection", b"close")]
        status = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}".encode()
        lines = [status, *(name + b": " + value for name, value in headers), b"", b""]
        self.transport.write(b"\r\n".join(lines) + bytes(response.body))
        self.transport.close()

    # Requests

    def _begin(self, cycle: Cycle) -> None:
        self._cycle = cycle
        task = self.loop.create_task(cycle.run(self.app))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def finish(self, cycle: Cycle) -> None:
        """The answer to `cycle` is written."""
        self.server_state.total_requests += 1
        self._cycle = None
        if not cycle.keep_alive or self._direct is not None:
            self.transport.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self._idle_since = self.loop.time()
            if self._timer is None:
                self._timer = self.loop.call_later(self.idle_seconds, self._close_if_idle)
        self.resume_reading()

    def _close_if_idle(self) -> None:
        """One timer a connection, which looks when the time is up: one a request would be set and cancelled."""
        self._timer = None
        left = self._idle_since + self.idle_seconds - self.loop.time()
        if self._cycle is not None:
            return  # finish sets the next
        if left > 0:
            self._timer = self.loop.call_later(left, self._close_if_idle)
        else:
            self.transport.close()

    @property
    def ending(self) -> bool:
        """Whether the request that is answered now is to be the last one: the server stops, and no other has come."""
        return self.server_state.ending and not self._waiting

    def shutdown(self) -> None:
        """Close the connection once the requests that have arrived are answered. uvicorn's server calls it."""
        last = self._waiting[-1] if self._waiting else self._cycle
        if last:
            last.keep_alive = False
        else:
            self.transport.close()
