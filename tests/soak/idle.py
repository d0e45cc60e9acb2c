"""python -m tests.soak.idle [CLIENTS]: ten thousand clients that asked once and keep their connections.

Each must have had its answer, and have it again on the same connection after the others; a new client among them is
answered as ever; an idle connection takes little memory; and once they are gone, so is what they took.
"""

import asyncio
import resource
import sys
import time
from collections import Counter

import uvloop

from tests.service.conftest import GOOD
from tests.service.raw import request
from tests.soak.client import Connection, connect, quantile
from tests.soak.served import Served, started

SPARE = 500  # file descriptors beside those of the clients
PER_SECOND = 500  # that connect: more at once would overflow the backlog, and wait for the kernel
KIB_EACH = 32.0
FEW = 5  # files that may be open by chance
SECONDS = 1.0  # in which a new client is answered, at the latest
SENT = request(GOOD)


async def first(port: int, number: int, ends: Counter[str]) -> Connection:
    """A client connects and asks, in its turn."""
    await asyncio.sleep(number / PER_SECOND)
    connection = await connect(port)
    ends[str((await connection.ask(SENT)).status)] += 1
    return connection


async def again(connection: Connection, number: int, ends: Counter[str]) -> None:
    """It asks once more, in its turn."""
    await asyncio.sleep(number / PER_SECOND)
    ends[str((await connection.ask(SENT)).status)] += 1


async def run(served: Served, clients: int) -> bool:
    """Whether all was as it must be. Raises OSError where a connection does not last."""
    before, files = served.resident(), served.descriptors()
    firsts: Counter[str] = Counter()
    held = await asyncio.gather(*(first(served.port, number, firsts) for number in range(clients)))
    each = (served.resident() - before) / clients / 1024
    open_now = served.descriptors() - files
    took = []
    for _ in range(100):
        began = time.perf_counter()
        other = await connect(served.port)
        assert (await other.ask(SENT)).status == 200
        took.append(time.perf_counter() - began)
        other.close()
    seconds: Counter[str] = Counter()
    await asyncio.gather(*(again(connection, number, seconds) for number, connection in enumerate(held)))
    for connection in held:
        connection.close()
    end = time.perf_counter() + 10
    while served.descriptors() > files + FEW and time.perf_counter() < end:
        await asyncio.sleep(0.1)
    left = served.descriptors() - files
    print(
        f"{clients} clients: {dict(firsts)}, then {dict(seconds)}; {open_now} files open among them, {left} afterwards"
    )
    print(f"{each:.1f} KiB each, good: {KIB_EACH:g}; a new client among them: p99 {quantile(took, 0.99):.1f} ms")
    answered = firsts == seconds == Counter({"200": clients})
    return answered and open_now >= clients - FEW and left <= FEW and each <= KIB_EACH and max(took) <= SECONDS


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + SPARE, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with started() as one:
        sys.exit(not uvloop.run(run(one, wanted)))
