"""Work that waited for a thread until nobody wanted it any more is not begun, and leaves nothing behind."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from core.sessions import Sessions
from service.patience import Patience
from service.work import Work
from tests.service.conftest import GOOD, LOSS
from tests.service.raw import LOSSES, OTHER, Wire, connected, loss, request
from tests.service.test_admission import kl_div, padded, refused, running, until
from tests.service.test_chaos import in_flight
from tests.service.test_wire_hang_ups import reset

KL_DIV = "/v1/losses/kl_div"
WAITING = {  # as a whole; with its elements counted by the loop
    "long": (padded(2**15), LOSS),
    "much": (kl_div(200, 200), KL_DIV),
}


class Held:
    """The threads, which wait before they begin anything; what was begun on them; who waits for answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.begun: list[Work] = []
        self.patiences: list[Patience] = []
        for name in ("prepare", "finish"):
            monkeypatch.setattr(Work, name, self._watched(getattr(Work, name)))
        real = Patience.__init__

        def note(patience: Patience, *arguments: Any) -> None:
            real(patience, *arguments)
            self.patiences.append(patience)

        monkeypatch.setattr(Patience, "__init__", note)

    def _watched(self, real: Any) -> Any:
        def watch(work: Work) -> Any:
            if threading.current_thread().name.startswith("request"):
                self.begun.append(work)
                self.release.wait(60)
            return real(work)

        return watch


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Threads that wait for `release`."""
    made = Held(monkeypatch)
    yield made
    made.release.set()


def hang_up(wire: Wire, *, hard: bool) -> None:
    """Close the connection; `hard` with a reset."""
    if hard:
        reset(wire.socket)
    wire.file.close()
    wire.socket.close()


@pytest.mark.parametrize("name", WAITING)
@pytest.mark.parametrize("why", ["deadline", "reset"])
def test_what_nobody_waits_for_any_more_is_not_begun(name: str, why: str, held: Held) -> None:
    body, path = WAITING[name]
    with running(threads=1, queue_seconds=3600) as (app, address), connected(address) as first:
        first.send(request(padded(2**16)))
        until(lambda: len(held.begun) == 1)
        with connected(address) as second:
            second.send(request(body, *(["X-Request-Timeout: 3"] if why == "deadline" else []), path=path))
            until(lambda: app.admission._running == 2)
            waits = held.patiences[-1]
            if why == "reset":
                hang_up(second, hard=True)
            until(waits.over)
            held.release.set()
            assert loss(first.read()) == LOSSES[GOOD]
            if why == "deadline":
                refused(second.read(), "deadline-exceeded")
        until(lambda: app.admission.bytes == app.admission._running == 0)
        assert len({id(work) for work in held.begun}) == 1
        with connected(address) as wire:
            wire.send(request(body, path=path))
            assert wire.read()[0] == 200


@pytest.mark.parametrize("seed", range(2))
def test_clients_that_hang_up_whenever_leave_nothing_behind(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, chance = Sessions.attempt, random.Random(seed)

    def slow(*arguments: Any) -> Any:
        time.sleep(0.03)
        return real(*arguments)

    sent = [
        request(GOOD),
        request(padded(2**17)),
        request(padded(2**17), chunked=True),
        request(kl_div(300, 300), path=KL_DIV),
        request(kl_div(300, 300), "X-Request-Timeout: 0.2", path=KL_DIV),
        request(padded(2**20))[:-1000],
    ]
    with running(threads=1) as (app, address), ExitStack() as stack:
        assert (app.admission.bytes, in_flight(address)) == (0, 1)  # who asks
        monkeypatch.setattr(Sessions, "attempt", slow)
        ends: list[tuple[float, Wire]] = []
        for _ in range(30):
            wire = stack.enter_context(connected(address))
            wire.send(chance.choice(sent))
            ends.append((time.monotonic() + chance.uniform(0, 1), wire))
        for when, wire in sorted(ends, key=lambda end: end[0]):
            time.sleep(max(0.0, when - time.monotonic()))
            hang_up(wire, hard=chance.random() < 0.5)
        until(lambda: app.admission.bytes == app.admission._running == 0)
        until(lambda: in_flight(address) == 1)
        monkeypatch.undo()
        with connected(address) as wire:
            for body in (GOOD, padded(2**17), OTHER):
                wire.send(request(body))
                assert loss(wire.read()) == LOSSES[OTHER if body is OTHER else GOOD]
        until(lambda: app.admission.bytes == 0)
