"""A body of declared size goes into one buffer, past the parser, however it arrives."""

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from service import losses
from service.body import read_body as real
from service.parser import Parser
from tests.service.carriers import safetensors
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import LOSSES, OTHER, Wire, connected, loss, request

KL_DIV = "/v1/losses/kl_div"
SIZE = 2**20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the pieces of bodies that the parser has seen."""
    sizes: list[int] = []
    real = Parser.on_body

    def on_body(parser: Parser, piece: bytes) -> None:
        sizes.append(len(piece))
        real(parser, piece)

    monkeypatch.setattr(Parser, "on_body", on_body)
    return sizes


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the bodies were read into, and where."""
    found: list[Any] = []

    async def read_body(*arguments: Any, **more: Any) -> Any:
        content = await real(*arguments, **more)
        place = ctypes.addressof(ctypes.c_char.from_buffer(content)) if isinstance(content, bytearray) else None
        found.append((type(content), len(content), place))
        return content

    monkeypatch.setattr(losses, "read_body", read_body)
    return found


def large() -> tuple[bytes, float]:
    """A body of some megabytes, and the sum of its losses."""
    values = np.random.default_rng(1).random(SIZE, np.float32)
    tensors = {"log_probabilities": -values, "targets": np.ones_like(values)}
    return safetensors(tensors, {"per_sample": False, "reduction": "sum"}), float(values.sum(dtype=np.float64))


def ask(wire: Wire, body: bytes, *pieces: bytes) -> Any:
    head = request(None, "Content-Type: application/x-safetensors", f"Content-Length: {len(body)}", path=KL_DIV)
    wire.send(head, *(pieces or (body,)))
    return loss(wire.read())


def test_the_rest_of_a_body_goes_past_the_parser(address: str, parsed: list[int], bodies: list[Any]) -> None:
    body, total = large()
    with connected(address) as wire:
        for _ in range(3):
            parsed.clear()
            assert ask(wire, body) == pytest.approx(total, rel=1e-6)
            assert sum(parsed) < len(body) / 4
            wire.send(request(GOOD))  # which a new parser reads
            assert loss(wire.read()) == LOSSES[GOOD]
    assert [(kind, size) for kind, size, _ in bodies][::2] == [(bytearray, len(body))] * 3


def test_a_body_may_arrive_in_any_pieces(address: str) -> None:
    body, total = large()
    rng = np.random.default_rng(2)
    with connected(address) as wire:
        for count in (1, 2, 5, 20):
            places = [0, *sorted(rng.integers(0, len(body), count).tolist()), len(body)]
            pieces = [body[a:b] for a, b in pairwise(places) if b > a]
            assert ask(wire, body, *pieces) == pytest.approx(total, rel=1e-6)


def test_what_follows_a_body_is_the_next_request(address: str) -> None:
    body, total = large()
    head = request(None, "Content-Type: application/x-safetensors", f"Content-Length: {len(body)}", path=KL_DIV)
    with connected(address) as wire:
        wire.send(head + body + request(GOOD) + head + body + request(OTHER))
        found = [loss(wire.read()) for _ in range(4)]
    assert found == [pytest.approx(total, rel=1e-6), LOSSES[GOOD], pytest.approx(total, rel=1e-6), LOSSES[OTHER]]


def test_a_client_that_hangs_up_within_a_body_harms_nobody(address: str) -> None:
    body, total = large()
    head = request(None, "Content-Type: application/x-safetensors", f"Content-Length: {len(body)}", path=KL_DIV)
    for part in (1, SIZE, len(body) - 1):
        with connected(address) as wire:
            wire.send(head + body[:part])
    with connected(address) as wire:
        assert ask(wire, body) == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("spaces", [0, 1, 3, 17])
def test_the_tensors_after_a_json_header_begin_a_cache_line(address: str, bodies: list[Any], spaces: int) -> None:
    values = np.random.default_rng(1).random(SIZE, np.float32)
    text = (
        b'{"inputs": [{"name": "log_probabilities", "shape": [%d], "datatype": "FP32", "parameters":'
        b' {"binary_data_size": %d}}, {"name": "targets", "shape": [%d], "datatype": "FP32", "parameters":'
        b' {"binary_data_size": %d}}], "outputs": [{"name": "sum"}]}' % ((SIZE, values.nbytes) * 2)
    ) + b" " * spaces
    body = text + (-values).tobytes() + np.ones_like(values).tobytes()
    headers = (f"Inference-Header-Content-Length: {len(text)}", f"Content-Length: {len(body)}")
    with connected(address) as wire:
        wire.send(request(None, *headers, path="/v2/models/kl_div/infer"), body)
        status, _, content = wire.read()
    assert status == 200, content
    ((kind, size, place),) = bodies
    assert (kind, size) == (bytearray, len(body))
    assert (place + len(text)) % 64 == 0


def test_an_answer_of_megabytes_is_whole(address: str) -> None:
    values = np.random.default_rng(1).random(SIZE, np.float32)
    body = safetensors({"log_probabilities": -values, "targets": np.ones_like(values)}, {})
    accept = "Accept: application/x-safetensors"
    head = request(None, accept, "Content-Type: application/x-safetensors", f"Content-Length: {len(body)}", path=KL_DIV)
    with connected(address) as wire:
        for _ in range(2):
            wire.send(head + body)
            status, _, content = wire.read()
            assert status == 200
            assert len(content) > values.nbytes
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]
