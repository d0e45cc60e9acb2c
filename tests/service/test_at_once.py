"""Small requests are answered without the layers of the app, with the same answers; all others are left to them."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.app import create_app
from service.at_once import AtOnce
from service.losses import MOST_INLINE
from service.server import config
from service.settings import Settings
from tests.service.bodies import BATCH
from tests.service.carriers import CARRIERS, Array, Body, carry, infer
from tests.service.conftest import GOOD, LOSS, serving
from tests.service.live import listening, served
from tests.service.raw import LOSSES, OTHER, Answer, Wire, connected, loss, request

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


def test_the_answer_is_that_of_the_app(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [told(asked(address, sent)) for sent in usual()]
    monkeypatch.setattr(AtOnce, "__call__", lambda *_: None)
    assert [told(asked(address, sent)) for sent in usual()] == now


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


def test_one_turn_of_the_loop_answers_so_many_and_no_more(found: list[bool]) -> None:
    settings = Settings(device="cpu", threads=1)
    app = create_app(settings)
    assert app.at_once is not None
    with served(config(app, settings)) as address, connected(address) as wire:
        app.at_once.losses._inline = MOST_INLINE
        wire.send(request(GOOD))
        while not found:
            time.sleep(0.01)
        app.at_once.losses._inline = 0  # as the next turn has it
        assert loss(wire.read()) == LOSSES[GOOD]
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]
    assert found == [False, True]


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


def test_a_client_that_reads_nothing_is_waited_for(address: str) -> None:
    """What has been answered and not been read is bounded by what is read of the connection."""
    many, wire = 3000, Wire(address)
    sender = threading.Thread(target=lambda: wire.socket.sendall(request(GOOD) * many), daemon=True)
    sender.start()
    assert [loss(wire.read()) for _ in range(many)] == [LOSSES[GOOD]] * many
    sender.join()
    wire.file.close()
    wire.socket.close()
