"""Small requests are answered without the layers of the app, with the same answers; all others are left to them."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core.declare import Measure
from service import losses
from service.app import create_app
from service.at_once import AtOnce
from service.cycle import Cycle
from service.losses import Work
from service.parser import Head
from service.settings import Settings
from service.tracing import Tracing
from tests import inputs
from tests.service.bodies import BATCH
from tests.service.carriers import CARRIERS, Array, Body, carry, infer
from tests.service.conftest import GOOD, LOSS, serving
from tests.service.live import listening
from tests.service.raw import LOSSES, OTHER, Answer, connected, loss, request

OF_EACH_ANSWER = ("server-timing", "x-request-id")
UNUSUAL = [
    pytest.param(request(GOOD, "X-Request-Timeout: 5"), 200, id="a deadline"),
    pytest.param(request(GOOD, "Content-Encoding: gzip"), 400, id="a coding"),
    pytest.param(request(GOOD, path="/v1/losses/cross_entropy/"), 404, id="another path"),
    pytest.param(request(None, method="GET"), 200, id="another method"),
    pytest.param(request(b'{"logits": [[1, 2]], "targets": [2]}'), 422, id="a wrong index"),
    pytest.param(request(b"{"), 400, id="no JSON"),
    pytest.param(request(b'{"logits": [[%s]], "targets": [0]}' % b",".join([b"0.25"] * 5000)), 200, id="long JSON"),
    pytest.param(
        request(b'{"logits": {"dtype": "float32", "shape": [1, 0], "b64": ""}, "targets": [0], "x": 1}'),
        422,
        id="an unknown field",
    ),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request was answered at once."""
    answered: list[bool] = []
    real = AtOnce.__call__

    def call(at_once: AtOnce, scope: Any, body: bytes) -> Any:
        answer = real(at_once, scope, body)
        answered.append(answer is not None)
        return answer

    monkeypatch.setattr(AtOnce, "__call__", call)
    return answered


def spoken(body: Body) -> bytes:
    """The bytes of a request."""
    lines = [f"{name}: {value}" for name, value in body.headers.items()]
    return request(None, *lines, f"Content-Length: {len(body.content)}", path=body.path) + body.content


def usual() -> list[bytes]:
    """A small request in every form, and one in chunks."""
    forms = [spoken(carry(carrier, "cross_entropy", BATCH, {}, "float32")) for carrier in CARRIERS]
    return [*forms, request(GOOD, chunked=True)]


def told(answer: Answer) -> Answer:
    """An answer without what differs from one to the next."""
    status, headers, content = answer
    assert all(headers.pop(name) for name in OF_EACH_ANSWER)
    return status, headers, content


def asked(address: str, sent: bytes) -> Answer:
    with connected(address) as wire:
        wire.send(sent)
        return wire.read()


def test_small_requests_are_answered_at_once(address: str, found: list[bool]) -> None:
    for sent in usual():
        assert asked(address, sent)[0] == 200
    assert found == [True] * (len(CARRIERS) + 1)


def test_the_answer_is_that_of_the_app(address: str, found: list[bool], measure: Measure) -> None:
    rng = np.random.default_rng(1)
    sent = []
    for reduction in measure.reduction.values:
        arrays = inputs.request(measure, rng)
        sent += [
            spoken(carry(carrier, measure.name, arrays, {"reduction": reduction}, "float32")) for carrier in CARRIERS
        ]
    fields = json.dumps({name: array.tolist() for name, array in inputs.request(measure, rng).items()})
    sent.append(
        request(
            fields[:-1].encode() + b', "per_sample": false}', "Accept-Encoding: gzip", path=f"/v1/losses/{measure.name}"
        )
    )
    now = [asked(address, one) for one in sent]
    assert found == [True] * len(sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AtOnce, "__call__", lambda *_: None)
        assert [told(asked(address, one)) for one in sent] == [told(one) for one in now]


@pytest.mark.parametrize("setting", ["max_body_bytes", "max_json_bytes"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_small_body_may_be_too_large(setting: str, chunked: bool) -> None:
    body = infer("cross_entropy", BATCH, {}, binary=False)
    with listening(**{setting: len(GOOD) - 1}) as address:
        assert asked(address, request(GOOD, chunked=chunked))[0] == 413
        assert asked(address, request(body.content, path=body.path, chunked=chunked))[0] == 413


def test_the_clock_of_a_request_goes_on(address: str, found: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    real, seconds = Work.prepare, [0.3, 0.0]

    def prepare(work: Work) -> int:
        time.sleep(seconds.pop(0))
        return real(work)

    monkeypatch.setattr(Work, "prepare", prepare)
    late = infer("cross_entropy", BATCH, {"timeout": 200_000}, binary=True)  # microseconds
    assert asked(address, spoken(late))[0] == 503
    assert seconds == []
    assert found == [False]


@pytest.mark.parametrize(("sent", "status"), UNUSUAL)
def test_what_is_unusual_is_left_to_the_app(address: str, found: list[bool], sent: bytes, status: int) -> None:
    assert asked(address, sent)[0] == status
    assert found == [False]


def test_a_body_that_comes_later_is_left_to_the_app(address: str, found: list[bool]) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD)[:-5], GOOD[-5:], pause=0.05)
        assert loss(wire.read()) == LOSSES[GOOD]
    assert found == []


def test_what_is_much_to_compute_is_left_to_a_thread(address: str, found: list[bool]) -> None:
    for size in (2**6, 2**8):  # which broadcast to its square
        ones: dict[str, Array] = {
            "log_probabilities": np.ones((size, 1), np.float16),
            "targets": np.ones((1, size), np.float16),
        }
        assert asked(address, spoken(infer("kl_div", ones, {}, binary=True)))[0] == 200
    assert found == [True, False]


def test_requests_behind_each_other_are_answered_in_order(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD) + request(OTHER) + request(b"{") + request(GOOD))
        answers = [wire.read() for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 400, 200]
    assert [loss(answer) for answer in (*answers[:2], answers[3])] == [LOSSES[GOOD], LOSSES[OTHER], LOSSES[GOOD]]


def test_a_good_request_is_answered_though_what_follows_is_none(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD) + b"\0\0\r\n\r\n")
        assert loss(wire.read()) == LOSSES[GOOD]
        assert wire.read()[0] == 400
        assert wire.at_end()


def test_one_turn_of_the_loop_answers_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MOST_INLINE", 3)
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

    assert asyncio.run(turns()) == [[True] * 3 + [False] * 2] * 2


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


def test_layers_that_do_more_are_not_left_out() -> None:
    assert create_app(Settings(device="cpu")).at_once is not None
    assert create_app(Settings(device="cpu", api_keys=["0123456789abcdef"])).at_once is None
    assert create_app(Settings(device="cpu", cors_origins=["http://localhost"])).at_once is None


def test_other_servers_need_none_of_it(found: list[bool]) -> None:
    with serving() as client:
        assert client.post(LOSS, content=GOOD, headers={"Content-Type": "application/json"}).status_code == 200
    assert found == []


def test_thousands_behind_each_other_are_answered(address: str) -> None:
    with connected(address) as wire, ThreadPoolExecutor(1) as thread:
        sending = thread.submit(wire.socket.sendall, request(GOOD) * 3000)
        assert [loss(wire.read()) for _ in range(3000)] == [LOSSES[GOOD]] * 3000
        sending.result()
