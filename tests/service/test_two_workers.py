"""Two workers: who connected before the end is answered, and one of them that has no memory left is none the worse."""

import json
import resource
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.conftest import GOOD
from tests.service.raw import LOSSES, connected, loss, request
from tests.service.test_admission import kl_div, refused
from tests.service.test_server import ended, free_port, started, wait_until_ready
from tests.service.test_workers import children, until_both

KL_DIV = "/v1/losses/kl_div"
SIDE = 5000  # of a batch whose results take 100 MB
LEFT = 2**26  # bytes that a worker may still take


def test_who_connected_before_the_end_is_answered() -> None:
    port = free_port()
    with started(PORT=str(port), WORKERS="2", DRAIN_SECONDS="3", LOG_LEVEL="warning") as process:
        wait_until_ready(process, port)
        until_both(port)
        with ExitStack() as stack:
            wires = [stack.enter_context(connected(f"127.0.0.1:{port}")) for _ in range(16)]
            process.terminate()
            time.sleep(0.2)
            for wire in wires:
                wire.send(request())
            assert [loss(wire.read()) for wire in wires] == [LOSSES[GOOD]] * 16
        assert ended(process) == (0, [])


def data_bytes(process: int) -> int:
    """What counts against a process's RLIMIT_DATA."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts all that a process maps")
def test_a_worker_without_memory_refuses_and_goes_on() -> None:
    port = free_port()
    with started(PORT=str(port), WORKERS="2", LOG_LEVEL="warning") as process:
        wait_until_ready(process, port)
        until_both(port)
        workers = children(process.pid)
        assert len(workers) == 2
        limit = data_bytes(workers[0]) + LEFT
        resource.prlimit(workers[0], resource.RLIMIT_DATA, (limit, limit))
        seen = set()
        for turn in range(200):
            with connected(f"127.0.0.1:{port}") as wire:
                wire.send(request(kl_div(SIDE, SIDE), path=KL_DIV))
                answer = wire.read()
            seen.add(answer[0])
            if answer[0] == 200:
                assert json.loads(answer[2])["totals"]["count"] == SIDE * SIDE
            else:
                assert "memory" in refused(answer, "unavailable")["detail"]
            if turn >= 5 and len(seen) == 2:
                break
        assert seen == {200, 503}
        for _ in range(20):
            with connected(f"127.0.0.1:{port}") as wire:
                wire.send(request())
                assert loss(wire.read()) == LOSSES[GOOD]
        until_both(port)
        assert children(process.pid) == workers
        process.terminate()
        assert ended(process)[0] == 0
