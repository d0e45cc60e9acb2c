"""Whatever is in a head, the log has one line for it, and nothing in that but printable ASCII."""

import json
import random
import re

import pytest

from tests.service.conftest import GOOD, LOSS
from tests.service.raw import LOSSES, connected, loss, request
from tests.service.test_protocol_heads import TLS_HELLO
from tests.service.test_server import free_port, started, wait_until_ready

ODD = [b"\0", b"\r", b"\n", b"\x1b[31m", b"\x7f", b"\x85", b"\x9b31m", b"\xe2\x80\xa8", b"\xc3\xa9", b"\xff", b"\x0b"]
START = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning) +lossmeter\.")
FIELD = request(GOOD, "X-Request-ID: a@b")
TARGET = request(GOOD, path=f"{LOSS}@")
METHOD = request(GOOD, method="PO@ST")
NAME = request(GOOD, "X-Request@ID: a")
FOLDED = [request(GOOD, f"X-Request-ID: a{end}{space}b") for end in ("\r\n", "\n") for space in (" ", "\t")]


def garbage(seed: int) -> bytes:
    """Random bytes that do not begin with an empty line, and end as heads do."""
    found = random.Random(seed).randbytes(200)
    return b"\x01" + found + b"\r\n\r\n"


def broken() -> list[bytes]:
    """Heads that are none."""
    places = [where.replace(b"@", odd, 1) for where in (TARGET, METHOD, NAME) for odd in ODD]
    fields = [FIELD.replace(b"@", odd, 1) for odd in (b"\0", b"\r", b"\n", b"\x1b[31m", b"\x7f", b"\x0b")]
    return [*places, *fields, *FOLDED, *(garbage(seed) for seed in range(20)), TLS_HELLO, b"GET\r\n\r\n"]


def strange() -> list[bytes]:
    """Requests of odd text, for what is not there."""
    escaped = ["%00", "%0a", "%0d%0a", "%1b[31m", "%7f", "%85", "%c3%a9", "%e2%80%a8", "%ff", "%22%20status=200"]
    return [request(None, method="GET", path=f"/nothing{text}") for text in escaped]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_in_a_head_is_one_line_of_printable_ascii(form: str) -> None:
    port = free_port()
    with started(PORT=str(port), LOG_FORMAT=form) as process:
        wait_until_ready(process, port)
        refused = []
        for sent in (*broken(), *strange()):
            with connected(f"127.0.0.1:{port}") as wire:
                wire.send(sent)
                status, headers, content = wire.read()
                assert 400 <= status < 500, (sent, status)
                assert json.loads(content)["request_id"] == headers["x-request-id"]
                refused.append((sent, status, headers["x-request-id"]))
        with connected(f"127.0.0.1:{port}") as wire:
            wire.send(request(GOOD))
            assert loss(wire.read()) == LOSSES[GOOD]
        process.terminate()
        text, _ = process.communicate(timeout=90)
    lines = text.removesuffix("\n").split("\n")
    for line in lines:
        assert line.isascii(), line
        assert line.isprintable(), line
        assert form == "json" or START.match(line), line
    requests = [line for line in lines if "lossmeter.access" in line and "/readyz" not in line]
    assert len(requests) == len(refused) + 1
    for line, (sent, status, request_id) in zip(requests, refused, strict=False):
        assert request_id in line, sent
        if form == "json":
            fields = json.loads(line)
            assert (fields["status"], fields["request_id"]) == (status, request_id), sent
        else:
            assert f" status={status} " in line, sent
