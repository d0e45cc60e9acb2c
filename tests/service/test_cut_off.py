"""A body that is cut off is one line in the log, with status 499, and nothing else."""

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from service.app import Service
from tests.service.bodies import INFER
from tests.service.conftest import GOOD
from tests.service.raw import CHUNKED, JSON_TYPE, LOSSES, SIZED, Wire, connected, loss, request
from tests.service.test_admission import running, until
from tests.service.test_wire_hang_ups import reset

LONG = 9_000_000
ANSWERED = [("POST", 200), ("GET", 200)]  # what is asked afterwards
CUT = {
    "small": request(None, JSON_TYPE, SIZED) + GOOD[:-1],
    "inference": request(None, JSON_TYPE, SIZED, path=INFER) + GOOD[:5],
    "a chunk": request(None, JSON_TYPE, CHUNKED) + b"20\r\n" + GOOD[:20],
    "between chunks": request(None, JSON_TYPE, CHUNKED) + b"%x\r\n%b\r\n" % (len(GOOD), GOOD),
    "long": request(None, JSON_TYPE, f"Content-Length: {LONG}") + b" " * 300_000,
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Service, str]]:
    """An app, and where it listens."""
    with running() as made:
        yield made


def fin(wire: Wire) -> None:
    wire.file.close()
    wire.socket.close()


def half(wire: Wire) -> None:
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.at_end()


def rst(wire: Wire) -> None:
    reset(wire.socket)
    fin(wire)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the log says of requests."""
    return [fields for entry in caplog.records for _, fields in getattr(entry, "lines", ())]


@pytest.mark.parametrize("end", [fin, half, rst])
@pytest.mark.parametrize("name", CUT)
def test_a_body_that_is_cut_off_is_one_line(
    name: str, end: Any, served: tuple[Service, str], computed: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    app, address = served
    until(lambda: app.admission.bytes == 0)
    with caplog.at_level(logging.INFO), connected(address) as other:
        with connected(address) as wire:
            wire.send(CUT[name])
            until(lambda: app.admission.bytes > 0)  # it is being read
            end(wire)
            until(lambda: app.admission.bytes == 0)
        assert computed == []
        other.send(request(GOOD))
        assert loss(other.read()) == LOSSES[GOOD]
        other.send(request(None, method="GET", path="/livez"))
        assert other.read()[0] == 200
        until(lambda: any(fields["path"] == "/livez" for fields in lines(caplog)))
    assert [(fields["method"], fields["status"]) for fields in lines(caplog)] == [("POST", 499), *ANSWERED]
    assert lines(caplog)[0]["samples"] is None
    ours = [entry for entry in caplog.records if entry.name.startswith(("lossmeter", "uvicorn"))]
    assert {(entry.levelno, hasattr(entry, "lines")) for entry in ours} == {(logging.INFO, True)}
    until(lambda: app.admission.bytes == 0)
