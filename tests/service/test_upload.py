"""A body of declared size goes into one buffer, past the parser, however it arrives."""

import asyncio
import ctypes
import socket
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from service import losses
from service.body import read_body as real
from service.cycle import Cycle
from service.parser import Parser
from tests.service.carriers import safetensors
from tests.service.conftest import GOOD, LOSS
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
    assert [(kind, size) for kind, size, _ in bodies] == [(bytearray, len(body))] * 3  # small ones need no such


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


def half_closed(address: str, *sent: bytes) -> bytes:
    """Everything that is answered to a client that sends no more, but still reads."""
    with connected(address) as wire:
        wire.send(*sent)
        wire.socket.shutdown(socket.SHUT_WR)
        return wire.file.read()


def test_a_client_that_has_sent_all_and_reads_on_gets_its_answers(address: str) -> None:
    body, _ = large()
    head = request(None, "Content-Type: application/x-safetensors", f"Content-Length: {len(body)}", path=KL_DIV)
    graph = request(None, method="GET", path=f"{LOSS}/graph")
    for sent, count in (([request(GOOD)], 1), ([head, body], 1), ([graph * 3], 3), ([request(GOOD) + head, body], 2)):
        assert half_closed(address, *sent).count(b"HTTP/1.1 200 OK") == count


def test_what_is_cut_off_by_the_end_is_given_up_and_what_came_before_it_answered(address: str) -> None:
    assert half_closed(address, request(GOOD)[:-1]) == b""
    assert half_closed(address, request(GOOD) + request(OTHER)[:-1]).count(b"HTTP/1.1") == 1
    assert half_closed(address, request(GOOD) + b"POST /x HTT").count(b"HTTP/1.1") == 1
    assert half_closed(address) == b""


@pytest.mark.parametrize("framing", ["Content-Length: 32", "Content-Length: 3221225472", "Transfer-Encoding: chunked"])
def test_an_answer_before_the_body_was_asked_for_ends_the_connection(address: str, framing: str) -> None:
    for path, status in (("/nope", 404), (LOSS, 415)):
        with connected(address) as wire:
            wire.send(request(None, "Expect: 100-continue", framing, path=path))
            found = wire.read()
            assert (found[0], found[1]["connection"]) == (status, "close")
            assert wire.at_end()


def test_version_1_0_is_not_asked_for_its_body(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD, "Expect: 100-continue", version="1.0"))
        assert loss(wire.read()) == LOSSES[GOOD]


def test_a_body_that_breaks_after_its_answer_gets_no_second_one(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, "Transfer-Encoding: chunked", path="/nope"))
        assert wire.read()[0] == 404
        wire.send(b"5\r\nhello\r\nZZ\r\n")
        assert wire.at_end()


@pytest.mark.parametrize("target", ["http://localhost", "http://localhost?x=1"])
def test_an_absolute_form_may_have_no_path(address: str, target: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, method="GET", path=target))
        assert wire.read()[0] == 404


def test_a_body_that_was_begun_in_pieces_goes_on_in_pieces() -> None:
    async def read() -> bytes | bytearray:
        pieces = iter([GOOD[:5], GOOD[5:]])

        async def receive() -> Any:
            piece = next(pieces)
            return {"type": "http.request", "body": piece, "more_body": piece == GOOD[:5]}

        scope: Any = {"headers": [], "lossmeter.cycle": Cycle.__new__(Cycle)}
        scope["lossmeter.cycle"].length = len(GOOD)
        return await real(scope, receive, 1000, "MAX")

    assert bytes(asyncio.run(read())) == GOOD
