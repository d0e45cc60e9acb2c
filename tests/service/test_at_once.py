"""Small requests are answered without the layers of the app, with the same answers; all others are left to them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from core.declare import Measure
from service.app import create_app
from service.at_once import AtOnce
from service.settings import Settings
from tests import inputs
from tests.service.bodies import BATCH
from tests.service.carriers import CARRIERS, Array, Body, carry, infer
from tests.service.conftest import GOOD, LOSS, serving
from tests.service.live import listening
from tests.service.raw import LOSSES, OTHER, Answer, connected, loss, request

OF_EACH_ANSWER = ("date", "server-timing", "x-request-id")
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


def squared(size: int, **said: Any) -> Body:
    """Inputs that broadcast to the square of `size` elements."""
    ones: dict[str, Array] = {
        "log_probabilities": np.ones((size, 1), np.float16),
        "targets": np.ones((1, size), np.float16),
    }
    return infer("kl_div", ones, said, binary=True)


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


@pytest.mark.parametrize(("sent", "status"), UNUSUAL)
def test_what_is_unusual_is_left_to_the_app(address: str, found: list[bool], sent: bytes, status: int) -> None:
    assert asked(address, sent)[0] == status
    assert found == [False]


def test_a_body_that_comes_later_is_left_to_the_app(address: str, found: list[bool]) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD)[:-5], GOOD[-5:], pause=0.05)
        assert loss(wire.read()) == LOSSES[GOOD]
    assert found == []


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
