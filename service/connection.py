"""The connection under a Protocol: what is written and not yet taken, when reading stops, and how it ends.

An answer is not lost because its connection is closed: closing a socket from which not all has been read makes TCP
throw away what the client has not read either. Where more may come, the answer is sent and our side closed, and what
comes for a moment is read and dropped: a lingering close.

A client that hangs up sends the same FIN as one that only says that it has sent all. To tell which, one that waits
longer than a moment for its answer is sent `100 Continue`, which every client must skip: the kernel of one that is gone
says so by a reset.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from service.deadlines import Deadlines, Pace, Timer

log = logging.getLogger("lossmeter.server")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JOINED = 2**16  # what is sent in fewer bytes is one piece
LINGER_SECONDS, LINGER_BYTES = 1.0, 2**21  # that are read at most of what nobody will use
PROBE_SECONDS = 0.03
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8  # of net/tcp_states.h: there was a reset; the client has sent its last

Wait = tuple[float, Callable[[], None]]  # until when, and what is done then


class Connection(asyncio.BufferedProtocol):
    """A transport, and the waits that its client causes."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self.loop, self.deadlines = loop, deadlines
        self.full: asyncio.Future[None] | None = None  # done when the client has read enough of an answer
        self.timer = Timer(loop, self._look)
        self.ended = False  # the client will send no more
        self.lingering = False
        self._close_at = 0.0  # if lingering
        self._dropped = 0
        self._paused_at: float | None = None
        self._written = 0
        self._sending: Pace | None = None  # of what the transport could not send at once
        self._taken_before = 0  # of what was written, when that began
        self._probe_at = 0.0  # if nothing is read
        self._probed = False

    # Deadlines

    def waits(self) -> Iterator[Wait]:
        """What is waited for now."""
        if self._unsent():
            yield self._sending_due(), self._give_up_sending
            self._close_at = self.loop.time() + LINGER_SECONDS
        if self.transport.is_closing():
            return
        if self.lingering:
            yield self._close_at, self.transport.close
        if (self.ended or self.paused) and self.probing() is not None:
            yield self._probe_at, self._probe

    def _look(self) -> None:
        now = self.loop.time()
        for when, act in list(self.waits()):
            if when <= now:
                act()
        for when, _ in self.waits():
            self.timer.by(when)

    # Writing

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # there is a `full` while anything is not sent

    def write(self, pieces: list[bytes]) -> None:
        """Send `pieces`."""
        if self._sending:
            self._unsent()  # if nothing is, it begins anew
        size = sum(map(len, pieces))
        self._written += size
        if size < JOINED:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines([b"".join(pieces[:-1]), pieces[-1]])

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        self.full = self.loop.create_future()
        self.watch_sending()

    def resume_writing(self) -> None:
        """The client has read enough of its answer."""
        if self.full is not None and not self.full.done():  # whoever waited may have been cancelled
            self.full.set_result(None)
        self.full = self._sending = None

    def watch_sending(self) -> None:
        """Wait no longer than is right for what is not sent yet."""
        self.timer.by(self._sending_due())

    def _unsent(self) -> int:
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._sending = None
        return unsent

    def _sending_due(self) -> float:
        taken, now = self._written - self.transport.get_write_buffer_size(), self.loop.time()
        if self._sending is None:
            self._sending, self._taken_before = Pace(now, self.deadlines.send), taken
        self._sending.reach(taken - self._taken_before, now)
        return self._sending.due

    def _give_up_sending(self) -> None:
        log.info("gave up an answer: its client has taken too little of it in SEND_SECONDS, %g", self.deadlines.send)
        self.transport.abort()

    # Reading

    @property
    def paused(self) -> bool:
        """Whether nothing is read."""
        return self._paused_at is not None

    def pause_reading(self) -> None:
        """Read no more until somebody asks."""
        if self._paused_at is None:
            self._paused_at = self.loop.time()
            self.transport.pause_reading()
            self.begin_probing()

    def resume_reading(self) -> float:
        """Read again: for how many seconds nothing was."""
        if self._paused_at is None:
            return 0.0
        halted, self._paused_at = self.loop.time() - self._paused_at, None
        if not self.ended:
            self.transport.resume_reading()
        return halted

    # The end

    def linger(self) -> None:
        """Close, but let the client read what it was sent."""
        if self.ended:
            self.transport.close()
        if self.lingering or self.transport.is_closing():
            return
        self.lingering, self._close_at = True, self.loop.time() + LINGER_SECONDS
        self.transport.write_eof()
        Connection.resume_reading(self)
        self.timer.by(self._close_at)

    def drop(self, count: int) -> None:
        """`count` bytes came that nobody will use."""
        self._dropped += count
        if self._dropped > LINGER_BYTES and self.lingering:
            self.transport.close()

    def begin_probing(self) -> None:
        """Nothing is read that would say that the client has hung up: look whether it has."""
        if sys.platform == "linux":
            self._probe_at = self.loop.time() + PROBE_SECONDS
            self.timer.by(self._probe_at)

    def probing(self) -> bool | None:
        """Whether an interim answer may be sent now; None if nobody waits for an answer."""
        return None

    def _probe(self) -> None:
        state = _state(self.transport)
        if state == _TCP_CLOSE:
            self.transport.abort()
            return
        if state == _TCP_CLOSE_WAIT and not self._probed and self.probing():
            self._probed = True
            self.write([CONTINUE])
        self._probe_at = self.loop.time() + PROBE_SECONDS


def _state(transport: asyncio.Transport) -> int | None:
    """What the kernel knows of the client."""
    try:
        found: bytes = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:  # no TCP
        return None
    return found[0]
