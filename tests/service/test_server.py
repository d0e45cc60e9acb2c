"""The real server, in a process of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from tests.service.conftest import GOOD, JSON, LOSS
from tests.service.raw import H2C, LOSSES, connected, loss, request

TRIES = 2000  # which only keep a test from hanging
QUICK = {"DEVICE": "cpu", "THREADS": "1", "DRAIN_SECONDS": "0.2"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(
    *arguments: str, program: Sequence[str] = ("-m", "service"), **settings: str
) -> Iterator[subprocess.Popen[str]]:
    """A process of the service; killed at the end if it still runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSMETER_")}
    environment |= {f"LOSSMETER_{name}": value for name, value in (QUICK | settings).items()}
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers with it
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The exit code and what was written; the limit only keeps a hung test from hanging the rest."""
    text, _ = process.communicate(timeout=90)
    return process.returncode, text.splitlines()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, JSON if body is not None else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    for _ in range(TRIES):
        assert process.poll() is None, process.communicate()
        try:
            if ask(port, "GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("not ready")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that runs for the tests of this module."""
    chosen = free_port()
    with started("serve", PORT=str(chosen)) as process:
        wait_until_ready(process, chosen)
        yield chosen


def test_a_batch_is_answered(port: int) -> None:
    status, body = ask(port, "POST", LOSS, GOOD)
    assert status == 200
    assert json.loads(body)["loss"] == pytest.approx(0.8132616, rel=1e-6)


def test_a_batch_is_answered_beside_an_offer_to_upgrade(port: int) -> None:
    with connected(f"127.0.0.1:{port}") as wire:
        wire.send(request(GOOD, *H2C))
        answer = wire.read()
        assert loss(answer) == LOSSES[GOOD]
        assert "server" not in answer[1]


def test_a_connection_serves_one_request_after_another(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for body, status in ((GOOD, 200), (b"{", 400), (b"{}", 422), (GOOD, 200)):
        connection.request("POST", LOSS, body, JSON)
        response = connection.getresponse()
        assert response.status == status
        response.read()
        connection.request("HEAD", "/v1/losses")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
    connection.close()


def test_a_client_that_hangs_up_in_the_middle_hurts_nobody(port: int) -> None:
    for sent in (b"", GOOD[:10]):
        with socket.create_connection(("127.0.0.1", port)) as cut:
            head = f"POST {LOSS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(GOOD)}"
            cut.sendall(f"{head}\r\n\r\n".encode() + sent)
    assert ask(port, "POST", LOSS, GOOD)[0] == 200
    assert b'status="500"' not in ask(port, "GET", "/metrics")[1]


def test_healthy_says_so_of_a_running_server(port: int) -> None:
    with started("healthy", PORT=str(port)) as process:
        assert ended(process) == (0, [])


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_exit_code_0(signal_: signal.Signals) -> None:
    chosen = free_port()
    with started(PORT=str(chosen), LOG_FORMAT="json", PROT="1") as process:
        wait_until_ready(process, chosen)
        assert ask(chosen, "POST", LOSS, GOOD)[0] == 200
        process.send_signal(signal_)
        code, lines = ended(process)
    assert code == 0
    entries = [json.loads(line) for line in lines]
    assert any("LOSSMETER_PROT" in entry["message"] and entry["level"] == "warning" for entry in entries)
    assert any(entry.get("path") == LOSS and entry["status"] == 200 for entry in entries)


def test_a_taken_port_ends_the_start_with_the_reason(port: int) -> None:
    with started(PORT=str(port)) as process:
        code, lines = ended(process)
    assert code != 0
    (reason,) = [line for line in lines if " error " in line]
    assert "address already in use" in reason
    assert str(port) in reason


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_two_that_start_at_once_on_a_port_one_ends_with_the_reason(workers: str) -> None:
    chosen = free_port()
    settings = {"PORT": str(chosen), "WORKERS": workers, "LOG_LEVEL": "warning"}
    with started("serve", **settings) as first, started("serve", **settings) as second:
        codes: list[int | None] = []
        for _ in range(TRIES):
            codes = [first.poll(), second.poll()]
            if codes != [None, None]:
                break
            time.sleep(0.02)
        loser, winner = (first, second) if codes[0] is not None else (second, first)
        code, lines = ended(loser)
        assert (code, len(lines)) == (3, 1)
        assert "already in use" in lines[0]
        wait_until_ready(winner, chosen)


def test_a_device_that_is_not_there_ends_the_start_with_the_reason_in_one_line() -> None:
    with started(PORT=str(free_port()), DEVICE="cuda", LOG_LEVEL="error") as process:
        code, lines = ended(process)
    assert code != 0
    assert sum("DEVICE is cuda, but" in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


def test_a_bad_setting_ends_the_start_with_code_2() -> None:
    with started(PORT="eighty") as process:
        code, lines = ended(process)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("lossmeter: LOSSMETER_PORT is 'eighty': ")


def test_an_upload_that_never_ends_does_not_keep_the_server_alive() -> None:
    chosen = free_port()
    with started(PORT=str(chosen), DRAIN_SECONDS="0", GRACE_SECONDS="1") as process:
        wait_until_ready(process, chosen)
        with socket.create_connection(("127.0.0.1", chosen)) as upload:
            head = f"POST {LOSS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            upload.sendall(head.encode() + b"{")
            process.terminate()
            assert ended(process)[0] == 0


def test_on_one_cpu_it_computes_with_one_thread() -> None:
    chosen, cpu = free_port(), min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, [{cpu}]); import service.command as command; command.main([])"
    with started(program=("-c", script), PORT=str(chosen), THREADS="0") as process:
        wait_until_ready(process, chosen)
        body = json.dumps({"logits": [[0.0] * 100] * 2000, "targets": [1] * 2000}).encode()  # several blocks
        assert ask(chosen, "POST", LOSS, body)[0] == 200
        assert json.loads(ask(chosen, "GET", "/v1/info")[1])["threads"] == 1
        # The loop, the watchdog, the one that loaded the graphs, and the one that computes; no library's own.
        assert len(os.listdir(f"/proc/{process.pid}/task")) <= 4
