"""Deadlines: an answer that nobody waits for any more is not computed."""

import json
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core.engine import Engine
from service.patience import Patience
from service.running import Running
from tests.service.conftest import GOOD
from tests.service.raw import LOSSES, connected, loss, request
from tests.service.test_admission import kl_div, refused, running, until

KL_DIV = "/v1/losses/kl_div"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with running() as (_, made):
        yield made


@pytest.mark.parametrize("seconds", ["0", "-1", "0.000000001"])
def test_a_deadline_that_has_passed_is_answered_without_work(seconds: str, address: str, computed: list[Any]) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD, f"X-Request-Timeout: {seconds}"))
        assert refused(wire.read(), "deadline-exceeded")["detail"] == "the deadline of the request has passed"
        assert not computed


@pytest.mark.parametrize("sent", ["soon", "1e3", "NaN", "1s", "", "٣"])
def test_a_deadline_is_a_number_of_seconds(sent: str, address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD).replace(b"\r\n\r\n", f"\r\nX-Request-Timeout: {sent}\r\n\r\n".encode(), 1))
        status, _, body = wire.read()
        assert (status, b"X-Request-Timeout" in body) == (400, True)


def test_an_answer_in_time_is_an_answer(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD, "X-Request-Timeout: 20.5"))
        assert loss(wire.read()) == LOSSES[GOOD]


def test_a_deadline_ends_the_wait_for_the_body(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD, "X-Request-Timeout: 0.05")[:-5])
        refused(wire.read(), "deadline-exceeded")


@pytest.mark.parametrize("header", ["X-Request-Timeout: 1", ""])
def test_a_deadline_ends_the_work_between_two_blocks(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    real = Engine._run

    def slow(*arguments: Any, **more: Any) -> Any:
        begun.append(arguments)
        threading.Event().wait(0.05)
        return real(*arguments, **more)

    monkeypatch.setattr(Engine, "_run", slow)
    blocks = 2000 * 2000 // 2**16
    with running(threads=1) as (app, address), connected(address) as wire:
        before = len(begun)  # of warming up
        wire.send(request(kl_div(2000, 2000), *([header] if header else []), path=KL_DIV))
        if header:
            refused(wire.read(), "deadline-exceeded")
            assert 0 < len(begun) - before < blocks
        else:
            assert wire.read()[0] == 200
            assert len(begun) - before >= blocks
        until(lambda: app.admission.bytes == 0)


def inference(timeout: int, *, binary: bool) -> bytes:
    """A request on /v2 with a deadline of so many microseconds."""
    data: list[dict[str, Any]] = [{"data": [1, 2]}, {"data": [0]}]
    tail = b""
    if binary:
        data = [{"parameters": {"binary_data_size": size}} for size in (8, 8)]
        tail = struct.pack("<ffq", 1, 2, 0)
    text = json.dumps({
        "inputs": [
            {"name": "logits", "shape": [1, 2], "datatype": "FP32", **data[0]},
            {"name": "targets", "shape": [1], "datatype": "INT64", **data[1]},
        ],
        "parameters": {"timeout": timeout},
    }).encode()  # fmt: skip
    headers = [f"Inference-Header-Content-Length: {len(text)}"] if binary else []
    return request(text + tail, *headers, path="/v2/models/cross_entropy/infer")


@pytest.mark.parametrize("binary", [False, True])
def test_the_timeout_of_an_inference_is_a_deadline(binary: bool, address: str, computed: list[Any]) -> None:
    with connected(address) as wire:
        wire.send(inference(1, binary=binary))
        status, headers, body = wire.read()
        assert (status, json.loads(body)["type"]) == (503, "/problems/deadline-exceeded")
        assert headers["retry-after"] == "1"
        assert not computed
        for timeout in (0, 20_000_000):  # none, and 20 s
            wire.send(inference(timeout, binary=binary))
            assert wire.read()[0] == 200


def test_the_earlier_of_two_deadlines_counts() -> None:
    patience = Patience({"headers": [(b"x-request-timeout", b"3")]}, 0, Running())
    for seconds, deadline in ((5.0, 3), (2.0, 2), (4.0, 2)):
        patience.limit(seconds)
        assert patience.deadline == deadline * 10**9
