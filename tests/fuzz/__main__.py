"""python -m tests.fuzz CASES [SEED]: mutated bodies and headers, one after another, into the app in this process.

Every answer must be a 2xx or a 4xx problem document, take little CPU time, and leave the memory as it was.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI
from starlette.types import Message

from service.app import create_app
from service.settings import Settings
from tests.fuzz.mutations import mutated, seeds
from tests.service.carriers import Body

SLOWEST_SECONDS = 5.0  # of CPU time, whatever else the machine does
WARM_SHARE = 0.2  # of the cases, after which the memory may not grow
MOST_GROWTH = 16 * 2**20  # bytes


@dataclass
class Report:
    """What a run came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds of CPU time
    growth: int = 0  # bytes


@asynccontextmanager
async def started() -> AsyncIterator[FastAPI]:
    """The app on the CPU."""
    app = create_app(Settings(device="cpu", threads=2))
    async with app.router.lifespan_context(app):
        yield app


async def ask(app: FastAPI, body: Body) -> tuple[int, str, bytes]:
    """The status, media type and content that `body` is answered with."""
    headers = [(name.lower().encode(), value.encode("utf-8")) for name, value in body.headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": body.path,
        "raw_path": body.path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "state": {},
    }
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body.content, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    answered = dict(messages[0]["headers"])
    content = b"".join(message.get("body", b"") for message in messages[1:])
    return messages[0]["status"], str(answered.get(b"content-type", b""), "latin-1"), content


def wrong(body: Body, status: int, kind: str, content: bytes) -> str:
    """What is wrong with an answer, or ""."""
    if 200 <= status < 300:
        return ""
    if not 400 <= status < 500:
        return f"status {status}"
    if kind != ("application/json" if body.path.startswith("/v2") else "application/problem+json"):
        return f"a {status} of type {kind}"
    problem = json.loads(content)
    if problem["status"] != status or problem["error"] != problem["detail"] or len(content) > 8192:
        return f"a {status} with {content[:200]!r}"
    return ""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def run(cases: int, seed: int) -> Report:
    """Ask `cases` times; the same seed asks the same."""
    rng, report, bodies = random.Random(seed), Report(), seeds(seed)
    async with started() as app:
        warm = 0
        for case in range(cases):
            if case == int(cases * WARM_SHARE):
                warm = resident()
            body = mutated(bodies, rng)
            began = time.process_time()
            answer = await ask(app, body)
            report.slowest = max(report.slowest, time.process_time() - began)
            report.statuses[answer[0]] += 1
            said = wrong(body, *answer)
            if said:
                report.failures.append(f"case {case}: {said}: {body}"[:2000])
        report.growth = resident() - warm
    return report


def main() -> None:
    """Run, print and judge."""
    cases = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(f"fuzz: {cases} cases, seed {seed}", flush=True)
    report = asyncio.run(run(cases, seed))
    print(*report.failures[:20], sep="\n")
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(report.statuses.items()))
    growth = f"memory grew by {report.growth / 2**20:.1f} MiB after the first {WARM_SHARE:.0%}"
    print(f"answers {counts}; slowest {report.slowest * 1e3:.0f} ms of CPU time; {growth}")
    sys.exit(bool(report.failures) or report.slowest > SLOWEST_SECONDS or report.growth > MOST_GROWTH)


if __name__ == "__main__":
    main()
