"""Many connections at once: HTTP/1.1 answers off asyncio's transports, for scripts that load a server."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

MOST_SECONDS = 10.0  # that a probe waits
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(slots=True)
class Answer:
    """One answer: its status, its head as it came, its body."""

    status: int
    head: bytes
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server will take no more on the connection."""
        return b"\r\nconnection: close" in self.head.lower()


class Connection(asyncio.Protocol):
    """A connection that has at most one request at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.waiting: asyncio.Future[Answer] | None = None
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        """Kept for `ask`."""
        self.transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.waiting is None:
            return
        length = _LENGTH.search(self.buffer, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self.buffer) >= whole:
            head = bytes(self.buffer[:end])
            answer = Answer(int(head[9:12]), head, bytes(self.buffer[end + 4 : whole]))
            del self.buffer[:whole]
            waiting, self.waiting = self.waiting, None
            if not waiting.done():
                waiting.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """What waits fails."""
        self.closed = True
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(error or ConnectionResetError("closed without an answer"))

    async def ask(self, request: bytes) -> Answer:
        """The answer to `request`. Raises OSError."""
        if self.closed:
            raise ConnectionResetError("closed")
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting

    def close(self) -> None:
        """Hang up."""
        self.transport.close()


async def connect(port: int) -> Connection:
    """A new connection to this host."""
    made = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return made[1]


class Pool:
    """Connections that are used again, as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: list[Connection] = []

    async def ask(self, request: bytes) -> Answer:
        """The answer to `request` on some connection. Raises OSError."""
        while self.free:
            connection = self.free.pop()
            if not connection.closed:
                break
        else:
            connection = await connect(self.port)
        answer = await connection.ask(request)
        if answer.closes:
            connection.close()
        else:
            self.free.append(connection)
        return answer

    def close(self) -> None:
        """Hang up all that are free."""
        for connection in self.free:
            connection.close()
        self.free.clear()


@dataclass
class Probes:
    """What probes have seen: the seconds that each answer took, and what was no 200."""

    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@asynccontextmanager
async def probing(port: int, every_seconds: float, *paths: str) -> AsyncIterator[Probes]:
    """While this lasts, each of `paths` is asked for again and again, on a connection of its own."""
    found, ended = Probes(), asyncio.Event()

    async def probe(path: str) -> None:
        connection = await connect(port)
        while not ended.is_set():
            began = time.perf_counter()
            try:
                async with asyncio.timeout(MOST_SECONDS):
                    answer = await connection.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            except OSError as error:  # or TimeoutError
                found.failed.append(f"{path}: {error!r}")
                break
            found.took.append(time.perf_counter() - began)
            if answer.status != 200:
                found.failed.append(f"{path}: {answer.status}")
            await asyncio.sleep(every_seconds)
        connection.close()

    asking = [asyncio.create_task(probe(path)) for path in paths]
    try:
        yield found
    finally:
        ended.set()
        await asyncio.gather(*asking)


def quantile(values: list[float], share: float) -> float:
    """The smallest of `values` that `share` of them do not exceed, in milliseconds; of none, more than any limit."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1e3 if values else math.inf
