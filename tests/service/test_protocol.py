"""A request that offers to go on in another protocol is answered as one that does not, however its bytes arrive."""

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tests.service.conftest import GOOD, LOSS
from tests.service.live import listening
from tests.service.test_safetensors import packed

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")
OTHER = b'{"logits": [[3, 4, 5], [0, 0, 0]], "targets": [2, 0], "reduction": "sum"}'
LOSSES = {GOOD: 0.8132616, OTHER: 1.5062182}
Answer = tuple[int, dict[str, str], bytes]


class Wire:
    """One connection, written and read by hand."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, *pieces: bytes, pause: float = 0.001) -> None:
        """Send `pieces` as segments of their own."""
        for place, piece in enumerate(pieces):
            if place:
                time.sleep(pause)
            self.socket.sendall(piece)

    def read(self) -> Answer:
        """The next answer."""
        version, status, _ = self.file.readline().decode().split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(status), headers, self.file.read(int(headers.get("content-length", 0)))

    def at_end(self) -> bool:
        """Whether the server has closed the connection, having said no more."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def connected(address: str) -> Iterator[Wire]:
    wire = Wire(address)
    try:
        yield wire
    finally:
        wire.file.close()
        wire.socket.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def request(
    body: bytes | None = GOOD,
    *headers: str,
    method: str = "POST",
    path: str = LOSS,
    chunked: bool = False,
    version: str = "1.1",
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers]
    if body is not None:
        lines += ["Content-Type: application/json"]
        lines += ["Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, "", ""]).encode()
    return head + (b"" if body is None else chunks(body[:7], body[7:8], body[8:]) if chunked else body)


def loss(answer: Answer) -> Any:
    """The loss of a good answer."""
    status, headers, content = answer
    assert status == 200, content
    assert "upgrade" not in headers
    return json.loads(content)["loss"]


def cuts(whole: bytes) -> Iterable[tuple[bytes, bytes]]:
    """`whole` in two pieces, in every way."""
    return ((whole[:place], whole[place:]) for place in range(1, len(whole)))


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_post_that_offers_an_upgrade_keeps_its_body(address: str, offer: tuple[str, ...], chunked: bool) -> None:
    with connected(address) as wire:
        for body in (GOOD, OTHER, GOOD):
            wire.send(request(body, *offer, chunked=chunked))
            assert loss(wire.read()) == LOSSES[body]
            wire.send(request(body))
            assert loss(wire.read()) == LOSSES[body]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_body_is_kept_byte_by_byte(address: str, chunked: bool) -> None:
    with connected(address) as wire:
        for body in (GOOD, OTHER):
            whole = request(body, *H2C, chunked=chunked)
            wire.send(*(bytes([byte]) for byte in whole), pause=0.0005)
            assert loss(wire.read()) == LOSSES[body]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_body_is_kept_wherever_the_bytes_are_cut(address: str, chunked: bool) -> None:
    whole = request(OTHER, *H2C, chunked=chunked)
    with connected(address) as wire:
        for first, second in cuts(whole):
            wire.send(first, second)
            assert loss(wire.read()) == LOSSES[OTHER], first


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_next_request_is_answered_wherever_both_are_cut(address: str, chunked: bool) -> None:
    both = request(GOOD, *H2C, chunked=chunked) + request(OTHER, *H2C, chunked=not chunked)
    with connected(address) as wire:
        for first, second in islice(cuts(both), 0, None, 3):
            wire.send(first, second)
            assert [loss(wire.read()), loss(wire.read())] == [LOSSES[GOOD], LOSSES[OTHER]], first


def test_pipelined_requests_are_answered_in_their_order(address: str) -> None:
    sent = [
        request(GOOD, *H2C),
        request(OTHER),
        request(None, *H2C, method="GET", path="/livez"),
        request(GOOD, *H2C, chunked=True),
        request(None, *WEBSOCKET, method="GET", path="/nope"),
        request(OTHER, *WEBSOCKET, chunked=True),
        request(b"{", *H2C),
        request(None, method="GET", path="/livez"),
        request(OTHER, *H2C),
    ] * 5
    named = [one.replace(b"\r\nHost", b"\r\nX-Request-ID: r%d\r\nHost" % place, 1) for place, one in enumerate(sent)]
    whole = b"".join(named)
    for size in (len(whole), 997, 31):
        with connected(address) as wire:
            wire.send(*(whole[start : start + size] for start in range(0, len(whole), size)), pause=0.0005)
            found = [wire.read() for _ in sent]
        assert [headers["x-request-id"] for _, headers, _ in found] == [f"r{place}" for place in range(len(sent))]
        assert [status for status, _, _ in found] == [200, 200, 200, 200, 404, 200, 400, 200, 200] * 5
        losses = [json.loads(content).get("loss") for _, _, content in found]
        first, other = LOSSES[GOOD], LOSSES[OTHER]
        assert losses == [first, other, None, first, None, other, None, None, other] * 5


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_body_is_kept(address: str, chunked: bool) -> None:
    values = np.random.default_rng(1).random(2**19, np.float32)
    body = packed({"log_probabilities": -values, "targets": np.ones_like(values)}, per_sample=False)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = request(None, *H2C, "Content-Type: application/x-safetensors", framing, path="/v1/losses/kl_div")
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    with connected(address) as wire:
        for _ in range(2):
            wire.send(head, chunks(*pieces) if chunked else body)
            status, _, content = wire.read()
            assert status == 200, content
            assert json.loads(content)["totals"]["sum"] == pytest.approx(values.sum(dtype=np.float64), rel=1e-12)
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]
