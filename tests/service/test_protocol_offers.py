"""Every way to offer an upgrade: none is taken, and the body, if there is one, is kept."""

import json
from collections.abc import Iterator

import pytest

from tests.service.conftest import GOOD, LOSS
from tests.service.live import listening
from tests.service.raw import (
    CHUNKED,
    H2C,
    JSON_TYPE,
    LOSSES,
    OTHER,
    SIZED,
    WEBSOCKET,
    chunks,
    connected,
    loss,
    request,
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening(max_json_bytes=2000) as made:
        yield made


@pytest.mark.parametrize(
    "offer",
    [
        ("connection: upgrade", "upgrade: H2C"),
        ("Connection: keep-alive, Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        ("Connection: Upgrade", "Connection: HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: "),
        ("Connection: HTTP2-Settings", "Connection: Upgrade", "Upgrade: h2c"),
        ("Upgrade: h2c", "Connection: Upgrade"),
        ("Connection: Upgrade", "Upgrade: h2c, websocket"),
        ("Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/1.1"),
        ("Connection: Upgrade", "Upgrade: "),
        ("Connection: Upgrade",),
        ("Upgrade: h2c",),
        ("Upgrade: h2c", "Connection: keep-alive"),
        ("Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket"),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_however_it_is_offered_the_body_is_kept(address: str, offer: tuple[str, ...], last: bool) -> None:
    with connected(address) as wire:
        for framing, content in ((SIZED, GOOD), (CHUNKED, chunks(GOOD))):
            headers = (framing, JSON_TYPE, *offer) if last else (*offer, JSON_TYPE, framing)
            head = request(None, *headers)
            for pieces in ([head + content], [head, content], [head, content[:-1], content[-1:]]):
                wire.send(*pieces)
                assert loss(wire.read()) == LOSSES[GOOD]
        wire.send(request(OTHER))
        assert loss(wire.read()) == LOSSES[OTHER]


@pytest.mark.parametrize("length", ["0", "00", "000000000000"])
def test_an_empty_body_is_empty(address: str, length: str) -> None:
    head = request(None, *H2C, JSON_TYPE, f"Content-Length: {length}")
    with connected(address) as wire:
        for pieces in ([head], [head[:-1], head[-1:]], [head + request(OTHER, *H2C)], [head, request(GOOD)]):
            wire.send(*pieces)
            status, _, content = wire.read()
            assert (status, json.loads(content)["type"]) == (400, "/problems/malformed")
            if len(b"".join(pieces)) > len(head):
                assert loss(wire.read()) in LOSSES.values()


def test_a_post_with_no_framing_has_no_body(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, *H2C, JSON_TYPE) + request(OTHER))
        assert wire.read()[0] == 400
        assert loss(wire.read()) == LOSSES[OTHER]


def test_an_empty_chunked_body_is_empty(address: str) -> None:
    with connected(address) as wire:
        wire.send(request(None, *H2C, JSON_TYPE, CHUNKED) + b"0\r\n\r\n" + request(OTHER, *H2C))
        assert wire.read()[0] == 400
        assert loss(wire.read()) == LOSSES[OTHER]


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_without_a_body_may_offer_too(address: str, offer: tuple[str, ...], method: str) -> None:
    head = request(None, *offer, method=method, path="/v1/info")
    with connected(address) as wire:
        for place in range(1, len(head) + 1):
            wire.send(*(piece for piece in (head[:place], head[place:]) if piece))
            line, headers = wire.file.readline(), {}
            while said := wire.file.readline().strip():
                name, _, value = said.partition(b": ")
                headers[name.lower()] = value
            assert line.split()[1] == (b"405" if method == "DELETE" else b"200")
            wire.file.read(0 if method == "HEAD" else int(headers[b"content-length"]))
        wire.send(head, request(GOOD, *offer))
        if method == "HEAD":
            while wire.file.readline().strip():
                pass
        else:
            wire.read()
        assert loss(wire.read()) == LOSSES[GOOD]


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, ()], ids=["h2c", "websocket", "none"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_body_is_asked_for_where_the_client_waits(address: str, offer: tuple[str, ...], chunked: bool) -> None:
    framing, content = (CHUNKED, chunks(GOOD)) if chunked else (SIZED, GOOD)
    with connected(address) as wire:
        for pieces in ([content], [content[:5], content[5:]]):
            wire.send(request(None, *offer, JSON_TYPE, framing, "Expect: 100-continue"))
            assert wire.read() == (100, {}, b"")
            wire.send(*pieces)
            assert loss(wire.read()) == LOSSES[GOOD]
        wire.send(request(OTHER, *offer))
        assert loss(wire.read()) == LOSSES[OTHER]


def test_the_body_is_not_asked_for_where_it_is_refused(address: str) -> None:
    for refused, status in (
        (("Content-Type: text/plain", SIZED), 415),
        ((JSON_TYPE, "Content-Length: 2001"), 413),
    ):
        with connected(address) as wire:
            wire.send(request(None, *H2C, *refused, "Expect: 100-continue"))
            assert wire.read()[0] == status


@pytest.mark.parametrize("headers", [("Connection: close, Upgrade", "Upgrade: h2c"), (*H2C, "Connection: close")])
def test_a_client_that_closes_gets_one_answer(address: str, headers: tuple[str, ...]) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD, *headers), request(OTHER))
        assert loss(wire.read()) == LOSSES[GOOD]
        assert wire.at_end()


def test_the_old_version_may_offer_too(address: str) -> None:
    for chunked in (False, True):
        with connected(address) as wire:
            wire.send(request(GOOD, *H2C, version="1.0", chunked=chunked))
            assert loss(wire.read()) == LOSSES[GOOD]
            assert wire.at_end()


def test_no_offer_is_ever_taken(address: str) -> None:
    with connected(address) as wire:
        for path in ("/v1/losses", LOSS, "/v2", "/nope"):
            for offer in (H2C, WEBSOCKET):
                wire.send(request(None, *offer, method="GET", path=path))
                status, headers, _ = wire.read()
                assert status in (200, 404)
                assert "upgrade" not in headers
