"""python -m tests.soak.overload [SECONDS] [SEED]: five times what the service can do, and what becomes of it.

The server has one core and the driver the other. Small bodies mean much work (kl_div of a column and a row, a report of
many groups), since a driver in Python could not offer so many trivial ones. Open loop: a request is sent when its time
has come, whether the ones before it have been answered or not.

QUEUE_SECONDS, unless it is set, is 0.05 and not the default of half a second: an accepted request may wait so long for
its thread, and is to take no more than twice its time without load. In fewer than JUDGED_SECONDS, where a pause of the
machine would weigh much, only what was answered is judged, and not how fast.
"""

import asyncio
import json
import math
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

from tests.service.raw import request
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import Answer, Pool, Probes, probing, quantile

TIMES = 5.0  # of the capacity
SHARE_OF_GOODPUT = 0.9
LIVENESS_SECONDS = 0.1
REJECTED_SECONDS = 0.02
TIMES_AS_SLOW = 2.0
RECOVERY_SECONDS = 5.0
PROBES_PER_SECOND = 5  # at least
JUDGED_SECONDS = 60.0
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


def report(groups: int, size: int) -> bytes:
    """A request of a few kilobytes for the report of so many groups of `size` samples."""
    body = {
        "logits": [0.5, -0.5] * (groups * size // 2),
        "targets": [0, 1, 1, 1] * (groups * size // 4),
        "groups": [*range(groups)] * size,
    }
    return request(json.dumps(body, separators=(",", ":")).encode(), path="/v1/reports/binary")


BODIES = (*(work(*shape) for shape in SHAPES), report(20, 20))


@dataclass
class Seen:
    """What came back: how many of each status, the seconds that each took, and what should not be.

    `sending` and `seconds` are the times from the beginning until the last was to be sent, and was answered.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sending: float = 0.0
    seconds: float = 0.0

    @property
    def goodput(self) -> float:
        """Accepted requests a second."""
        return len(self.accepted) / self.seconds

    def note(self, answer: Answer, seconds: float) -> None:
        """Count an answer."""
        self.statuses[answer.status] += 1
        (self.accepted if answer.status == 200 else self.rejected).append(seconds)
        if answer.status == 503 and b"\r\nretry-after: " not in answer.head.lower():
            self.wrong.append("a 503 without Retry-After")
        elif answer.status not in (200, 503):
            self.wrong.append(f"a {answer.status}: {answer.body[:200]!r}")


async def closed_loop(port: int, clients: int, seconds: float, seed: int) -> Seen:
    """So many clients, each of which asks again as soon as it is answered."""
    seen, pool, start = Seen(), Pool(port), time.perf_counter()

    async def client(number: int) -> None:
        rng = random.Random(seed + number)
        while time.perf_counter() < start + seconds:
            began = time.perf_counter()
            seen.note(await pool.ask(rng.choice(BODIES)), time.perf_counter() - began)

    await asyncio.gather(*(client(number) for number in range(clients)))
    seen.sending, seen.seconds = seconds, time.perf_counter() - start
    pool.close()
    return seen


async def open_loop(port: int, rate: float, seconds: float, seed: int) -> Seen:
    """`rate` requests a second, at random moments."""
    seen, pool, rng = Seen(), Pool(port), random.Random(seed)
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
        task = asyncio.create_task(one(rng.choice(BODIES)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += rng.expovariate(rate)
    seen.sending = time.perf_counter() - began
    await asyncio.gather(*tasks)
    seen.seconds = time.perf_counter() - began
    pool.close()
    return seen


async def recovery(port: int, seed: int) -> float:
    """Seconds until a client is answered with nothing but 200 again."""
    began = time.perf_counter()
    while (took := time.perf_counter() - began) <= RECOVERY_SECONDS:
        if (await closed_loop(port, 1, 0.5, seed)).statuses.keys() == {200}:
            return took
    return math.inf


def judge(unloaded: Seen, peak: float, over: Seen, live: Probes, recovered: float) -> list[str]:
    """What is not as it must be."""
    found = [*over.wrong[:3], *live.failed[:3]]
    if over.statuses.keys() != {200, 503}:
        found.append(f"no overload: {dict(over.statuses)}")
    if len(live.took) < PROBES_PER_SECOND * over.seconds:
        found.append(f"{len(live.took)} probes in {over.seconds:.0f} s")
    if recovered > RECOVERY_SECONDS:
        found.append("not normal again")
    if over.sending < JUDGED_SECONDS:
        return found
    if over.goodput < SHARE_OF_GOODPUT * peak:
        found.append("too little goodput")
    for name, values, share, most in (
        ("accepted requests", over.accepted, 0.99, TIMES_AS_SLOW * quantile(unloaded.accepted, 0.99)),
        ("rejected requests", over.rejected, 0.99, REJECTED_SECONDS * 1e3),
        ("probes", live.took, 1, LIVENESS_SECONDS * 1e3),
    ):
        if quantile(values, share) > most:
            found.append(f"{name} take more than {most:.1f} ms")
    return found


async def run(port: int, seconds: float, seed: int) -> bool:
    """Load, print, judge."""
    await closed_loop(port, 1, 3, seed)
    unloaded = await closed_loop(port, 1, min(10, seconds), seed)
    peak = max([(await closed_loop(port, clients, min(8, seconds), seed)).goodput for clients in (2, 4, 8)])
    async with probing(port, 0.05, "/livez", "/readyz") as live:
        over = await open_loop(port, TIMES * peak, seconds, seed)
    recovered = await recovery(port, seed) + over.seconds - over.sending
    after = await closed_loop(port, 1, 3, seed)
    for name, values in (("unloaded", unloaded.accepted), ("accepted", over.accepted), ("rejected", over.rejected)):
        print(f"{name}: p50 {quantile(values, 0.5):.1f} ms, p99 {quantile(values, 0.99):.1f} ms")
    print(f"peak, closed loop: {peak:.1f}/s; offered for {over.sending:.1f} s: {TIMES * peak:.0f}/s")
    print(f"answers {dict(over.statuses)} in {over.seconds:.1f} s; ", end="")
    print(f"goodput {over.goodput:.1f}/s, {over.goodput / peak:.2f} of the peak")
    print(f"probes: {len(live.took)}, p99 {quantile(live.took, 0.99):.1f} ms, slowest {quantile(live.took, 1):.1f} ms")
    print(f"normal again {recovered:.1f} s after the last was sent: {dict(after.statuses)}, ", end="")
    print(f"p99 {quantile(after.accepted, 0.99):.1f} ms")
    faults = judge(unloaded, peak, over, live, recovered)
    if after.statuses.keys() != {200}:
        faults.append("not normal afterwards")
    for fault in faults:
        print(fault)
    return not faults


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
