"""Many requests on a connection, good and bad: answered in their order, the last one a refusal, each counted."""

import asyncio
import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from service.parser import MAX_HEAD_BYTES
from service.protocol import READ_BYTES
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import CHUNKED, H2C, JSON_TYPE, LOSSES, OTHER, WEBSOCKET, chunks, connected, loss, request
from tests.service.test_cycle import app, body, start
from tests.service.test_protocol_framing import WRONG
from tests.service.wires import assert_unharmed, only_answer, refusal, wait_for

MIXED: list[tuple[int, bytes]] = [
    (200, request(GOOD)),
    (200, request(OTHER, *H2C)),
    (200, request(OTHER, chunked=True)),
    (200, request(None, method="GET", path="/livez")),
    (404, request(None, method="GET", path="/nope")),
    (404, request(GOOD, *WEBSOCKET, path="/nope", chunked=True)),
    (400, request(b"{")),
    (422, request(b'{"logits": [[1, 2]], "targets": [7]}')),
    (415, request(None, "Content-Type: text/plain", "Content-Length: 3") + b"abc"),
    (405, request(GOOD, path="/v1/losses")),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


def named(requests: list[bytes]) -> bytes:
    """`requests`, each with its number as its id."""
    ids = (b"\r\nX-Request-ID: r%d\r\nHost" % place for place in range(len(requests)))
    return b"".join(one.replace(b"\r\nHost", identity, 1) for one, identity in zip(requests, ids, strict=True))


@pytest.mark.parametrize("size", [10**6, 65_536, 1000])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_requests_are_answered_in_their_order(address: str, size: int, seed: int) -> None:
    drawn = random.Random(seed).choices(MIXED, k=1000)
    whole = named([sent for _, sent in drawn])
    with connected(address) as wire:
        for start_ in range(0, len(whole), size):
            wire.socket.sendall(whole[start_ : start_ + size])
        found = [wire.read() for _ in drawn]
        assert [status for status, _, _ in found] == [status for status, _ in drawn]
        assert [headers["x-request-id"] for _, headers, _ in found] == [f"r{place}" for place in range(1000)]
        wire.send(request(GOOD))
        assert loss(wire.read()) == LOSSES[GOOD]


BROKEN = {
    400: b"GET / HTTP/1.1\r\n\r\n",
    501: request(None, JSON_TYPE, "Transfer-Encoding: gzip, chunked") + chunks(GOOD),
    505: request(GOOD, version="2.0"),
    431: request(None, *(f"x{number}: a" for number in range(200)), method="GET"),
    414: request(None, method="GET", path="/" + "a" * 9000),
}


@pytest.mark.parametrize("status", BROKEN)
@pytest.mark.parametrize("before", [0, 1, 2, 500])
def test_a_refusal_comes_after_the_answers_before_it_and_nothing_after_it(
    address: str, status: int, before: int
) -> None:
    drawn = random.Random(status).choices(MIXED, k=before)
    with connected(address) as wire:
        wire.send(b"".join(sent for _, sent in drawn) + BROKEN[status] + request(OTHER) * 3)
        assert [wire.read()[0] for _ in drawn] == [expected for expected, _ in drawn]
        refusal(wire.read(), status)
        assert wire.at_end()
    assert_unharmed(address)


@pytest.mark.parametrize("broken", ["ZZ\r\n", "5\r\nhelloXX"])
def test_a_body_that_breaks_behind_others_is_refused_in_its_turn(address: str, broken: str) -> None:
    with connected(address) as wire:
        wire.send(request(GOOD) * 3 + request(None, JSON_TYPE, CHUNKED) + broken.encode() + request(OTHER))
        assert [loss(wire.read()) for _ in range(3)] == [LOSSES[GOOD]] * 3
        refusal(wire.read(), 400)
        assert wire.at_end()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_framing_has_one_answer_wherever_it_is_cut(address: str, name: str) -> None:
    framing, content = WRONG[name]
    whole = request(None, JSON_TYPE, *framing) + content + request(OTHER, "X-Request-ID: hidden")
    for pieces in ([bytes([byte]) for byte in whole], *([whole[:place], whole[place:]] for place in range(1, 130, 7))):
        status, headers, _ = only_answer(address, *pieces)
        assert (status in (400, 501), headers["x-request-id"] != "hidden") == (True, True)


def test_a_name_before_a_space_hides_no_request(address: str) -> None:
    hidden = request(OTHER, "X-Request-ID: hidden")
    for line in ("Transfer-Encoding : chunked", "Content-Length : 0", "Transfer-Encoding\t: chunked"):
        whole = request(None, JSON_TYPE, line, f"Content-Length: {len(hidden)}") + hidden
        refusal(only_answer(address, whole), 400)


def test_what_is_kept_of_a_flood_of_requests_is_bounded() -> None:
    kept: list[Any] = []

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(scope["lossmeter.cycle"].protocol)
        await release.wait()
        await send(start((b"content-length", b"0")))
        await send(body())

    release, small = asyncio.Event(), b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    with app(stuck) as address, connected(address) as wire:
        wire.socket.settimeout(1)
        sent = 0
        try:
            while sent < 10**8:
                sent += wire.socket.send(small * 10_000)
        except TimeoutError:
            pass
        protocol = kept[0]
        assert sent < 10**8
        assert len(kept) == 1
        assert 1 <= len(protocol._waiting) <= MAX_HEAD_BYTES // len(small) + 1
        assert len(protocol._rest) <= READ_BYTES
        protocol.loop.call_soon_threadsafe(release.set)
        wire.socket.settimeout(20)
        assert [wire.read()[0] for _ in range(5000)] == [200] * 5000


def test_refusals_are_counted_and_logged_as_any_answer(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lossmeter.access")
    identities = {}
    for status, sent in BROKEN.items():
        _, headers, content = only_answer(address, sent)
        identities[headers["x-request-id"]] = status, json.loads(content)["type"]
    assert len({kind for _, kind in identities.values()}) == len(BROKEN)

    def lines() -> list[dict[str, Any]]:
        records = [getattr(record, "lines", ()) for record in caplog.records]
        return [fields for record in records for _, fields in record if fields["request_id"] in identities]

    wait_for(lambda: len(lines()) == len(BROKEN))
    assert {fields["request_id"]: fields["status"] for fields in lines()} == {
        identity: status for identity, (status, _) in identities.items()
    }
    with connected(address) as wire:
        wire.send(request(None, method="GET", path="/metrics"))
        text = wire.read()[2].decode()
    for status in BROKEN:
        assert f'lossmeter_requests_total{{measure="",status="{status}"}}' in text
    assert "lossmeter_in_flight_requests 1.0" in text
