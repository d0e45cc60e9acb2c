"""python -m tests.soak.slow [CLIENTS]: slow clients by the hundred, while good ones go on.

A quarter each: says nothing; sends its head a byte at a time; stops in the middle of its body; sends its body a byte
at a time. All must be closed within ten seconds, with a 408 or without a word, and the good ones hardly notice.

The service has SETTINGS, since a deadline of ten seconds, the default, ends a moment after them. Fewer than a thousand
clients, where a pause of the machine would weigh much, have twice the time, and how fast the good ones are is not
judged.
"""

import asyncio
import sys
import time
from collections import Counter

import uvloop

from tests.service.conftest import GOOD
from tests.service.raw import request
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import Pool, quantile

WITHIN_SECONDS = 10.0
SETTINGS = {"HEAD_SECONDS": "9", "BODY_SECONDS": "9"}
TIMES_AS_SLOW = 1.5
JUDGED_CLIENTS = 1000
PER_SECOND = 500  # that connect: more at once would overflow the backlog, and wait for the kernel
HEAD, _, BODY = request(GOOD).partition(b"\r\n\r\n")
KINDS = {
    "silent": (b"", b""),
    "slow head": (HEAD[:5], HEAD[5:]),
    "stopped body": (HEAD + b"\r\n\r\n" + BODY[:5], b""),
    "slow body": (HEAD + b"\r\n\r\n" + BODY[:5], BODY[5:]),
}


async def slow(port: int, number: int, kind: str, lasted: list[float], ends: Counter[str]) -> None:
    """One slow client, until it is closed: how long it lasted, and how it ended."""
    at_once, by_bytes = KINDS[kind]
    await asyncio.sleep(number / PER_SECOND)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(at_once)

    async def drip() -> None:
        for byte in by_bytes:
            await asyncio.sleep(1.0)
            writer.write(bytes([byte]))

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(5 * WITHIN_SECONDS):
            said = await reader.read()  # an answer perhaps, and the end
        ends["closed" if not said else "408" if said.startswith(b"HTTP/1.1 408 ") else repr(said[:200])] += 1
    except TimeoutError:
        ends["still open"] += 1
    except OSError:
        ends["closed"] += 1
    lasted.append(time.perf_counter() - began)
    dripping.cancel()
    writer.close()


async def good(port: int, seconds: float, took: list[float]) -> None:
    """A good client."""
    pool, sent, end = Pool(port), request(GOOD), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        answer = await pool.ask(sent)
        assert answer.status == 200, answer
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
    pool.close()


async def run(port: int, clients: int) -> bool:
    """Load, print, judge."""
    await good(port, 2, [])
    alone: list[float] = []
    beside: list[float] = []
    await good(port, WITHIN_SECONDS, alone)
    lasted: dict[str, list[float]] = {kind: [] for kind in KINDS}
    ends = {kind: Counter[str]() for kind in KINDS}
    kinds = list(KINDS) * -(-clients // len(KINDS))
    asking = asyncio.create_task(good(port, WITHIN_SECONDS, beside))
    slowly = (slow(port, number, kind, lasted[kind], ends[kind]) for number, kind in enumerate(kinds[:clients]))
    await asyncio.gather(*slowly)
    await asking
    for kind, seconds in lasted.items():
        print(f"{kind}: {len(seconds)}, {dict(ends[kind])} after {min(seconds):.2f} to {max(seconds):.2f} s")
    ratio = quantile(beside, 0.99) / quantile(alone, 0.99)
    medians = f"p50 {quantile(alone, 0.5):.2f} and {quantile(beside, 0.5):.2f} ms"
    print(f"good clients alone and beside them: {medians}; p99 {quantile(alone, 0.99):.2f} and", end=" ")
    print(f"{quantile(beside, 0.99):.2f} ms, {ratio:.2f} times")
    longest = max(max(seconds) for seconds in lasted.values())
    if not all(found.keys() <= {"closed", "408"} for found in ends.values()):
        return False
    if clients < JUDGED_CLIENTS:
        return longest <= 2 * WITHIN_SECONDS
    return longest <= WITHIN_SECONDS and ratio <= TIMES_AS_SLOW


def main() -> None:
    """Start the service and be slow."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"slow: {clients} clients, {SETTINGS}", flush=True)
    port = free_port()
    with started("serve", PORT=str(port), LOG_LEVEL="error", **SETTINGS) as process:
        wait_until_ready(process, port)
        sys.exit(not uvloop.run(run(port, clients)))


if __name__ == "__main__":
    main()
