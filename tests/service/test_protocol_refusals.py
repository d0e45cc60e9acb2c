"""What the connection itself refuses: after the answers that are due, and with a problem document."""

import json
from collections.abc import Iterator

import pytest

from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import LOSSES, OTHER, connected, loss, request


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


@pytest.mark.parametrize("garbage", [b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/9\r\nHost: x\r\n\r\n"])
def test_requests_before_what_is_none_are_answered(address: str, garbage: bytes) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD) + garbage + request(OTHER))
        assert loss(wire.read()) == LOSSES[GOOD]
        assert wire.read()[0] in (400, 505)
        assert wire.at_end()


@pytest.mark.parametrize("coding", ["gzip, chunked", "GZIP,CHUNKED", "deflate, chunked"])
def test_another_transfer_coding_is_not_spoken(address: str, coding: str) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    head = request(b"", f"Transfer-Encoding: {coding}").replace(b"Content-Length: 0\r\n", b"")
    with connected(address) as wire:
        wire.send(head + chunks)
        status, headers, content = wire.read()
        assert wire.at_end()
    assert status == 501
    found = json.loads(content)
    assert coding in found["detail"]
    assert found["request_id"] == headers["x-request-id"]
