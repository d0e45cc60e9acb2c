"""Log lines: one a request, whatever a client sent, and never a tensor's values."""

import io
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.engine import Engine
from service.logs import LineFormatter, set_up_logging
from tests.service.conftest import JSON, LOSS
from tests.service.live import listening
from tests.service.raw import connected

HOSTILE = ["\n", "\r\n", "\0", "\x1b[31m", "\x7f", "\x85", "\x9b31m", "\u2028", "\u202e", "é", "\U0001f600", '"', " "]
HOSTILE += [' status=200 method="GET', "\\n", "=", "'", "\u200b", "\ufeff", "\ufffd"]


class Lines(io.StringIO):
    """What is logged, which is written a little later."""

    def text(self, count: int, said: str = "") -> str:
        """At least `count` lines, and `said` in them; the limit only keeps a test from hanging."""
        until = time.monotonic() + 20
        while (self.getvalue().count("\n") < count or said not in self.getvalue()) and time.monotonic() < until:
            time.sleep(0.01)
        return self.getvalue()

    def lines(self, count: int) -> list[str]:
        """Exactly `count`."""
        found = self.text(count).splitlines()
        assert len(found) == count, found
        return found


@pytest.fixture
def logged() -> Iterator[Callable[[str], Lines]]:
    """What is logged, in the form that is asked for."""
    logger, handlers = logging.getLogger("lossmeter"), []
    level = logger.level
    logger.setLevel(logging.INFO)

    def start(form: str) -> Lines:
        stream = Lines()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(LineFormatter(form))
        logger.addHandler(handler)
        handlers.append(handler)
        return stream

    yield start
    logger.setLevel(level)
    for handler in handlers:
        logger.removeHandler(handler)


Logged = Callable[[str], Lines]
WORD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ ]*)')


def test_a_request_is_one_line_of_text(client: TestClient, logged: Logged) -> None:
    stream = logged("text")
    content = b'{"logits": [[0, 1], [0, 1]], "targets": [0, 1]}'
    client.post(LOSS, content=content, headers=JSON | {"X-Request-ID": "abc"})
    (line,) = stream.lines(1)
    moment, level, logger, *words = line.split()
    assert moment.endswith("Z")
    assert (level, logger) == ("info", "lossmeter.access")
    fields = dict(word.split("=") for word in words)
    assert float(fields.pop("ms")) >= 0
    assert fields == {
        "method": "POST",
        "path": LOSS,
        "status": "200",
        "request_id": "abc",
        "measure": "cross_entropy",
        "samples": "2",
        "body_bytes": str(len(content)),
    }


def test_a_request_is_one_object_of_json(client: TestClient, logged: Logged) -> None:
    stream = logged("json")
    client.post(LOSS, json={"logits": [[0, 1]], "targets": [0]}, headers={"X-Request-ID": "abc"})
    client.get("/nope")
    first, second = (json.loads(line) for line in stream.lines(2))
    assert first.items() >= {"level": "info", "status": 200, "request_id": "abc", "samples": 1, "path": LOSS}.items()
    assert first["measure"] == "cross_entropy"
    assert second.items() >= {"method": "GET", "path": "/nope", "status": 404}.items()
    assert second["reason"] == "not-found"
    assert not {"measure", "body_bytes"} & set(second)
    assert "reason" not in first


def test_every_request_is_logged_with_its_status(client: TestClient, logged: Logged) -> None:
    stream = logged("json")
    client.head("/livez")
    client.post(LOSS, content=b"{", headers=JSON)
    client.post(LOSS, content=b"{}", headers={})
    client.delete("/livez")
    lines = [json.loads(line) for line in stream.lines(4)]
    assert [(line["method"], line["status"]) for line in lines] == [
        ("HEAD", 200),
        ("POST", 400),
        ("POST", 415),
        ("DELETE", 405),
    ]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_no_path_or_header_breaks_or_forges_a_line(client: TestClient, logged: Logged, hostile: str, form: str) -> None:
    stream = logged(form)
    path = "/" + "".join(f"%{byte:02x}" for byte in f"a{hostile}b".encode())
    client.get(path, headers=[(b"X-Request-ID", b"id" + hostile.encode().replace(b"\n", b"").replace(b"\r", b""))])
    written = stream.text(1)
    entry, end = written[:-1], written[-1:]
    assert end == "\n"
    assert entry.isprintable()
    fields = json.loads(entry) if form == "json" else {name: read(value) for name, value in WORD.findall(entry)}
    assert set(fields) - {"time", "level", "logger", "message"} == {
        *("method", "path", "status", "ms", "request_id", "reason")
    }
    assert fields["path"] == f"/a{hostile}b"
    assert str(fields["status"]) == "404"


def read(word: str) -> str:
    return str(json.loads(word)) if word.startswith('"') else word


def test_a_space_in_a_path_is_quoted(client: TestClient, logged: Logged) -> None:
    stream = logged("text")
    client.get("/a%20status=200%22")
    assert ' path="/a status=200\\"" status=404 ' in stream.text(1)


def test_a_long_path_is_cut(client: TestClient, logged: Logged) -> None:
    stream = logged("text")
    client.get("/" + "%0a" * 10_000)
    assert 200 < len(stream.text(1)) < 2000


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_value_of_a_tensor_is_logged(client: TestClient, logged: Logged, form: str) -> None:
    stream = logged(form)
    for fields in (
        {"logits": [[0.8675309, 1]], "targets": [0]},
        {"logits": [[0.8675309, 1]], "targets": [8675309]},
        {"logits": [["8675309", 1]], "targets": [0]},
        {"logits": [[1e40, 8675309]], "targets": [0]},
        {"8675309": 8675309},
    ):
        client.post(LOSS, json=fields)
    stream.lines(5)
    assert "8675309" not in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_failure_is_logged_with_its_reason_and_request_id(
    client: TestClient, logged: Logged, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the reason\n2026-01-01T00:00:00.000Z info forged")

    monkeypatch.setattr(Engine, "per_sample", fail)
    stream = logged(form)
    client.post(LOSS, json={"logits": [0, 1], "targets": 0}, headers={"X-Request-ID": "abc"})
    lines = stream.text(2, "lossmeter.access").splitlines()
    assert "abc" in lines[0]
    assert "RuntimeError: the reason" in stream.getvalue()
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert "status=500" in lines[-1] or json.loads(lines[-1])["status"] == 500


def line(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("lossmeter.x", logging.WARNING, __file__, 1, message, args, None)


def test_a_plain_message_is_one_line_too() -> None:
    assert LineFormatter("text").format(line("first %s", "a\r\nb")).endswith(" warning lossmeter.x first a\\r\\nb")
    entry = json.loads(LineFormatter("json").format(line("first %s", "a\nb")))
    assert (entry["message"], entry["level"], entry["logger"]) == ("first a\nb", "warning", "lossmeter.x")


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize(
    "hostile", [char for char in HOSTILE if not (char.isascii() and char.isprintable())], ids=ascii
)
def test_no_message_moves_a_terminals_cursor(hostile: str, failed: bool) -> None:
    record = line("first %s", f"a{hostile}b")
    if failed:
        record.exc_info = (ValueError, ValueError(f"c{hostile}d"), None)
    for form in ("text", "json"):
        written = LineFormatter(form).format(record)
        assert all(line.isascii() and line.isprintable() for line in written.split("\n"))
        assert (written.count("\n") > 0) == (form == "text" and failed)
        assert all(line.startswith("  ") for line in written.split("\n")[1:])


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_query_and_no_secret_is_logged(
    client: TestClient, logged: Logged, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = logged(form)
    sent = dict.fromkeys(("X-API-Key", "Cookie", "Content-Encoding", "Accept", "traceparent"), "hunter2")
    sent |= {"Authorization": "Bearer hunter2"}
    paths = [LOSS, "/v2/models/cross_entropy/infer", "/v1/losses/nope", "/nope", "/livez", "/docs"]
    for path in paths:
        client.post(f"{path}?token=hunter2", content=b'{"hunter2": "hunter2"}', headers=JSON | sent)
        client.get(f"{path}?dtype=hunter2", headers=sent)
    monkeypatch.setattr("service.app.info", None)
    assert client.get("/v1/info?token=hunter2", headers=sent).status_code == 500
    assert "Traceback" in stream.text(2 * len(paths) + 2, "/v1/info")
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_no_request_is_one_line_too(logged: Logged, form: str) -> None:
    stream = logged(form)
    heads = [f"Transfer-Encoding: {hostile}, chunked" for hostile in HOSTILE if "\n" not in hostile]
    with listening() as address:
        for head in heads:
            with connected(address) as wire:
                wire.send(f"POST {LOSS}?token=hunter2 HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
                wire.at_end()
        ours = [line for line in stream.text(len(heads)).splitlines() if "lossmeter.access" in line]
    assert len(ours) == len(heads)
    assert all(line.isascii() and line.isprintable() and "hunter2" not in line for line in ours)


def test_logs_go_to_standard_output_from_their_level_up(monkeypatch: pytest.MonkeyPatch) -> None:
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    kept = root.handlers[:], root.level, server.name
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    root.handlers = []
    try:
        set_up_logging("warning", "json")
        logging.getLogger("lossmeter.x").info("unheard")
        logging.getLogger("lossmeter.x").warning("heard")
        server.error("of the server")
    finally:
        root.handlers, (root.level, server.name) = kept[0], kept[1:]
        root.setLevel(kept[1])
    lines = [json.loads(entry) for entry in stream.getvalue().splitlines()]
    assert [(entry["message"], entry["logger"]) for entry in lines] == [
        ("heard", "lossmeter.x"),
        ("of the server", "lossmeter.server"),
    ]
