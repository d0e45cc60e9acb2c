"""A TCP proxy that does to connections what networks do: delays, trickles, other pieces, cuts and resets."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

LINGER_NONE = struct.pack("ii", 1, 0)  # a close is a reset


@dataclass(frozen=True)
class Chaos:
    """What happens to the bytes of each direction. Where a connection ends after some bytes of one, both end."""

    delay_seconds: float = 0.0  # at most, before a piece
    piece_bytes: int = 0  # at most; 0 leaves pieces as they come
    bytes_per_second: float = 0.0  # 0: as fast as they come
    cut_up_bytes: int | None = None  # of the client's, before the end
    cut_down_bytes: int | None = None  # of the server's, before the end
    reset: bool = False  # the end is a reset
    seed: int = 0


class _Connection:
    """One client's connection and its other half."""

    def __init__(self, chaos: Chaos, seed: int) -> None:
        self.chaos, self.random = chaos, random.Random(seed)

    async def run(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side ends."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        for one in (writer, far_writer):
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = [
            asyncio.create_task(self._carry(reader, far_writer, self.chaos.cut_up_bytes)),
            asyncio.create_task(self._carry(far_reader, writer, self.chaos.cut_down_bytes)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, far_writer):
                if self.chaos.reset:
                    one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
                one.close()
            for one in (writer, far_writer):
                with suppress(OSError):
                    await one.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
        carried = 0
        with suppress(OSError):
            while piece := await reader.read(self._size()):
                if most is not None:
                    piece = piece[: most - carried]
                if self.chaos.delay_seconds:
                    await asyncio.sleep(self.random.uniform(0, self.chaos.delay_seconds))
                if self.chaos.bytes_per_second:
                    await asyncio.sleep(len(piece) / self.chaos.bytes_per_second)
                writer.write(piece)
                await writer.drain()
                carried += len(piece)
                if carried == most:
                    return

    def _size(self) -> int:
        return self.random.randint(1, self.chaos.piece_bytes) if self.chaos.piece_bytes else 2**16


@contextmanager
def proxied(address: str, chaos: Chaos) -> Iterator[str]:
    """The address of a proxy before `address`."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    seeds, found = random.Random(chaos.seed), [0]
    stop = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await _Connection(chaos, seeds.randrange(2**32)).run(int(address.split(":")[1]), reader, writer)

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        found[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close at the end of a turn

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield f"127.0.0.1:{found[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
