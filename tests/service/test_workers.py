"""Several workers that share a port."""

import http.client
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core import cpus
from tests.service.conftest import GOOD, JSON, LOSS
from tests.service.test_server import ask, ended, free_port, started, wait_until_ready

TRIES = 1000  # which only keep a test from hanging


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of two workers."""
    chosen = free_port()
    with started("serve", PORT=str(chosen), WORKERS="2", LOG_LEVEL="warning", THREADS="0") as process:
        wait_until_ready(process, chosen)
        yield chosen


def answered(port: int) -> str:
    """Ask for a loss; the beginning of the request's id, which is one of the process that answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", LOSS, GOOD, JSON)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 200
    return response.headers["X-Request-ID"][:24]


def until_both(port: int) -> Counter[str]:
    """Ask until both workers have answered."""
    seen: Counter[str] = Counter()
    for _ in range(TRIES):
        seen[answered(port)] += 1
        if len(seen) == 2:
            return seen
        time.sleep(0.02)
    raise AssertionError("one worker answers everything")


def count(port: int) -> float:
    text = ask(port, "GET", "/metrics")[1].decode()
    match = re.search(r'^lossmeter_requests_total\{measure="cross_entropy",status="200"\} (\S+)$', text, re.MULTILINE)
    return float(match[1]) if match else 0


def wait_for_count(port: int, expected: float) -> None:
    """An answer is counted once it is sent, which another worker may be asked about first."""
    for _ in range(TRIES):
        if count(port) == expected:
            return
        time.sleep(0.02)
    assert count(port) == expected


def document(port: int, path: str) -> Any:
    status, body = ask(port, "GET", path)
    assert status == 200
    return json.loads(body)


def test_whichever_worker_is_asked_metrics_and_statistics_are_those_of_all(port: int) -> None:
    before = count(port)
    asked = until_both(port).total()
    wait_for_count(port, before + asked)
    for _ in range(20):
        assert count(port) == before + asked
        (stats,) = document(port, "/v2/models/cross_entropy/stats")["model_stats"]
        assert stats["execution_count"] == before + asked
        assert stats["inference_stats"]["success"]["count"] == before + asked
        assert stats["last_inference"] > time.time() * 1000 - 600_000


def test_threads_are_divided(port: int) -> None:
    found = document(port, "/v1/info")
    assert (found["workers"], found["threads"]) == (2, max(1, cpus.threads() // 2))


def children(process: int) -> list[int]:
    """The workers of a process; multiprocessing's helper processes are none."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    workers = []
    for one in found:
        with suppress(OSError):  # gone since
            if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes():
                workers.append(int(one))
    return workers


def test_a_worker_that_dies_is_replaced_and_its_counts_stay() -> None:
    chosen = free_port()
    with started("serve", PORT=str(chosen), WORKERS="2", LOG_LEVEL="warning") as process:
        wait_until_ready(process, chosen)
        asked = until_both(chosen).total()
        wait_for_count(chosen, asked)
        first = children(process.pid)
        os.kill(first[0], signal.SIGKILL)
        for _ in range(TRIES):
            now = children(process.pid)
            if len(now) == 2 and first[0] not in now:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("it was not replaced")
        asked += until_both(chosen).total()
        wait_for_count(chosen, asked)
        process.terminate()
        assert ended(process)[0] == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in now)


def test_workers_end_with_the_process_that_started_them() -> None:
    chosen = free_port()
    with started("serve", PORT=str(chosen), WORKERS="2", LOG_LEVEL="warning") as process:
        wait_until_ready(process, chosen)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
        for _ in range(TRIES):
            if not any(Path(f"/proc/{worker}").exists() for worker in workers):
                return
            time.sleep(0.05)
    raise AssertionError("workers are left")


def test_a_taken_port_ends_the_start(port: int) -> None:
    with started("serve", PORT=str(port), WORKERS="2", LOG_LEVEL="warning") as process:
        code, lines = ended(process)
    assert code == 3
    assert sum("address already in use" in line.lower() for line in lines) == 1


def test_workers_that_cannot_start_end_the_start() -> None:
    with started("serve", PORT=str(free_port()), WORKERS="2", LOG_LEVEL="warning", DEVICE="cuda") as process:
        code, lines = ended(process)
    assert code == 3
    assert any("DEVICE is cuda, but" in line for line in lines)
    assert not any("Traceback" in line for line in lines)
