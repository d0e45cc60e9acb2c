"""The service gives back the memory that it took, by itself, once it is idle."""

import random
import time
from functools import partial

import numpy as np
import pytest

import service.app
from service import memory
from service.system import resident_bytes
from tests.service.carriers import carry
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import LOSSES, Wire, connected, loss, request
from tests.service.test_admission import until
from tests.service.test_memory import LOOK, Trim
from tests.service.test_server import free_port, started, wait_until_ready

SECONDS = 30.0  # in which an idle service has given back what it does not need


def test_the_app_gives_back_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    trim = Trim()
    short = partial(memory.give_back_when_idle, trim=trim, seconds=LOOK)
    monkeypatch.setattr(service.app, "give_back_when_idle", short)
    with listening() as address, connected(address) as wire:
        for times in (1, 2):
            wire.send(request(GOOD))
            assert loss(wire.read()) == LOSSES[GOOD]
            until(lambda: trim.times >= times)  # noqa: B023


def ask_small(wire: Wire) -> None:
    """A few small requests."""
    for _ in range(20):
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]


def ask_large(wire: Wire, rows: int, columns: int) -> None:
    """A batch of so many rows and columns, whose answer has a number for each."""
    halves = np.full((rows, columns), 0.5, np.float32)
    arrays = {"probabilities": halves, "targets": halves}
    body = carry("safetensors", "binary_cross_entropy", arrays, {}, "float32")
    sent = request(body.content, f"Accept: {body.headers['Accept']}", path=body.path)
    wire.send(sent.replace(b"application/json", body.headers["Content-Type"].encode(), 1))
    status, _, content = wire.read()
    assert (status, len(content) > halves.nbytes) == (200, True)


@pytest.mark.skipif(memory.trim is None, reason="this is not glibc, which alone has malloc_trim")
def test_after_large_batches_a_process_is_about_as_small_as_before() -> None:
    port, chance = free_port(), random.Random(1)
    with started(PORT=str(port), THREADS="2", LOG_LEVEL="warning") as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as wire:
            ask_small(wire)
            base = resident_bytes(process.pid)
            assert base
            for _ in range(15):
                ask_large(wire, chance.randint(1, 2000), chance.randint(1, 2000))
            ask_small(wire)
        ends = time.monotonic() + SECONDS
        while (now := resident_bytes(process.pid)) > 1.3 * base and time.monotonic() < ends:
            time.sleep(0.1)
    assert now <= 1.3 * base
