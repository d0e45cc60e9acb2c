"""Where a body ends beside an offer to upgrade, and what follows it; and how a body is framed wrongly."""

import json
from collections.abc import Iterator

import pytest

from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import CHUNKED, H2C, JSON_TYPE, LOSSES, OTHER, SIZED, chunks, connected, loss, request

WRONG: dict[str, tuple[tuple[str, ...], bytes]] = {
    "both": (("Content-Length: 5", CHUNKED), chunks(GOOD)),
    "both, the other way": ((CHUNKED, "Content-Length: 5"), chunks(GOOD)),
    "two lengths": ((SIZED, SIZED), GOOD),
    "two other lengths": ((SIZED, "Content-Length: 5"), GOOD),
    "plus": (("Content-Length: +5",), GOOD),
    "a list": (("Content-Length: 5, 5",), GOOD),
    "minus": (("Content-Length: -1",), GOOD),
    "hexadecimal": (("Content-Length: 0x10",), GOOD),
    "nothing": (("Content-Length: ",), GOOD),
    "many digits": (("Content-Length: 99999999999999999999999",), GOOD),
    "xchunked": (("Transfer-Encoding: xchunked",), chunks(GOOD)),
    "gzip": (("Transfer-Encoding: gzip",), GOOD),
    "gzip last": (("Transfer-Encoding: chunked, gzip",), chunks(GOOD)),
    "identity": (("Transfer-Encoding: identity",), GOOD),
    "no coding": (("Transfer-Encoding: ",), GOOD),
    "a size that is none": ((CHUNKED,), b"x\r\n" + GOOD),
    "a size below 0": ((CHUNKED,), b"-1\r\n" + GOOD),
    "a size too large": ((CHUNKED,), b"FFFFFFFFFFFFFFFFF\r\n" + GOOD),
    "a size too small": ((CHUNKED,), b"2\r\n" + GOOD),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_is_refused_unread_does_not_become_a_request(address: str, chunked: bool) -> None:
    body = request(None, method="GET", path="/livez")
    whole = request(body, *H2C, path="/v1/losses/nope", chunked=chunked)
    for place in (len(whole), len(whole) - len(body), whole.index(b"\r\n\r\n") + 4, 30):
        with connected(address) as wire:
            wire.send(*(piece for piece in (whole[:place], whole[place:]) if piece), request(OTHER), pause=0.02)
            status, headers, _ = wire.read()
            assert status == 404
            if headers.get("connection") == "close":  # how much was still to come was not known
                assert (chunked, wire.at_end()) == (True, True)
            else:
                assert loss(wire.read()) == LOSSES[OTHER]


def test_a_body_that_looks_like_a_request_is_a_body(address: str) -> None:
    hidden = request(OTHER, "X-Request-ID: hidden")
    with connected(address) as wire:
        for chunked in (False, True):
            for first, second in ((1, 2), (200, 300), (9999, 9999)):
                whole = request(hidden, *H2C, chunked=chunked)
                wire.send(*(p for p in (whole[:first], whole[first:second], whole[second:]) if p))
                status, headers, content = wire.read()
                assert (status, headers["x-request-id"] != "hidden") == (400, True)
                assert "the body is not JSON" in json.loads(content)["detail"]
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]


@pytest.mark.parametrize("offer", [H2C, ()], ids=["h2c", "none"])
def test_chunk_extensions_change_nothing(address: str, offer: tuple[str, ...]) -> None:
    body = b"".join(b"%X;name=value\r\n%s\r\n" % (1, bytes([byte])) for byte in GOOD) + b"0;last\r\n\r\n"
    with connected(address) as wire:
        wire.send(request(None, *offer, JSON_TYPE, CHUNKED) + body + request(OTHER, *offer))
        assert [loss(wire.read()), loss(wire.read())] == [LOSSES[GOOD], LOSSES[OTHER]]


@pytest.mark.parametrize(
    "trailer", ["X-Request-ID: late", "Content-Encoding: gzip", "Connection: Upgrade", "Upgrade: x"]
)
@pytest.mark.parametrize("offer", [H2C, ()], ids=["h2c", "none"])
@pytest.mark.parametrize("pause", [False, True])
def test_a_trailer_is_no_header(address: str, trailer: str, offer: tuple[str, ...], pause: bool) -> None:
    head, body = request(None, *offer, JSON_TYPE, CHUNKED), chunks(GOOD)[:-2] + f"{trailer}\r\n\r\n".encode()
    with connected(address) as wire:
        wire.send(*([head, body] if pause else [head + body]), request(OTHER, *offer), pause=0.02)
        answer = wire.read()
        assert loss(answer) == LOSSES[GOOD]
        assert answer[1]["x-request-id"] != "late"
        assert loss(wire.read()) == LOSSES[OTHER]


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("offer", [H2C, ()], ids=["h2c", "none"])
def test_a_body_framed_wrongly_is_refused_and_nothing_after_it_answered(
    address: str, name: str, offer: tuple[str, ...]
) -> None:
    framing, body = WRONG[name]
    with connected(address) as wire:
        wire.send(request(None, *offer, JSON_TYPE, *framing) + body + request(OTHER))
        assert wire.read()[0] in (400, 501)
        assert wire.at_end()
    with connected(address) as wire:
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]
