"""Free memory is given back, once, when nothing is asked for any more."""

import asyncio
import gc
import mmap
import os
import socket
import time
import zlib
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load
from starlette.testclient import TestClient

from service import losses, memory, work
from service.system import resident_bytes
from service.telemetry import Metrics, Record
from tests.service.carriers import CARRIERS, answered, carry
from tests.service.conftest import JSON, LOSS
from tests.service.raw import connected, request
from tests.service.test_admission import running, until

LOOK = 0.02


class Trim:
    """Stands for glibc's malloc_trim: how often it was called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, pad: int) -> int:
        self.times += 1
        return 1


async def looks(count: int) -> None:
    await asyncio.sleep(count * LOOK * 2)


async def trimmed(trim: Trim, times: int) -> None:
    """It is called until it was called `times`, and no more; the limit only keeps a failing test from hanging."""
    async with asyncio.timeout(60):
        while trim.times < times:
            await looks(1)
    await looks(5)
    assert trim.times == times


def test_it_is_given_back_once_after_the_last_request() -> None:
    async def run() -> None:
        trim = Trim()
        metrics = Metrics(["kl_div"])
        task = asyncio.create_task(memory.give_back_when_idle(metrics, trim, LOOK))
        await looks(3)
        assert trim.times == 0
        for times in (1, 2):
            for _ in range(3):
                metrics.begin()
                metrics.end(Record("id", "POST", "/", measure="kl_div"))
            await trimmed(trim, times)
        task.cancel()

    asyncio.run(run())


def test_nothing_is_given_back_while_a_request_is_answered() -> None:
    async def run() -> None:
        trim = Trim()
        metrics = Metrics(["kl_div"])
        task = asyncio.create_task(memory.give_back_when_idle(metrics, trim, LOOK))
        await looks(1)
        metrics.begin()
        await looks(5)
        assert trim.times == 0
        metrics.end(Record("id", "POST", "/", measure="kl_div"))
        await trimmed(trim, 1)
        task.cancel()

    asyncio.run(run())


def test_probes_keep_nothing_and_give_nothing_back() -> None:
    async def run() -> None:
        trim = Trim()
        metrics = Metrics(["kl_div"])
        task = asyncio.create_task(memory.give_back_when_idle(metrics, trim, LOOK))
        await looks(1)
        metrics.begin()
        metrics.end(Record("id", "GET", "/livez"))
        await looks(3)
        assert trim.times == 0
        task.cancel()

    asyncio.run(run())


@pytest.mark.skipif(memory.trim is None, reason="this is not glibc, which alone has malloc_trim")
def test_glibc_can_give_back() -> None:
    assert memory.trim is not None
    assert memory.trim(0) in (0, 1)


@pytest.mark.parametrize("made", [bytes, bytearray, np.float32])
def test_the_pages_of_what_is_large_are_given_back_and_no_others(made: Any) -> None:
    def content(size: int) -> Any:
        return np.full(size // 4, np.pi, made) if made is np.float32 else made(b"\1" * size)

    small, large = content(memory.LARGE), content(memory.LARGE + 4)
    for one in (small, large):
        memory.discard(one)
    assert np.frombuffer(small, np.uint8).all()  # no byte of it is 0
    seen = np.frombuffer(large, np.uint8)
    assert seen.astype(bool).sum() <= 2 * mmap.PAGESIZE  # of which other things have a part


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_answer_is_the_same_when_what_it_was_made_of_is_given_back(
    name: str, carrier: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((300, 100), np.float32)
    targets = rng.integers(0, 100, 300) if name == "cross_entropy" else rng.random((300, 100), np.float32)
    body = carry(carrier, name, {"logits": logits, "targets": targets}, {"reduction": "none"}, "float32")
    discarded: list[int] = []
    real = memory.discard

    def watch(content: Any) -> None:
        discarded.append(memoryview(content).nbytes)
        real(content)

    answers = []
    for large in (memory.LARGE, 2**10):
        monkeypatch.setattr(memory, "LARGE", large)
        monkeypatch.setattr(work, "discard", watch)
        response = client.post(body.path, content=body.content, headers=body.headers)
        assert response.status_code == 200
        answers.append(answered(carrier, response))
    assert answers[0] == answers[1]
    assert len(body.content) in discarded
    assert answers[0]["per_sample"][1] in ((300,), (300, 100))


def test_an_answer_is_held_and_whole_until_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (losses, memory, work):
        monkeypatch.setattr(module, "LARGE", 2**10)
    rng = np.random.default_rng(1)
    arrays: dict[str, Any] = {name: rng.random(2_000_000, np.float32) for name in ("probabilities", "targets")}
    body = carry("safetensors", "binary_cross_entropy", arrays, {}, "float32")
    with running() as (app, address), connected(address) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        wire.send(request(body.content, *(f"{name}: {value}" for name, value in body.headers.items()), path=body.path))
        until(lambda: 0 < app.admission.bytes < len(body.content))
        held = app.admission.bytes
        status, _, content = wire.read()
        assert status == 200
        assert held == len(content)
        probabilities, targets = arrays["probabilities"].astype(np.float64), arrays["targets"].astype(np.float64)
        expected = -(targets * np.log(probabilities) + (1 - targets) * np.log1p(-probabilities))
        np.testing.assert_allclose(load(content)["per_sample"], expected, rtol=1e-4, atol=1e-6)
        until(lambda: app.admission.bytes == 0)


def test_no_tail_of_an_answer_is_discarded_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (losses, memory, work):
        monkeypatch.setattr(module, "LARGE", 2**10)
    targets = np.random.default_rng(1).random(2**20, np.float32)
    with running(max_elements=2**20) as (_, address):
        for size in range(2**15, 2**20, 10_000):  # at some of them the kernel takes all but a little
            arrays: dict[str, Any] = {"probabilities": targets[:size], "targets": targets[:size]}
            body = carry("safetensors", "binary_cross_entropy", arrays, {}, "float32")
            with connected(address) as wire:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
                headers = (f"{name}: {value}" for name, value in body.headers.items())
                wire.send(request(body.content, *headers, path=body.path))
                wire.file.peek(1)
                time.sleep(0.005)  # for the answer to be discarded too soon
                assert load(wire.read()[2])["per_sample"].all(), size


def test_nothing_of_a_refused_body_waits_for_the_garbage_collector(client: TestClient) -> None:
    broken = b'{"logits":[[' + b"1.5," * 3_000_000 + b'1.5]],"targets":[0]'
    wrong = zlib.compress(broken)[:-1]
    gc.disable()
    try:
        for sent, more in ((broken, {}), (wrong, {"Content-Encoding": "deflate"})):
            for number in range(8):
                response = client.post(LOSS, content=sent, headers=JSON | more)
                assert response.status_code == 400
                if number == 2:
                    before = resident_bytes(os.getpid())
            assert resident_bytes(os.getpid()) - before < 2 * len(broken)
    finally:
        gc.enable()
