"""A closed loop of requests: so many connections, each with its next request as soon as it has its answer."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop


@dataclass(frozen=True)
class Window:
    """What one window of time came to."""

    requests: int
    seconds: float
    cpu: float  # seconds of the server

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of the server's CPU for each request."""
        return self.cpu * 1e3 / self.requests

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Client(asyncio.Protocol):
    """One connection that asks until `deadline`."""

    def __init__(self, request: bytes, is_right: Callable[[bytes], bool], least: int, deadline: float) -> None:
        self.request, self.is_right, self.least, self.deadline = request, is_right, least, deadline
        self.answered, self.received = 0, bytearray()
        self.body = b""  # of the first answer, which all others must equal
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Ask the first time."""
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        try:
            self._take(data)
        except Exception as error:
            self._end(error)

    def _take(self, data: bytes) -> None:
        """When the answer is whole, check it and ask again."""
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.received[:end]).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self.received) < end + 4 + length:
            return
        body = bytes(self.received[end + 4 :])
        self.received.clear()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{head!r} {body[:500]!r}")
        if body != self.body and (self.body or not self.is_right(body)):
            raise RuntimeError(f"a wrong answer: {body[:500]!r}")
        self.body = body
        self.answered += 1
        if self.answered >= self.least and time.perf_counter() >= self.deadline:
            self._end(None)
        else:
            self.transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        """The server hung up."""
        self._end(error or RuntimeError("the connection was closed"))

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self.transport.close()


def cpu_seconds(pid: int) -> float:
    """What a process has used, its threads with it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def window(
    port: int, pid: int, request: bytes, is_right: Callable[[bytes], bool], connections: int, seconds: float, least: int
) -> Window:
    """Ask for `seconds`, and at least `least` times on each connection."""

    async def ask() -> Window:
        loop = asyncio.get_running_loop()
        before, began = cpu_seconds(pid), time.perf_counter()
        clients = [Client(request, is_right, least, began + seconds) for _ in range(connections)]
        for client in clients:
            await loop.create_connection(lambda made=client: made, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*(client.done for client in clients))
        took = time.perf_counter() - began
        return Window(sum(client.answered for client in clients), took, cpu_seconds(pid) - before)

    return uvloop.run(ask())
