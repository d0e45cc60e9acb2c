"""python -m tests.soak.stalls [ROUNDS]: how long a probe waits while large bodies are received, read and answered."""

import asyncio
import json
import sys
import time
from typing import Any

import numpy as np
import uvloop

from tests.service.carriers import Body, carry
from tests.service.raw import connected
from tests.service.test_server import free_port, started, wait_until_ready
from tests.soak.client import probing, quantile
from tests.soak.memory import raw

EVERY_SECONDS = 0.005
PROBES_PER_SECOND = 10  # at least


def bodies() -> dict[str, tuple[bytes, float, float]]:
    """Large requests, the share of probes that is judged, and the milliseconds that they may take."""
    rng = np.random.default_rng(1)
    made = {}
    for name, rows, most in (("JSON, 20 MB", 1024, (0.999, 50)), ("JSON at the limit", 1600, (1, 100))):
        logits, targets = rng.standard_normal((rows, 1000)), rng.integers(0, 1000, rows)
        text = json.dumps({"logits": logits.tolist(), "targets": targets.tolist()}).encode()
        made[name] = (raw(Body("/v1/losses/cross_entropy", text, {"Content-Type": "application/json"})), *most)
    digits = json.dumps(rng.integers(0, 10, (8000, 1900)).tolist(), separators=(",", ":")).encode()
    text = b'{"logits":' + digits + b',"targets":' + json.dumps([1] * 8000).encode() + b',"per_sample":false}'
    made["JSON of one-digit integers, at the limit"] = (
        raw(Body("/v1/losses/cross_entropy", text, {"Content-Type": "application/json"})),
        1,
        100,
    )
    for rows in (1000, 100_000):
        arrays: dict[str, Any] = {"logits": rng.standard_normal((rows, 1000), np.float32)}
        arrays["targets"] = rng.integers(0, 1000, rows)
        body = carry("safetensors", "cross_entropy", arrays, {}, "float32")
        made[f"binary, {len(body.content) / 1e6:.0f} MB"] = (raw(body), 0.999, 20)
    elements = {name: rng.random(3_000_000, np.float32) for name in ("probabilities", "targets")}
    body = carry("lists", "binary_cross_entropy", {n: a[:700_000] for n, a in elements.items()}, {}, "float32")
    made[f"JSON in and out, {len(body.content) / 1e6:.0f} MB"] = (raw(body), 0.999, 50)
    return made


def load(port: int, sent: bytes, rounds: int) -> None:
    """Ask again and again, from a thread that holds nobody up."""
    with connected(f"127.0.0.1:{port}") as wire:
        for _ in range(rounds):
            wire.socket.sendall(sent)
            assert wire.read()[0] == 200


async def run(port: int, rounds: int) -> bool:
    """Load, print, judge."""
    fine = True
    for name, (sent, share, most) in bodies().items():
        began = time.perf_counter()
        async with probing(port, EVERY_SECONDS, "/livez") as live:
            await asyncio.to_thread(load, port, sent, rounds)
        took, seconds = live.took, time.perf_counter() - began
        enough = len(took) >= PROBES_PER_SECOND * seconds
        good = quantile(took, share) <= most and enough and not live.failed
        fine = fine and good
        print(f"{name}: {len(took)} probes in {seconds:.0f} s, p50 {quantile(took, 0.5):.1f}", end=", ")
        print(f"p99 {quantile(took, 0.99):.1f}, slowest {quantile(took, 1):.1f} ms", end="; ")
        print(f"{quantile(took, share):.1f} for {share:.1%}, {'good' if good else 'not good'}: {most} ms", flush=True)
        for said in live.failed[:3]:
            print(said)
    return fine


def main() -> None:
    """Start the service and load it."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    port = free_port()
    with started("serve", PORT=str(port), LOG_LEVEL="error") as process:
        wait_until_ready(process, port)
        sys.exit(not uvloop.run(run(port, rounds)))


if __name__ == "__main__":
    main()
