"""What is let in: bytes that are reserved before they are read, work whose turn comes soon; the rest is refused."""

import asyncio
import gzip
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from core.engine import Engine
from service.admission import Admission, Lease
from service.app import Service, create_app
from service.problems import Problem
from service.server import config
from service.settings import Settings
from service.telemetry import Metrics
from tests.service.conftest import GOOD
from tests.service.live import served
from tests.service.raw import LOSSES, connected, loss, request
from tests.service.test_server import free_port, started, wait_until_ready

MIB = 2**20


@contextmanager
def running(**settings: Any) -> Iterator[tuple[Service, str]]:
    """An app with some settings, and where it listens."""
    merged: Any = {"device": "cpu", "threads": 2} | settings
    made = Settings(**merged)
    app = create_app(made)
    with served(config(app, made)) as address:
        yield app, address


def until(holds: Callable[[], bool]) -> None:
    """Wait; the limit only keeps a failing test from hanging."""
    waited = threading.Event()
    for _ in range(2000):
        if holds():
            return
        waited.wait(0.01)
    raise AssertionError("it does not come about")


def refused(answer: tuple[int, dict[str, str], bytes], slug: str) -> dict[str, Any]:
    """The problem document of a 503."""
    status, headers, body = answer
    found: dict[str, Any] = json.loads(body)
    assert (status, found["type"], headers["content-type"]) == (503, f"/problems/{slug}", "application/problem+json")
    assert int(headers["retry-after"]) >= 1
    return found


def padded(size: int) -> bytes:
    """A good body of `size` bytes."""
    return GOOD + b" " * (size - len(GOOD))


def test_bytes_are_let_in_up_to_the_limit_and_come_back() -> None:
    admission = Admission(Settings(max_body_bytes=100, max_inflight_bytes=1000), Metrics())
    with Lease(admission) as first, Lease(admission) as second:
        first.hold(600)
        first.hold(500)  # which it has
        second.hold(400)
        assert admission.bytes == 1000
        with pytest.raises(Problem, match="1 bytes more are needed, but 0 of MAX_INFLIGHT_BYTES are left") as caught:
            second.hold(401)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
        first.become(100)
        second.hold(900)
        with pytest.raises(Problem, match="takes 1001 bytes in the work, more than 1000, the limit") as caught:
            second.hold(1001)
        assert caught.value.status == 422
    assert admission.bytes == 0


def test_what_is_there_is_counted_even_where_there_is_no_room_for_it() -> None:
    admission = Admission(Settings(max_body_bytes=100, max_inflight_bytes=1000), Metrics())
    with Lease(admission) as lease:
        lease.become(1500)
        with Lease(admission) as other, pytest.raises(Problem, match="-500 of MAX_INFLIGHT_BYTES are left"):
            other.hold(1)
    assert admission.bytes == 0


def test_a_thread_that_goes_on_after_its_request_holds_nothing() -> None:
    admission = Admission(Settings(), Metrics())
    with Lease(admission) as lease:
        pass
    with pytest.raises(Problem, match="the request has ended"):
        lease.hold(1)
    assert admission.bytes == 0


def test_a_thread_is_taken_until_its_work_ends_whether_anybody_waits_or_not() -> None:
    admission = Admission(Settings(queue_seconds=0), Metrics())
    release = threading.Event()

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as workers:
            task = asyncio.create_task(admission.run(workers, "kind", 1, release.wait))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with pytest.raises(Problem):
                admission.require_turn(1)
            release.set()
        await asyncio.sleep(0)
        admission.require_turn(1)

    asyncio.run(scenario())


def test_work_that_would_wait_too_long_is_refused_and_other_work_is_not() -> None:
    admission = Admission(Settings(queue_seconds=1.0), Metrics())
    release = threading.Event()

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as workers:
            admission.require_turn(1)
            for size, seconds in ((1, 0.001), (1000, 1.2)):
                await admission.run(workers, "slow", size, lambda: threading.Event().wait(seconds))  # noqa: B023
            first = asyncio.create_task(admission.run(workers, "slow", 1, release.wait))
            await asyncio.sleep(0)
            admission.require_turn(1)  # would wait 1 ms
            second = asyncio.create_task(admission.run(workers, "slow", 1000, release.wait))
            await asyncio.sleep(0)
            admission.require_turn(3)  # a thread is free
            with pytest.raises(Problem, match=r"work would wait \d+\.\d s for a thread") as caught:
                admission.require_turn(1)
            assert caught.value.status == 503
            assert int(caught.value.headers["Retry-After"]) >= 2
            release.set()
            await asyncio.gather(first, second)
            admission.require_turn(1)

    asyncio.run(scenario())


def test_a_body_for_which_there_is_no_room_is_refused_before_it_is_read() -> None:
    with running(max_body_bytes=MIB, max_inflight_bytes=MIB) as (app, address), connected(address) as full:
        full.send(request(padded(MIB))[:-9])
        until(lambda: app.admission.bytes == MIB)
        with connected(address) as other:
            other.send(request(GOOD)[: -len(GOOD)])
            assert "MAX_INFLIGHT_BYTES" in refused(other.read(), "overloaded")["detail"]
        with connected(address) as chunked:
            chunked.send(request(GOOD, chunked=True))
            refused(chunked.read(), "overloaded")
        with connected(address) as probe:
            for path in ("/livez", "/readyz", "/v2/health/live", "/metrics"):
                probe.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status, _, body = probe.read()
                assert status == 200
            assert b"lossmeter_in_flight_bytes 1.048576e+06" in body
            assert b'lossmeter_rejected_requests_total{reason="overloaded"} 2.0' in body
        full.send(padded(MIB)[-9:])
        assert loss(full.read()) == LOSSES[GOOD]
        until(lambda: app.admission.bytes == 0)
        with connected(address) as other:
            other.send(request(GOOD))
            assert loss(other.read()) == LOSSES[GOOD]


def test_what_a_body_unpacks_to_is_reserved_too() -> None:
    with running(max_body_bytes=MIB, max_inflight_bytes=MIB) as (app, address):
        packed = gzip.compress(padded(MIB - 1000))
        with connected(address) as full, connected(address) as wire:
            full.send(request(padded(MIB // 2))[:-9])
            until(lambda: app.admission.bytes == MIB // 2)
            wire.send(request(packed, "Content-Encoding: gzip"))
            refused(wire.read(), "overloaded")
        until(lambda: app.admission.bytes == 0)
        with connected(address) as wire:
            wire.send(request(packed, "Content-Encoding: gzip"))
            assert loss(wire.read()) == LOSSES[GOOD]


def kl_div(rows: int, columns: int) -> bytes:
    """A small body that means much work: rows x columns elements."""
    body = {
        "log_probabilities": [[0.0]] * rows,
        "targets": [[1.0] * columns],
        "reduction": "sum",
        "per_sample": False,
    }
    return json.dumps(body).encode()


def test_results_larger_than_there_can_ever_be_room_for_are_refused_before_they_are_computed() -> None:
    with running(max_body_bytes=MIB, max_inflight_bytes=MIB) as (app, address), connected(address) as wire:
        wire.send(request(kl_div(1000, 300), path="/v1/losses/kl_div"))
        status, _, body = wire.read()
        assert (status, json.loads(body)["errors"][0]["pointer"]) == (422, "")
        assert json.loads(body)["detail"].startswith("the batch takes 1200000 bytes in the work, more than 1048576, ")
        wire.send(request(kl_div(1000, 250), path="/v1/losses/kl_div"))
        assert json.loads(wire.read()[2])["totals"]["count"] == 250_000
        until(lambda: app.admission.bytes == 0)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that work on threads waits for."""
    release, real = threading.Event(), Engine.per_sample

    def wait(*arguments: Any) -> Any:
        if threading.current_thread().name.startswith("request"):
            release.wait(20)
        return real(*arguments)

    monkeypatch.setattr(Engine, "per_sample", wait)
    yield release
    release.set()


def test_work_is_refused_while_every_thread_is_taken_and_no_queue_is_wanted(held: threading.Event) -> None:
    big = request(kl_div(200, 200), path="/v1/losses/kl_div")
    with running(threads=1, queue_seconds=0) as (app, address), connected(address) as first:
        first.send(big)
        until(lambda: app.admission.bytes > 0)
        zipped = gzip.compress(kl_div(200, 200))
        for sent in (big, request(padded(2**17)), request(zipped, "Content-Encoding: gzip", path="/v1/losses/kl_div")):
            with connected(address) as other:
                other.send(sent)
                assert "for a thread" in refused(other.read(), "overloaded")["detail"]
        with connected(address) as small:  # which needs no thread
            small.send(request(GOOD))
            assert loss(small.read()) == LOSSES[GOOD]
        held.set()
        assert first.read()[0] == 200


def test_a_client_that_resets_has_its_work_left(held: threading.Event) -> None:
    with running(threads=1) as (app, address), connected(address) as first:
        first.send(request(kl_div(2000, 2000), path="/v1/losses/kl_div"))
        until(lambda: app.admission.bytes > 0)
        first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first.file.close()
        first.socket.close()
        with connected(address) as wire:  # by its answer the loop has seen the reset
            wire.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            wire.read()
            held.set()
            until(lambda: app.admission.bytes == 0)
            wire.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b'lossmeter_requests_total{measure="kl_div",status="499"} 1.0' in wire.read()[2]


def test_too_little_memory_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    with running() as (app, address), connected(address) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "per_sample", fail)
            wire.send(request(GOOD))
            assert "memory" in refused(wire.read(), "unavailable")["detail"]
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]
        assert app.admission.bytes == 0


def test_a_stopping_service_says_so() -> None:
    with running() as (app, address), connected(address) as wire:
        app.running.giving_up = True
        wire.send(request(GOOD))
        assert refused(wire.read(), "unavailable")["detail"] == "the service is stopping"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts all that a process maps")
def test_a_process_without_memory_refuses_and_goes_on() -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (600 * 2**20,) * 2)"
    script = f"{limited}; import service.command as command; command.main([])"
    port = free_port()
    with started(program=("-c", script), PORT=str(port), THREADS="2", LOG_LEVEL="warning") as process:
        wait_until_ready(process, port)
        for _ in range(3):
            for sent in (request(kl_div(20_000, 20_000), path="/v1/losses/kl_div"), too_large_for_memory()):
                with connected(f"127.0.0.1:{port}") as wire:
                    wire.send(sent)
                    assert "memory" in refused(wire.read(), "unavailable")["detail"]
            with connected(f"127.0.0.1:{port}") as wire:
                wire.send(request(GOOD))
                assert loss(wire.read()) == LOSSES[GOOD]


def too_large_for_memory() -> bytes:
    """The head of a request for which no buffer can be had."""
    head = request(b"", path="/v1/losses/kl_div").replace(b"Content-Length: 0", b"Content-Length: 900000000", 1)
    return head.replace(b"application/json", b"application/x-safetensors", 1)
