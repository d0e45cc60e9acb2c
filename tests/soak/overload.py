"""python -m tests.soak.overload [SECONDS] [SEED]: five times what the service can do, and what becomes of it.

The server has one core and the driver the other. Small bodies mean much work (kl_div of a column and a row), since a
driver in Python could not offer so many trivial ones. Open loop: a request is sent when its time has come, whether the
ones before it have been answered or not.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

from tests.service.raw import request
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import Answer, Pool, connect

TIMES = 5.0  # of the capacity
SHARE_OF_GOODPUT = 0.9
LIVENESS_SECONDS = 0.1
RECOVERY_SECONDS = 5.0
SHAPES = ((1000, 4000), (2000, 4000), (2000, 6000))


def work(rows: int, columns: int) -> bytes:
    """A request of a few kilobytes for rows x columns elements."""
    body = {
        "log_probabilities": [[-1.0]] * rows,
        "targets": [[0.5] * columns],
        "reduction": "sum",
        "per_sample": False,
    }
    return request(json.dumps(body, separators=(",", ":")).encode(), path="/v1/losses/kl_div")


@dataclass
class Seen:
    """What came back: how many of each status, the seconds that each took, and what should not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def note(self, answer: Answer, seconds: float) -> None:
        """Count an answer."""
        self.statuses[answer.status] += 1
        (self.accepted if answer.status == 200 else self.rejected).append(seconds)
        if answer.status == 503 and b"\r\nretry-after: " not in answer.head.lower():
            self.wrong.append("a 503 without Retry-After")
        elif answer.status not in (200, 503):
            self.wrong.append(f"a {answer.status}: {answer.body[:200]!r}")


def quantile(values: list[float], share: float) -> float:
    """The smallest of `values` that `share` of them do not exceed, in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1e3 if values else 0.0


async def closed_loop(port: int, clients: int, seconds: float, seed: int) -> Seen:
    """So many clients, each of which asks again as soon as it is answered."""
    seen, pool, end = Seen(), Pool(port), time.perf_counter() + seconds
    bodies = [work(*shape) for shape in SHAPES]

    async def client(number: int) -> None:
        rng = random.Random(seed + number)
        while time.perf_counter() < end:
            began = time.perf_counter()
            seen.note(await pool.ask(rng.choice(bodies)), time.perf_counter() - began)

    await asyncio.gather(*(client(number) for number in range(clients)))
    pool.close()
    return seen


async def open_loop(port: int, rate: float, seconds: float, seed: int) -> Seen:
    """`rate` requests a second, at random moments."""
    seen, pool, rng = Seen(), Pool(port), random.Random(seed)
    bodies = [work(*shape) for shape in SHAPES]
    tasks: set[asyncio.Task[None]] = set()

    async def one(sent: bytes) -> None:
        began = time.perf_counter()
        try:
            seen.note(await pool.ask(sent), time.perf_counter() - began)
        except OSError as error:
            seen.wrong.append(f"no answer: {error!r}")

    due = began = time.perf_counter()
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(rng.choice(bodies)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += rng.expovariate(rate)
    await asyncio.gather(*tasks)
    pool.close()
    return seen


async def probes(port: int, path: str, found: list[float], failed: list[str]) -> None:
    """Ask whether the service lives, every 50 ms on a connection of its own, until cancelled."""
    connection = await connect(port)
    while True:
        began = time.perf_counter()
        answer = await connection.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        found.append(time.perf_counter() - began)
        if answer.status != 200:
            failed.append(f"{path}: {answer.status}")
        await asyncio.sleep(0.05)


async def run(port: int, seconds: float, seed: int) -> bool:
    """Load, print, judge."""
    await closed_loop(port, 1, 3, seed)
    unloaded = await closed_loop(port, 1, 10, seed)
    peaks = [await closed_loop(port, clients, 8, seed) for clients in (2, 3)]
    peak = max(len(seen.accepted) / 8 for seen in peaks)
    live: list[float] = []
    failed: list[str] = []
    asking = [asyncio.create_task(probes(port, path, live, failed)) for path in ("/livez", "/readyz")]
    over = await open_loop(port, TIMES * peak, seconds, seed)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    ended = time.perf_counter()
    while (await closed_loop(port, 1, 0.5, seed)).statuses.keys() != {200}:
        if time.perf_counter() - ended > RECOVERY_SECONDS:
            break
    after = await closed_loop(port, 1, 3, seed)
    goodput = len(over.accepted) / seconds
    print(f"unloaded: p50 {quantile(unloaded.accepted, 0.5):.1f} ms, p99 {quantile(unloaded.accepted, 0.99):.1f} ms")
    print(f"peak, closed loop: {peak:.1f}/s; offered for {seconds:.0f} s: {TIMES * peak:.0f}/s")
    print(f"answers {dict(over.statuses)}; goodput {goodput:.1f}/s, {goodput / peak:.2f} of the peak")
    print(f"accepted: p50 {quantile(over.accepted, 0.5):.1f} ms, p99 {quantile(over.accepted, 0.99):.1f} ms")
    print(f"rejected: p50 {quantile(over.rejected, 0.5):.1f} ms, p99 {quantile(over.rejected, 0.99):.1f} ms")
    print(f"probes: {len(live)}, p99 {quantile(live, 0.99):.1f} ms, slowest {quantile(live, 1):.1f} ms; {failed[:3]}")
    print(f"after: {dict(after.statuses)}, p99 {quantile(after.accepted, 0.99):.1f} ms; wrong {over.wrong[:3]}")
    return (
        not (over.wrong or failed)
        and goodput >= SHARE_OF_GOODPUT * peak
        and quantile(live, 1) <= LIVENESS_SECONDS * 1e3
        and after.statuses.keys() == {200}
    )


def main() -> None:
    """Start the service on one core and load it from another."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    queue = os.environ.get("QUEUE_SECONDS", "0.05")
    print(f"overload: {seconds:.0f} s, QUEUE_SECONDS {queue}, seed {seed}", flush=True)
    port = free_port()
    cores = sorted(os.sched_getaffinity(0))
    with started("serve", PORT=str(port), THREADS="1", LOG_LEVEL="warning", QUEUE_SECONDS=queue) as process:
        wait_until_ready(process, port)
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            os.sched_setaffinity(int(thread), {cores[-1]})
        os.sched_setaffinity(0, {cores[0]})
        good = uvloop.run(run(port, seconds, seed))
    sys.exit(not good)


if __name__ == "__main__":
    main()
