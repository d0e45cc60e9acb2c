"""python -m tests.soak.memory [REQUESTS] [SEED]: what mixed requests, and refused ones, leave in memory.

First two hundred of each class of refused request, of which the first hundred warm up what the allocator keeps for
them. All must have the status of their class. Then the mix: every loss in every form, one request in a hundred of about
a megabyte, one in twenty broken, and all answered. Memory is the server's resident set, after it has had a moment to
give back. It has no more files open at the end than at first.
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
PER_CLASS = 100
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


def refusals(seed: int) -> dict[str, tuple[bytes, int]]:
    """Classes of requests that are refused, and with which status."""
    good = seeds(seed)[0]
    path, text = good.path.encode(), good.content
    chunked = (
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    )
    return {
        "broken JSON": (raw(Body(good.path, text[:-1], good.headers)), 400),
        "deep": (raw(Body(good.path, b"[" * 60_000, good.headers)), 400),
        "too large a number": (raw(Body(good.path, b'{"probabilities": [1e999], "targets": [1]}', good.headers)), 400),
        "invalid": (raw(Body(good.path, b'{"probabilities": [7], "targets": [1]}', good.headers)), 422),
        "no such path": (b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % (b"x" * 4000), 404),
        "too large": (chunked.replace(b"Transfer-Encoding: chunked", b"Content-Length: 99999999999"), 413),
        "long head": (b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"x" * 200_000), 431),
        "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"X: y\r\n" * 20_000), 431),
        "long URL": (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 100_000), 414),
        "broken chunks": (chunked + b"zz\r\n", 400),
        "garbage": (bytes(range(256)) * 32, 400),
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
    """Send a hundred of each class; whether each left little, and all were refused as they must be."""
    fine, before = True, await rested(process)
    for name, (sent, expected) in refusals(seed).items():
        for warm in (False, True):
            statuses = Counter[int]()
            for _ in range(PER_CLASS):
                pool = Pool(port)
                try:
                    statuses[(await pool.ask(sent)).status] += 1
                except OSError:
                    statuses[0] += 1  # closed without an answer
                pool.close()
            after = await rested(process)
            grown, before = after - before, after
            good = statuses == {expected: PER_CLASS} and (grown <= MOST_PER_CLASS or not warm)
            fine = fine and good
            said = "" if good else f": not {expected} and at most {MOST_PER_CLASS / MIB:.0f} MiB"
            print(f"{name}: {dict(statuses)}, {grown / MIB:+.2f} MiB{said}", flush=True)
    return fine


async def mix(port: int, process: int, requests: int, seed: int) -> bool:
    """Send the mix; whether memory stays where it was, and everything is answered."""
    rng = random.Random(seed)
    small, big = seeds(seed), large(np.random.default_rng(seed))
    bodies = [raw(body) for body in small], [raw(body) for body in big]
    pool, statuses, left = Pool(port), Counter[int](), requests

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
                statuses[0] += 1  # closed without an answer

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
    print(f"answers {dict(sorted(statuses.items()))} in {took:.0f} s; drift {drift:+.1%}", flush=True)
    pool.close()
    return drift <= MOST_DRIFT and all(200 <= status < 500 for status in statuses)


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
            files = descriptors(process.pid)
            fine = await refuse(port, process.pid, seed)
            fine = await mix(port, process.pid, requests, seed) and fine
            await rested(process.pid)
            left = descriptors(process.pid)
            print(f"{files} files are open at first, {left} at the end")
            return fine and left <= files

        sys.exit(not uvloop.run(both()))


if __name__ == "__main__":
    main()
