"""python -m tests.soak.peaks: the most memory that large bodies take, each kind in a service of its own."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from tests.service.carriers import carry
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import connect
from tests.soak.memory import MIB, raw
from tests.soak.stalls import bodies

IDLE_BYTES = 150 * MIB
BLOCKS_BYTES = 16 * MIB  # in work on two threads, with their results
UPLOADS, LET_IN, ROWS = 8, 3, 25_000


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
    sys.exit(not fine)


if __name__ == "__main__":
    main()
