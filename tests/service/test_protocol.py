"""A request that offers to go on in another protocol is answered as one that does not, however its bytes arrive."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pytest

from tests.service.carriers import safetensors
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import CHUNKED, H2C, LOSSES, OTHER, WEBSOCKET, chunks, connected, loss, request


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


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
    body = safetensors({"log_probabilities": -values, "targets": np.ones_like(values)}, {"per_sample": False})
    framing = CHUNKED if chunked else f"Content-Length: {len(body)}"
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
