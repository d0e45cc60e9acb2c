"""One connection: its requests are answered by the app, one after the other, in the order in which they came.

The body of a request goes from the socket into one buffer, once: see Cycle.upload. What is no request is refused in its
turn, with a problem document: by the app's `refuse`, where it has one, so that it is counted and logged as any other.

What is read is parsed in pieces, and no further once a request waits for those before it: so the requests of one piece,
some 1,200 at most, and one read of bytes are all that a connection can make wait.

uvicorn's server makes the connections, and asks of them no more than `shutdown` and a place in its `connections`.

Longer than other modules: reading a request, waiting for it and answering it all change the same few fields.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from service.connection import LINGER_SECONDS, Connection, Wait
from service.cycle import Answerer, Cycle
from service.deadlines import SLOWEST, Deadlines, Pace
from service.descriptors import descriptors
from service.parser import MAX_HEAD_BYTES, Head, Parser
from service.problems import Problem, Raise
from service.settings import Settings

READ_BYTES = 2**18  # that are read at once while a head is awaited
PIECE_BYTES = MAX_HEAD_BYTES  # that are parsed at once
_of_thread = threading.local()  # a buffer for every connection of a loop: what is read is parsed before the next read


def _scratch() -> memoryview:
    if not hasattr(_of_thread, "scratch"):
        _of_thread.scratch = memoryview(bytearray(READ_BYTES))
    found: memoryview = _of_thread.scratch
    return found


class State(ServerState):
    """What a server and its connections know of each other."""

    ending = False  # each connection ends with its next answer


def _deadlines(config: uvicorn.Config) -> Deadlines:
    found = getattr(config.loaded_app, "settings", None)  # which apps of others do not have
    settings = found if isinstance(found, Settings) else Settings.model_construct()
    return Deadlines(settings.head_seconds, settings.body_seconds, settings.send_seconds, config.timeout_keep_alive)


class Protocol(Connection):
    """What uvicorn makes a connection of."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop(), _deadlines(config))
        self.app, self.server_state = config.loaded_app, server_state
        self._at_once: Answerer | None = getattr(self.app, "at_once", None)
        self._scratch = _scratch()
        self._parser = Parser(self)
        self._refused = False  # nothing more is parsed
        self._rest = b""  # not parsed yet, since requests wait
        self._direct: memoryview | None = None  # where the rest of a body goes
        self._reached = 0  # in it
        self._cycle: Cycle | None = None  # the request that is answered now
        self._begun = False  # to be answered; until then more of it may come in the piece that is parsed
        self._waiting: deque[Cycle] = deque()  # those that came after it
        self._arriving: Cycle | None = None  # the one whose body is arriving, or arrived last
        self._head_since: float | None = None  # a head is awaited
        self._pace: Pace | None = None  # of the body that is arriving
        self._answered_at = 0.0

    # The transport

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]
        if descriptors.take(transport.get_extra_info("socket").fileno()):
            self._await_head()
        else:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self.server_state.connections.discard(self)
        self.timer.stop()
        for cycle in (self._cycle, *self._waiting):
            if cycle:
                cycle.hang_up()
        self._waiting.clear()
        self._direct, self._rest = None, b""
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client will send no more, but may wait for the answers to what it has sent whole."""
        self.ended = True
        if self._arriving and self._arriving.more_body and not self._arriving.answered:
            self._arriving.hang_up()
            if not self._waiting:
                return False
            self._waiting.pop()
        self._refused = True
        if self._cycle:
            self.shutdown()
            self.begin_probing()
        return self._cycle is not None

    def get_buffer(self, hint: int) -> memoryview:
        """Where the next bytes go: to their place in the body that is awaited, or to be parsed."""
        return self._scratch if self._direct is None else self._direct[self._reached :]

    def buffer_updated(self, count: int) -> None:
        """`count` bytes are there."""
        if self._direct is not None:
            self._reached += count
            if self._arriving:
                self._came(self._arriving, count)
            if self._reached == len(self._direct):
                self._direct = None
                self._parser.skip_body()
                self.on_end()
        elif self._refused:
            self.drop(count)
        else:
            self._parse(self._scratch[:count])

    def _parse(self, data: memoryview) -> None:
        try:
            self._parser.feed(data[:PIECE_BYTES])
            for start in range(PIECE_BYTES, len(data), PIECE_BYTES):
                if self._waiting:
                    self._rest = bytes(data[start:])
                    break
                self._parser.feed(data[start : start + PIECE_BYTES])
        except Problem as problem:
            self._refuse(problem)
            return
        if self._parser.in_head:
            if self._head_since is None:
                self._await_head()
        elif self._arriving and self._arriving.more_body:
            self._came(self._arriving, 0)
        self._begin_first()

    def _parse_rest(self) -> None:
        """Before the request that is begun asks for what belongs to it."""
        rest, self._rest = self._rest, b""
        self._parse(memoryview(rest))
        self.resume_reading()

    def receive_into(self, place: memoryview) -> None:
        """What is left of the body that is arriving goes to `place`, past the parser."""
        self._direct, self._reached = place, 0

    def resume_reading(self) -> float:
        """Read again, unless there are requests enough. The clock of what was awaited stood still."""
        if not self.paused or self._waiting or self._rest or self._refused:
            return 0.0
        halted = super().resume_reading()
        if self._head_since is not None:
            self._head_since += halted
            self.timer.by(self._head_since + self.deadlines.head)
        if self._pace:
            self._pace.halted(halted)
            self.timer.by(self._pace.due)
        return halted

    # What is awaited

    def waits(self) -> Iterator[Wait]:
        """See Connection."""
        yield from super().waits()
        if self.lingering or self.transport.is_closing():
            return
        arriving, clock_runs = self._arriving, not (self.paused or self._refused)
        if self._head_since is not None:
            if clock_runs:
                yield self._head_since + self.deadlines.head, self._head_is_late
        elif arriving and arriving.more_body:
            if arriving.answered:
                yield self._answered_at + LINGER_SECONDS, self.transport.close
            elif self._pace and clock_runs and not arriving.awaits_continue:
                yield self._pace.due, self._body_is_late
        elif self._cycle is None:
            yield self._answered_at + self.deadlines.idle, self.transport.close

    def _await_head(self) -> None:
        self._head_since = self.loop.time()
        self.timer.by(self._head_since + self.deadlines.head)

    def await_body(self) -> None:
        """The client has been asked for the body that is arriving."""
        self._pace = Pace(self.loop.time(), self.deadlines.body)
        self.timer.by(self._pace.due)

    def _came(self, cycle: Cycle, count: int) -> None:
        """`count` bytes of its body came past the parser, or any of them through that."""
        cycle.received += count
        if self._pace is None:
            self.await_body()
        else:
            self._pace.reach(cycle.received, self.loop.time())

    def _head_is_late(self) -> None:
        if self._parser.in_head:
            seconds = self.deadlines.head
            self._refuse(Problem(408, f"the head of the request was not whole in HEAD_SECONDS, {seconds:g}"))
        else:
            self.transport.close()  # nothing was asked

    def _body_is_late(self) -> None:
        seconds, rate = self.deadlines.body, SLOWEST // 1024
        told = f"the body came too slowly: nothing in BODY_SECONDS, {seconds:g}, or after them less than {rate} KiB/s"
        self._refuse(Problem(408, told))

    # The parser

    def on_head(self, head: Head) -> None:
        """A request begins."""
        self._head_since = self._pace = None
        self._enqueue(Cycle(self, head, self.app))

    def _enqueue(self, cycle: Cycle) -> None:
        self._arriving = cycle
        if self._cycle is None:
            self._cycle, self._begun = cycle, False
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
        """Answer with `problem`, after the requests before it, and close: what follows cannot be told apart."""
        self._refused, self._direct, self._head_since = True, None, None
        self.pause_reading()
        arriving = self._arriving
        if not (arriving and arriving.more_body):
            refuse = getattr(self.app, "refuse", Raise)
            refusal = Cycle(self, self._parser.broken_head(), refuse(problem))
            refusal.end_body()
            self._enqueue(refusal)
        elif arriving.answered:
            self.linger()
        else:
            arriving.fail(problem)  # it is the body of that one that is broken
        self._begin_first()

    # Requests

    def _begin_first(self) -> None:
        """Begin the request that has come while none was answered."""
        if self._cycle and not self._begun and not (self._at_once and self._cycle.answer_at_once(self._at_once)):
            self._begin(self._cycle)

    def _begin(self, cycle: Cycle) -> None:
        self._cycle, self._begun = cycle, True
        task = self.loop.create_task(cycle.run())
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def finish(self, cycle: Cycle) -> None:
        """The answer to `cycle` is written."""
        self.server_state.total_requests += 1
        self._cycle, self._answered_at = None, self.loop.time()
        if not cycle.keep_alive or self._direct is not None:
            self._close()
        elif self._waiting:
            if self._rest and len(self._waiting) == 1:
                self.loop.call_soon(self._parse_rest)  # not here, where the app may be handling an exception
            self._begin(self._waiting.popleft())
        else:
            rest_arrives = self._arriving is not None and self._arriving.more_body
            self.timer.by(self._answered_at + (LINGER_SECONDS if rest_arrives else self.deadlines.idle))
        if self.transport.get_write_buffer_size():
            self.watch_sending()
        self.resume_reading()

    def _close(self) -> None:
        """Close the connection: at once only if nothing more is known to come."""
        if self._refused or self._waiting or (self._arriving and self._arriving.more_body):
            self._refused, self._direct, self._rest = True, None, b""
            self.linger()
        else:
            self.transport.close()

    @property
    def ending(self) -> bool:
        """Whether the request that is answered now is to be the last one: the server stops, and no other has come."""
        return getattr(self.server_state, "ending", False) and not self._waiting  # uvicorn's own knows no such end

    def probing(self) -> bool | None:
        """See Connection."""
        return self._cycle.may_interim if self._cycle else None

    def shutdown(self) -> None:
        """Close the connection once the requests that have been parsed are answered. uvicorn's server calls it."""
        last = self._waiting[-1] if self._waiting else self._cycle
        if last:
            last.keep_alive = False
        else:
            self._close()
