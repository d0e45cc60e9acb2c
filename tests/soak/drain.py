"""python -m tests.soak.drain RUNS [SEED]: start the service, load it, end it with SIGTERM under load, again and again.

Runs have one worker and two in turn. 32 clients in closed loops look at /readyz every 200 ms, and stop when it says no.
No request may fail, and the exit code must be 0.
"""

import random
import sys
import time

from tests.service.clients import clients, until
from tests.service.test_server import ended, free_port, started, wait_until_ready

CLIENTS = 32
FOLLOW_SECONDS = 0.2
DRAIN_SECONDS = 1.5
REQUESTS = 1000  # at least, of a run


def run(workers: int, extra_seconds: float) -> tuple[int, list[str]]:
    """One start and end: how many requests were answered, and what went wrong."""
    port = free_port()
    settings = {"WORKERS": str(workers), "DRAIN_SECONDS": str(DRAIN_SECONDS), "LOG_LEVEL": "error"}
    with started(PORT=str(port), **settings) as process:
        wait_until_ready(process, port)
        with clients(port, CLIENTS, FOLLOW_SECONDS) as tally:
            until(lambda: tally.answered >= REQUESTS)
            time.sleep(extra_seconds)  # SIGTERM comes at any moment
            process.terminate()
            code, lines = ended(process)
    wrong = [*tally.failed, *lines]
    if code:
        wrong.append(f"exit code {code}")
    if tally.turned_away != CLIENTS:
        wrong.append(f"{CLIENTS - tally.turned_away} clients were not turned away")
    return tally.answered, wrong


def main() -> None:
    """Run, and say what it came to."""
    runs = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    moments, answered, failures = random.Random(seed), 0, 0
    for number in range(runs):
        count, wrong = run(1 + number % 2, moments.random())
        answered += count
        failures += len(wrong)
        for line in wrong[:10]:
            print(f"run {number}: {line}", flush=True)
    print(f"drain: {runs} runs, seed {seed}: {answered} requests answered, {failures} failures")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
