"""Heads that are not those of an HTTP/1.1 request with one Host: refused, or taken for what they are."""

import json
from collections.abc import Iterator

import pytest

from tests.service.conftest import GOOD, LOSS
from tests.service.live import listening
from tests.service.raw import H2C, LOSSES, OTHER, connected, loss, request

HOST = b"Host: localhost\r\n"
TLS_HELLO = bytes.fromhex("16030100a5010000a10303") + b"\x01" * 160
NO_REQUEST = {
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS hello": TLS_HELLO,
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
    "CONNECT with a body": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nContent-Length: 3\r\n\r\nabc",
    "version 3.7": request(GOOD, version="3.7"),
    "version 1.2": request(GOOD, version="1.2"),
    "a name before a space": request(GOOD).replace(b"Host:", b"Host :"),
    "a folded line": request(GOOD, "X-Request-ID: a\r\n b"),
    "bare line feeds": request(GOOD).replace(b"\r\n", b"\n"),
    "method in lower case": request(GOOD, method="post"),
    "unknown method": request(GOOD, method="LOSS"),
    "NUL in a header": request(GOOD, "X-Request-ID: a\0b"),
    "no path": request(GOOD, path=""),
}
NO_HOST = {
    "none": request(GOOD).replace(HOST, b""),
    "none, with an upgrade": request(GOOD, *H2C).replace(HOST, b""),
    "two": request(GOOD, "Host: other"),
    "the same twice": request(GOOD, "Host: localhost"),
}
OTHER_VERSIONS = {version: request(GOOD, version=version) for version in ("2.0", "0.9")}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


def refused(address: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """The only answer to `sent`, after which the connection is closed."""
    with connected(address) as wire:
        wire.send(sent + request(OTHER))
        answer = wire.read()
        assert wire.at_end()
    return answer


@pytest.mark.parametrize("name", NO_REQUEST)
def test_what_is_no_request_is_refused_and_the_connection_closed(address: str, name: str) -> None:
    status, headers, _ = refused(address, NO_REQUEST[name])
    assert status in (400, 405, 501, 505)
    assert "upgrade" not in headers
    with connected(address) as wire:
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]


@pytest.mark.parametrize("name", NO_HOST)
def test_a_request_has_one_host(address: str, name: str) -> None:
    assert refused(address, NO_HOST[name])[0] == 400


@pytest.mark.parametrize("host", ["a b", "a, b", "http://a/", "a@b", "\xe4"])
def test_the_host_is_a_host(address: str, host: str) -> None:
    status, _, content = refused(address, request(GOOD).replace(HOST, f"Host: {host}\r\n".encode("latin-1")))
    assert status == 400
    assert "the Host is" in json.loads(content)["detail"]


@pytest.mark.parametrize("host", ["", "localhost", "a-b.c_d:8000", "127.0.0.1:1", "[::1]:8000", "[fe80::1%25eth0]"])
def test_every_host_is_taken(address: str, host: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD).replace(HOST, f"Host: {host}\r\n".encode()))
        assert loss(wire.read()) == LOSSES[GOOD]


@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_other_versions_of_http_are_not_spoken(address: str, version: str) -> None:
    assert refused(address, OTHER_VERSIONS[version])[0] in (400, 505)


def test_what_is_no_request_is_refused_with_a_problem(address: str) -> None:
    for name, sent in NO_REQUEST.items():
        status, headers, content = refused(address, sent)
        assert headers["content-type"] == "application/problem+json", name
        found = json.loads(content)
        assert (found["status"], found["error"]) == (status, found["detail"]), name
        assert found["request_id"] == headers["x-request-id"], name


def test_version_1_0_is_answered_and_the_connection_closed(address: str) -> None:
    for sent in (request(GOOD, version="1.0"), request(GOOD, version="1.0").replace(HOST, b"")):
        with connected(address) as wire:
            wire.send(sent)
            assert loss(wire.read()) == LOSSES[GOOD]
            assert wire.at_end()


@pytest.mark.parametrize("path", [f"http://localhost{LOSS}", f"HTTP://other:8000{LOSS}", f"https://[::1]{LOSS}?x=1"])
def test_a_target_in_absolute_form_is_taken(address: str, path: str) -> None:
    with connected(address) as wire:
        for offer in ((), H2C):
            wire.send(request(GOOD, *offer, path=path))
            assert loss(wire.read()) == LOSSES[GOOD]


def test_empty_lines_before_a_request_are_skipped(address: str) -> None:
    with connected(address) as wire:
        for offer in ((), H2C):
            wire.send(b"\r\n\r\n" + request(GOOD, *offer) + b"\r\n" + request(OTHER))
            assert [loss(wire.read()), loss(wire.read())] == [LOSSES[GOOD], LOSSES[OTHER]]
