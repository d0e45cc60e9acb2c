"""Clients that are more than the process has files for, and those that vanish."""

import os
import signal
import socket
import sys
import time
from contextlib import ExitStack

import pytest

from service.descriptors import LOG_SECONDS, SPARE, Descriptors
from service.listeners import bind
from service.settings import Settings
from tests.service.conftest import GOOD
from tests.service.raw import LOSSES, Wire, connected, loss, request
from tests.service.test_server import ended, free_port, started, wait_until_ready
from tests.service.wires import HANG_SECONDS

FILES = 64
SCRIPT = (
    f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}));"
    " import service.command as command; command.main([])"
)


def unanswered(address: str) -> bool:
    """Whether a new connection is closed without an answer."""
    try:
        with connected(address) as wire:
            wire.send(request(GOOD))
            return wire.file.readline() == b""
    except OSError:
        return True


def test_more_connections_than_files_are_refused_and_those_there_served() -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with started(program=("-c", SCRIPT), PORT=str(port), LOG_LEVEL="warning") as process, ExitStack() as stack:
        wait_until_ready(process, port)
        old = stack.enter_context(connected(address))
        for _ in range(3):
            wires = [Wire(address) for _ in range(200)]
            assert unanswered(address)
            assert sum(not file.startswith(".") for file in os.listdir(f"/proc/{process.pid}/fd")) <= FILES - SPARE
            old.send(request(GOOD))
            assert loss(old.read()) == LOSSES[GOOD]
            for wire in wires:
                wire.file.close()
                wire.socket.close()
            until = time.monotonic() + HANG_SECONDS
            while unanswered(address):
                assert time.monotonic() < until
                time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        code, lines = ended(process)
    assert code == 0
    warnings = [line for line in lines if "new connections are closed" in line]
    assert len(warnings) == len(lines) <= 2  # of many closed
    assert f"{FILES} files" in warnings[0]


def test_the_files_that_are_spared_are_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("service.descriptors.time.monotonic", lambda: now[0])
    monkeypatch.setattr("service.descriptors.resource.getrlimit", lambda _: (1000, 1000))
    warned: list[float] = []
    monkeypatch.setattr("service.descriptors.log.warning", lambda *_: warned.append(now[0]))
    descriptors = Descriptors()
    assert descriptors.take(1000 - SPARE - 1)
    for step in range(5):
        now[0] = 100 + step * LOG_SECONDS / 2
        assert not descriptors.take(1000 - SPARE)
    assert warned == [100, 100 + LOG_SECONDS, 100 + 2 * LOG_SECONDS]
    monkeypatch.setattr("service.descriptors.resource.getrlimit", lambda _: (-1, -1))  # no limit
    assert descriptors.take(10**6)


@pytest.mark.skipif(sys.platform != "linux", reason="only there sockets inherit these")
def test_the_kernel_watches_accepted_connections() -> None:
    (listener,) = bind(Settings(port=0, send_seconds=1.5))
    with listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1500
