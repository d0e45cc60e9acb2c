"""python -m tests.soak.drain RUNS [SEED]: start the service, load it, end it with SIGTERM under load, again and again.

RUNS have one worker, and as many two. 32 clients in closed loops look at /readyz every 200 ms, and stop when it says
no. No request may fail, the exit code must be 0, and the end come within DRAIN_SECONDS, GRACE_SECONDS and a second.
"""

import random
import sys
import time

from tests.service.clients import clients, until
from tests.service.test_server import ended, free_port, started, wait_until_ready

CLIENTS = 32
FOLLOW_SECONDS = 0.2
DRAIN_SECONDS, GRACE_SECONDS = 5.0, 20.0  # a client that the machine holds up for so long would fail
MOST_SECONDS = DRAIN_SECONDS + GRACE_SECONDS + 1.0
REQUESTS = 1000  # at least, of a run


def run(workers: int, extra_seconds: float) -> tuple[int, float, list[str]]:
    """One start and end: how many requests were answered, the seconds from SIGTERM to the end, and what went wrong."""
    port = free_port()
    settings = {"WORKERS": str(workers), "DRAIN_SECONDS": str(DRAIN_SECONDS), "GRACE_SECONDS": str(GRACE_SECONDS)}
    settings["LOG_LEVEL"] = "error"
    with started(PORT=str(port), **settings) as process:
        wait_until_ready(process, port)
        with clients(port, CLIENTS, FOLLOW_SECONDS) as tally:
            until(lambda: tally.answered >= REQUESTS)
            time.sleep(extra_seconds)  # SIGTERM comes at any moment
            process.terminate()
            began = time.monotonic()
            code, lines = ended(process)
            took = time.monotonic() - began
    wrong = [*tally.failed, *lines]
    if code:
        wrong.append(f"exit code {code}")
    if took > MOST_SECONDS:
        wrong.append(f"the end came after {took:.1f} s")
    if tally.turned_away != CLIENTS:
        wrong.append(f"{CLIENTS - tally.turned_away} clients were not turned away")
    return tally.answered, took, wrong


def main() -> None:
    """Run, and say what it came to."""
    runs = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"drain: {runs} runs with one worker and {runs} with two, seed {seed}", flush=True)
    moments, answered, failures, longest = random.Random(seed), 0, 0, 0.0
    for number in range(2 * runs):
        count, took, wrong = run(1 + number % 2, moments.random())
        answered += count
        longest = max(longest, took)
        failures += len(wrong)
        for line in wrong[:10]:
            print(f"run {number}: {line}", flush=True)
    print(f"{answered} requests answered, {failures} failures; the end came {longest:.1f} s after SIGTERM at most")
    sys.exit(failures > 0 or not answered)


if __name__ == "__main__":
    main()
