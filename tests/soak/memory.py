"""python -m tests.soak.memory [REQUESTS] [SEED]: what mixed requests, and refused ones, leave in memory.

First hundreds of each class of refused request, then the mix: every loss in every form, one request in a hundred of
about a megabyte, one in twenty broken. Memory is the server's resident set, after it has had a moment to give back; the
allocator takes and gives back a few MiB at a time, so that a hundred is what several have left on average.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from tests.fuzz.mutations import mutated, seeds
from tests.service.carriers import Body, carry
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import Pool

MIB = 2**20
CLIENTS = 8
PER_CLASS, HUNDREDS = 100, 5
MOST_PER_CLASS = MIB  # bytes that a hundred of a class may leave
WARM_SHARE = 0.2  # of the mix, after which memory is compared
MOST_DRIFT = 0.02
REST_SECONDS = 3.0


def raw(body: Body) -> bytes:
    """The bytes of a request."""
    headers = {"Host": "localhost", **body.headers, "Content-Length": str(len(body.content))}
    lines = [f"POST {body.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body.content


def large(rng: np.random.Generator) -> list[Body]:
    """Batches of a megabyte, more or less, in bytes."""
    found = []
    for rows in (100, 256, 500):
        arrays: dict[str, Any] = {
            "logits": rng.standard_normal((rows, 1000), np.float32),
            "targets": rng.integers(0, 1000, rows),
        }
        found += [carry(form, "cross_entropy", arrays, {}, "float32") for form in ("safetensors", "oip binary")]
    return found


def refusals(seed: int) -> dict[str, tuple[int, bytes]]:
    """Classes of requests that are refused, with the status of each."""
    good = seeds(seed)[0]
    path, text = good.path.encode(), good.content
    chunked = (
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    )
    return {
        "broken JSON": (400, raw(Body(good.path, text[:-1], good.headers))),
        "deep": (400, raw(Body(good.path, b"[" * 60_000, good.headers))),
        "invalid": (400, raw(Body(good.path, b'{"logits": [[1e999]], "targets": [7]}', good.headers))),
        "no such path": (404, b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % (b"x" * 4000)),
        "too large": (413, chunked.replace(b"Transfer-Encoding: chunked", b"Content-Length: 99999999999")),
        "long head": (431, b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"x" * 200_000)),
        "many headers": (431, b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"X: y\r\n" * 20_000)),
        "long URL": (414, b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 100_000)),
        "broken chunks": (400, chunked + b"zz\r\n"),
        "garbage": (400, bytes(range(256)) * 32),
    }


def resident(process: int) -> int:
    """Bytes of a process in memory."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Rss:"))


def descriptors(process: int) -> int:
    """The open files of a process."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


async def rested(process: int) -> int:
    """Its memory after a moment."""
    await asyncio.sleep(REST_SECONDS)
    return resident(process)


async def refuse(port: int, process: int, seed: int) -> bool:
    """Send hundreds of each class; whether each had its status and left little."""
    fine = True
    for hundreds in (1, HUNDREDS):  # the first round warms up
        for name, (status, sent) in refusals(seed).items():
            before, statuses = await rested(process), Counter[int]()
            for _ in range(hundreds * PER_CLASS):
                pool = Pool(port)
                try:
                    statuses[(await pool.ask(sent)).status] += 1
                except OSError:
                    statuses[0] += 1  # closed without an answer
                pool.close()
            grown = (await rested(process) - before) / hundreds
            print(f"{name}: {dict(statuses)}, {grown / MIB:+.2f} MiB a hundred", flush=True)
            fine = fine and statuses.keys() == {status} and (grown <= MOST_PER_CLASS or hundreds == 1)
    return fine


async def mix(port: int, process: int, requests: int, seed: int) -> bool:
    """Send the mix; whether memory stays where it was."""
    rng = random.Random(seed)
    small, big = seeds(seed), large(np.random.default_rng(seed))
    bodies = [raw(body) for body in small], [raw(body) for body in big]
    pool, statuses, left, files = Pool(port), Counter[int](), requests, descriptors(process)

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            chance = rng.random()
            if chance < 0.01:
                sent = rng.choice(bodies[1])
            elif chance < 0.06:
                sent = raw(mutated(small, rng))
            else:
                sent = rng.choice(bodies[0])
            try:
                statuses[(await pool.ask(sent)).status] += 1
            except OSError:
                statuses[0] += 1

    async def until(remaining: int) -> None:
        nonlocal left
        left -= remaining
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        left = remaining

    parts, began = 5, time.perf_counter()
    warm, looks = 0, []
    for part in range(parts):
        await until(requests - requests * (part + 1) // parts)
        looks.append(await rested(process))
        warm = warm or looks[0]
        print(f"{requests * (part + 1) // parts} requests: {looks[-1] / MIB:.1f} MiB", flush=True)
    drift = looks[-1] / warm - 1
    took = time.perf_counter() - began
    pool.close()
    await asyncio.sleep(REST_SECONDS)
    more = descriptors(process) - files
    print(f"answers {dict(sorted(statuses.items()))} in {took:.0f} s; drift {drift:+.1%}; {more:+d} files")
    return drift <= MOST_DRIFT and more <= 0 and not any(status == 0 or status >= 500 for status in statuses)


def main() -> None:
    """Start the service and ask."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(f"memory: {requests} requests, seed {seed}", flush=True)
    port = free_port()
    with started("serve", PORT=str(port), LOG_LEVEL="error") as process:
        wait_until_ready(process, port)
        idle = resident(process.pid)
        print(f"idle {idle / MIB:.0f} MiB", flush=True)

        async def both() -> bool:
            little = await refuse(port, process.pid, seed)
            return await mix(port, process.pid, requests, seed) and little

        sys.exit(not uvloop.run(both()))


if __name__ == "__main__":
    main()
