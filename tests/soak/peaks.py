"""python -m tests.soak.peaks: the most memory that large bodies take, each kind in a service of its own; and what is
left of it after batches of many shapes."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from bench.work import Work
from tests.service.carriers import carry
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import connect
from tests.soak.memory import MIB, raw, resident
from tests.soak.stalls import bodies

IDLE_BYTES = 150 * MIB
BLOCKS_BYTES = 16 * MIB  # in work on two threads, with their results
UPLOADS, LET_IN, ROWS = 8, 3, 25_000
BATCHES, MOST_SIDE, SMALL = 60, 4000, 20  # shapes, their rows and classes at most, and small ones before and after
LEFT_SHARE, GIVEN_BACK_SECONDS = 1.2, 10.0  # of the memory before them, after so long at most


def high_water(process: int) -> int:
    """The most bytes that a process has had in memory."""
    text = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM:"))


async def ask(port: int, sent: bytes) -> int:
    """The status of the answer on a connection of its own."""
    connection = await connect(port)
    status = (await connection.ask(sent)).status
    connection.close()
    return status


async def at_once(port: int, sent: bytes, times: int) -> Counter[int]:
    """The statuses of as many requests at once."""
    return Counter(await asyncio.gather(*(ask(port, sent) for _ in range(times))))


def judge(title: str, sent: bytes, times: int, expected: dict[int, int], most: float, **settings: str) -> bool:
    """Send, print, and say whether the statuses are `expected` and no more than `most` bytes were taken over idle."""
    port = free_port()
    with started("serve", PORT=str(port), LOG_LEVEL="error", **settings) as process:
        wait_until_ready(process, port)
        idle = high_water(process.pid)
        statuses = uvloop.run(at_once(port, sent, times))
        taken = high_water(process.pid) - idle
    good = statuses == expected and taken <= most and idle <= IDLE_BYTES
    print(f"{title}: {dict(statuses)}, idle {idle / MIB:.0f} MiB, then {taken / MIB:+.0f} MiB, ", end="")
    print(f"{taken / len(sent):.2f} times a body; {'good' if good else 'over'} {most / MIB:.0f} MiB", flush=True)
    return good


def varied() -> bool:
    """Ask with batches of many shapes, then small ones; print and say whether their memory is given back."""
    rng, port = np.random.default_rng(8), free_port()
    small = [(64, 10)] * SMALL
    shapes = [(int(rows), int(classes)) for rows, classes in rng.integers(1, MOST_SIDE + 1, (BATCHES, 2))]

    async def each(wanted: list[tuple[int, int]]) -> Counter[int]:
        return Counter([await ask(port, Work("binary", *shape, 1, 0).request("service")) for shape in wanted])

    with started("serve", PORT=str(port), LOG_LEVEL="error") as process:
        wait_until_ready(process, port)
        statuses = uvloop.run(each(small))
        base = resident(process.pid)
        statuses += uvloop.run(each(shapes + small))
        ended, peak = time.monotonic(), high_water(process.pid)
        while (left := resident(process.pid)) > LEFT_SHARE * base and time.monotonic() < ended + GIVEN_BACK_SECONDS:
            time.sleep(0.5)
    good = statuses == {200: BATCHES + 2 * SMALL} and left <= LEFT_SHARE * base
    print(f"{BATCHES} shapes up to {MOST_SIDE}x{MOST_SIDE}: {dict(statuses)}", end=", ")
    print(f"{base / MIB:.0f} MiB before them, {peak / MIB:.0f} MiB at most", end=", ")
    print(f"{left / MIB:.0f} MiB {time.monotonic() - ended:.1f} s after", end="; ")
    print(f"{'good' if good else 'not good'}: {LEFT_SHARE * base / MIB:.0f} MiB", flush=True)
    return good


def main() -> None:
    """Ask and judge."""
    rng = np.random.default_rng(1)
    arrays: dict[str, Any] = {"logits": rng.standard_normal((ROWS, 1000), np.float32)}
    arrays["targets"] = rng.integers(0, 1000, ROWS)
    sent = raw(carry("safetensors", "cross_entropy", arrays, {}, "float32"))
    room = str(int((LET_IN + 0.5) * len(sent)))
    limits = {"MAX_INFLIGHT_BYTES": room, "MAX_BODY_BYTES": room, "QUEUE_SECONDS": "60"}
    admitted = 1.1 * LET_IN * len(sent) + BLOCKS_BYTES
    statuses = {200: LET_IN, 503: UPLOADS - LET_IN}
    fine = judge(f"{UPLOADS} bodies at once, room for {LET_IN}", sent, UPLOADS, statuses, admitted, **limits)
    fine &= judge("binary", sent, 1, {200: 1}, 1.1 * len(sent) + BLOCKS_BYTES)
    for name, (text, _, _) in bodies().items():
        if name.startswith("JSON"):
            times = 16 if "one-digit" in name else 8
            fine &= judge(name, text, 1, {200: 1}, times * len(text))
    fine &= varied()
    sys.exit(not fine)


if __name__ == "__main__":
    main()
