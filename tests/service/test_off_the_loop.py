"""Long bodies, and those that may unpack to much, are read, computed and answered on a worker, not on the loop."""

import gzip
import threading
from typing import Any

import numpy as np
import pytest

from service.work import Work
from tests.service.carriers import CARRIERS, Body, carry
from tests.service.conftest import GOOD, JSON, LOSS
from tests.service.live import listening
from tests.service.raw import connected, request
from tests.service.test_admission import padded

Steps = list[tuple[str, str]]
ROWS, CLASSES = 300, 100


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Which steps of requests are done, and on which threads."""
    found: Steps = []

    def watched(name: str, real: Any) -> Any:
        def watch(work: Work) -> Any:
            found.append((name, threading.current_thread().name))
            return real(work)

        return watch

    for name in ("prepare", "finish"):
        monkeypatch.setattr(Work, name, watched(name, getattr(Work, name)))
    return found


def long(carrier: str) -> Body:
    """A body that is long in any form."""
    rng = np.random.default_rng(1)
    logits, targets = rng.standard_normal((ROWS, CLASSES), np.float32), rng.integers(0, CLASSES, ROWS)
    return carry(carrier, "cross_entropy", {"logits": logits, "targets": targets}, {}, "float32")


def status(body: Body) -> int:
    """What a server of its own answers."""
    with listening() as address, connected(address) as wire:
        headers = [f"{name}: {value}" for name, value in body.headers.items() if name != "Content-Type"]
        sent = request(body.content, *headers, path=body.path)
        if "Content-Type" in body.headers:
            sent = sent.replace(b"application/json", body.headers["Content-Type"].encode(), 1)
        wire.send(sent)
        return wire.read()[0]


BODIES = {carrier: long(carrier) for carrier in CARRIERS} | {
    "few numbers in many bytes": Body(LOSS, padded(2**17), JSON),
    "few bytes in gzip": Body(LOSS, gzip.compress(GOOD), JSON | {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_loop_does_nothing_of_the_work(name: str, steps: Steps) -> None:
    assert status(BODIES[name]) == 200
    assert [step for step, _ in steps] == ["prepare", "finish"]
    assert all(thread.startswith("request") for _, thread in steps), steps


def test_the_loop_does_what_is_small(steps: Steps) -> None:
    assert status(Body(LOSS, GOOD, JSON)) == 200
    assert [step for step, _ in steps] == ["prepare", "finish"]
    assert not any(thread.startswith("request") for _, thread in steps), steps
