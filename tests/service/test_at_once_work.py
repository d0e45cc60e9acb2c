"""What small requests that are answered at once may take of the event loop, and how they are counted and traced."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service import losses
from service.app import create_app
from service.cycle import Cycle
from service.parser import Head
from service.settings import Settings
from service.tracing import Tracing
from service.work import Work
from tests.service.conftest import GOOD, LOSS
from tests.service.live import listening
from tests.service.raw import connected, request
from tests.service.test_at_once import address, asked, found, spoken, squared

__all__ = ["address", "found"]


def test_what_is_much_to_compute_or_write_is_left_to_a_thread(address: str, found: list[bool]) -> None:
    for body in (squared(2**5), squared(2**6), squared(2**8)):
        assert asked(address, spoken(body))[0] == 200
    assert found == [True, False, False]


def test_the_clock_of_a_request_goes_on(address: str, found: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    real, seconds = Work.prepare, [0.6, 0.6]

    def prepare(work: Work) -> int:
        time.sleep(seconds.pop(0))
        return real(work)

    monkeypatch.setattr(Work, "prepare", prepare)
    assert asked(address, spoken(squared(2**8, timeout=1_000_000)))[0] == 503  # microseconds
    assert seconds == []
    assert found == [False]


def test_what_is_refused_is_not_read_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, prepared = Work.prepare, []

    def prepare(work: Work) -> int:
        prepared.append(work)
        return real(work)

    monkeypatch.setattr(Work, "prepare", prepare)
    assert asked(address, request(b'{"logits": [[1, 2]], "targets": [2]}'))[0] == 422
    assert len(prepared) == 1


@pytest.mark.parametrize(("most", "nanoseconds", "answered"), [(3, 10**18, 3), (10**6, 0, 1)])
def test_one_turn_of_the_loop_answers_so_many_and_no_more(
    most: int, nanoseconds: int, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "MOST_INLINE", most)
    monkeypatch.setattr(losses, "TURN_NS", nanoseconds)
    app = create_app(Settings(device="cpu", threads=1))
    head = {b"content-type": b"application/json"}

    def ask() -> bool:
        scope = {"type": "http", "method": "POST", "path": LOSS, "headers": list(head.items())}
        assert app.at_once is not None
        return app.at_once(scope | {"lossmeter.headers": head}, GOOD) is not None

    async def turns() -> list[list[bool]]:
        async with app.router.lifespan_context(app):
            first = [ask() for _ in range(5)]
            await asyncio.sleep(0)
            return [first, [ask() for _ in range(5)]]

    assert asyncio.run(turns()) == [[True] * answered + [False] * (5 - answered)] * 2


def test_an_answer_waits_until_the_one_before_it_is_taken() -> None:
    asked_for: list[Any] = []
    protocol: Any = SimpleNamespace(full=object())
    cycle = Cycle(protocol, Head({}, length=0, keep_alive=True, awaits_continue=False), app=None)  # type: ignore[arg-type]
    cycle.end_body()
    assert not cycle.answer_at_once(lambda *given: asked_for.append(given))
    protocol.full = None
    assert not cycle.answer_at_once(lambda *given: asked_for.append(given))
    assert len(asked_for) == 1


def test_it_is_traced_by_its_route(found: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr("service.app.Tracing", lambda: Tracing(exporter))
    with listening(traces=True) as traced:
        assert asked(traced, request(GOOD))[0] == 200
    assert found == [True]
    assert "POST /v1/losses/{name}" in [span.name for span in exporter.get_finished_spans()]


def test_each_is_counted_once(found: list[bool]) -> None:
    with listening() as fresh, connected(fresh) as wire:
        for body in (GOOD, b"{", GOOD):
            wire.send(request(body))
            wire.read()
        wire.send(request(None, method="GET", path="/metrics"))
        text = wire.read()[2].decode()
    assert found == [True, False, True, False]
    assert 'lossmeter_requests_total{measure="cross_entropy",status="200"} 2.0' in text
    assert 'lossmeter_requests_total{measure="cross_entropy",status="400"} 1.0' in text
    assert 'lossmeter_batch_samples_count{measure="cross_entropy"} 2.0' in text
    assert "lossmeter_in_flight_requests 1.0" in text  # this one
