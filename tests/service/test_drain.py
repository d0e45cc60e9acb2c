"""How the service stops: nobody who follows /readyz loses a request, and nothing that is stuck holds it."""

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from service.app import create_app
from service.server import Server, config
from service.settings import Settings
from tests.service.clients import LARGE, clients, until
from tests.service.conftest import GOOD, LOSS
from tests.service.programs import SLOW_START, STUCK_WORK, program
from tests.service.raw import H2C, LOSSES, OTHER, connected, loss, request
from tests.service.test_server import ask, ended, free_port, started, wait_until_ready

PROBES = ("/readyz", "/v2/health/ready", "/v2/models/kl_div/ready", "/v2/models/kl_div/versions/1/ready")
BINARY = "Content-Type: application/x-safetensors"
LONGER_CALL = """
    from service import server
    server.LAST_CALL_SECONDS *= 5
"""
LONG = request(None, BINARY, f"Content-Length: {len(LARGE)}", path="/v1/losses/kl_div") + LARGE


@pytest.mark.parametrize("workers", ["1", "2"])
def test_clients_that_follow_readyz_lose_no_request(workers: str) -> None:
    port = free_port()
    with started(PORT=str(port), WORKERS=workers, DRAIN_SECONDS="5", LOG_LEVEL="error") as process:
        wait_until_ready(process, port)
        with clients(port, 8, follow_seconds=0.1) as tally:
            until(lambda: tally.answered > 100)
            process.terminate()
            code, lines = ended(process)
    assert (code, lines) == (0, [])
    assert tally.failed == []
    assert tally.turned_away == 8


def test_while_it_drains_only_probes_are_refused() -> None:
    port = free_port()
    with started(PORT=str(port), DRAIN_SECONDS="6") as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as idle, connected(f"127.0.0.1:{port}") as second:
            for wire in (idle, second):
                wire.send(request())
                assert "connection" not in wire.read()[1]
            process.terminate()
            until(lambda: ask(port, "GET", "/readyz")[0] == 503)
            for path in PROBES:
                status, body = ask(port, "GET", path)
                assert status == 503
                assert "stopping" in json.loads(body)["error"]
            for path in ("/livez", "/v2/health/live", "/metrics", "/v1/info", "/v2/models/kl_div"):
                assert ask(port, "GET", path)[0] == 200
            idle.send(request())
            status, headers, _ = answer = idle.read()
            assert loss(answer) == LOSSES[GOOD]
            assert headers["connection"] == "close"
            assert idle.at_end()
            second.send(request() + request(OTHER, *H2C) + request())  # all of which have come before the first answer
            found = [second.read() for _ in range(3)]
            assert [loss(one) for one in found] == [LOSSES[GOOD], LOSSES[OTHER], LOSSES[GOOD]]
            assert [one[1].get("connection") for one in found] == [None, None, "close"]
            assert second.at_end()
            assert ended(process)[0] == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("drain", ["0", "1"])
def test_who_connected_before_is_answered(tmp_path: Path, drain: str) -> None:
    port, patient = free_port(), program(tmp_path, LONGER_CALL)
    with started(program=patient, PORT=str(port), DRAIN_SECONDS=drain) as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as wire:
            time.sleep(0.05)  # it is accepted
            process.terminate()
            time.sleep(0.2)
            wire.send(request())
            assert loss(wire.read()) == LOSSES[GOOD]
        assert ended(process)[0] == 0


def test_who_waits_to_be_accepted_is_answered() -> None:
    settings = Settings(device="cpu", threads=1)
    server = Server(config(create_app(settings), settings), grace_seconds=5)

    async def stop_while_they_come(listener: socket.socket) -> list[socket.socket]:
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listener])
        found = [socket.create_connection(listener.getsockname(), timeout=20) for _ in range(20)]
        for wire in found:  # of which the loop knows nothing yet
            wire.sendall(request())
        server.drained_at, server.state.ending = 0.0, True
        await server.shutdown()
        return found

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for wire in asyncio.run(stop_while_they_come(listener)):
            with wire, wire.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def until_answering(port: int, count: int) -> None:
    """Until so many requests are being answered, and the one that asks."""
    wanted = f"lossmeter_in_flight_requests {count + 1}.0".encode()
    until(lambda: wanted in ask(port, "GET", "/metrics")[1].splitlines())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_work_that_does_not_end_is_answered_with_503_and_left(tmp_path: Path, workers: str) -> None:
    port, stuck = free_port(), program(tmp_path, STUCK_WORK)
    with started(program=stuck, PORT=str(port), WORKERS=workers, GRACE_SECONDS="4") as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as wire, connected(f"127.0.0.1:{port}") as upload:
            wire.send(LONG)
            upload.send(LONG[:-100])
            until_answering(port, 2)
            process.terminate()
            for one in (wire, upload):
                status, headers, body = one.read()
                assert status == 503
                assert (headers["connection"], headers["retry-after"]) == ("close", "1")
                problem = json.loads(body)
                assert problem["request_id"] == headers["x-request-id"]
                assert "stops" in problem["detail"]
        code, lines = ended(process)
    assert code == 0
    assert not any("Traceback" in line for line in lines)
    assert sum("path=/v1/losses/kl_div status=503" in line for line in lines) == 2


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("last", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, last: signal.Signals, workers: str) -> None:
    port, stuck = free_port(), program(tmp_path, STUCK_WORK)
    settings = {"WORKERS": workers, "DRAIN_SECONDS": "300", "GRACE_SECONDS": "300"}
    with started(program=stuck, PORT=str(port), **settings) as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as wire:
            wire.send(LONG)
            until_answering(port, 1)
            process.send_signal(signal.SIGTERM)
            until(lambda: ask(port, "GET", "/readyz")[0] == 503)  # two signals of one kind may come as one
            process.send_signal(last)
            assert ended(process)[0] == 0


def test_a_service_manager_may_signal_every_process() -> None:
    port = free_port()
    with started(PORT=str(port), DRAIN_SECONDS="4", WORKERS="2", LOG_LEVEL="error") as process:
        wait_until_ready(process, port)
        with clients(port, 4, follow_seconds=0.1) as tally:
            until(lambda: tally.answered > 50)
            os.killpg(process.pid, signal.SIGTERM)
            assert ended(process) == (0, [])
    assert tally.failed == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_the_start(tmp_path: Path, workers: str) -> None:
    slow = program(tmp_path, SLOW_START)
    with started(program=slow, PORT=str(free_port()), WORKERS=workers) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Waiting for application startup" in line:
                break
        process.terminate()
        assert process.wait(30) == 0


def test_sighup_without_a_second_worker_is_answered_with_a_line() -> None:
    port = free_port()
    with started(PORT=str(port)) as process:
        wait_until_ready(process, port)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert ask(port, "POST", LOSS, GOOD)[0] == 200
        process.terminate()
        code, lines = ended(process)
    assert code == 0
    assert sum("SIGHUP" in line and "LOSSMETER_WORKERS" in line for line in lines) == 1
