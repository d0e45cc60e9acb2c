"""The command line: serve, healthy, --help, --version."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import core
from service import command
from service.server import Server
from service.settings import Settings


def served(monkeypatch: pytest.MonkeyPatch, starts: bool = True) -> list[Any]:
    """What logging and the server were asked for; the server is not started, but says whether it `starts`."""
    calls: list[Any] = []

    def run(server: Server, sockets: list[socket.socket]) -> None:
        server.started = starts
        calls.append(server.config)

    monkeypatch.setenv("LOSSMETER_PORT", "0")  # a free one: others may listen on the default
    monkeypatch.setattr(Server, "run", run)
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    monkeypatch.setattr("service.process.watch", lambda turns, seconds: None)
    monkeypatch.setattr("service.process.leave_stuck_threads", lambda: None)
    monkeypatch.setattr(command, "set_up_logging", lambda level, form: calls.append({"level": level, "form": form}))
    return calls


@pytest.mark.parametrize("arguments", [["serve"], []])
def test_serve_is_the_command_and_takes_host_and_port(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = served(monkeypatch)
    monkeypatch.setenv("LOSSMETER_PORT", "1234")
    monkeypatch.setenv("LOSSMETER_HOST", "127.0.0.9")
    monkeypatch.setenv("LOSSMETER_LOG_FORMAT", "json")
    command.main(arguments)
    logging, config = calls
    assert logging == {"level": "info", "form": "json"}
    assert (config.host, config.port) == ("127.0.0.9", 1234)
    assert config.timeout_keep_alive > 60


def test_a_server_that_does_not_start_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, starts=False)
    with pytest.raises(SystemExit) as exit_:
        command.main([])
    assert exit_.value.code == 3


def test_an_unknown_name_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    served(monkeypatch)
    monkeypatch.setattr(command, "unknown", lambda: ["LOSSMETER_PROT"])
    command.main([])
    assert "LOSSMETER_PROT" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        (line,) = [line for line in text.splitlines() if f"LOSSMETER_{name.upper()} " in line]
        assert str(field.description) in line
        default = {"()": "none", "True": "true", "False": "false"}.get(str(field.default), field.default)
        assert f"[{default}]" in line


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--version"])
    assert capsys.readouterr().out.strip() == core.__version__


@pytest.mark.parametrize("argument", ["start", "--port=80"])
def test_another_argument_is_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main([argument])
    assert exit_.value.code == 2
    assert "usage: lossmeter" in capsys.readouterr().err


class Probe(http.server.BaseHTTPRequestHandler):
    """Answers /readyz with the status that the test asks for."""

    status = 200

    def do_GET(self) -> None:
        assert self.path == "/readyz"
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def probed() -> Iterator[int]:
    """The port of something that answers as Probe does."""
    with http.server.HTTPServer(("127.0.0.1", 0), Probe) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_healthy_exits_as_the_service_is_ready(
    probed: int, status: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Probe, "status", status)
    monkeypatch.setenv("LOSSMETER_PORT", str(probed))
    with pytest.raises(SystemExit) as exit_:
        command.main(["healthy"])
    assert int(exit_.value.code or 0) == code


def test_nobody_there_is_not_healthy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert not command.healthy(Settings(port=taken.getsockname()[1]))


@pytest.mark.parametrize("words", [b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
def test_something_else_there_is_not_healthy(words: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(words)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            assert not command.healthy(Settings(port=server.getsockname()[1]))
        finally:
            thread.join()


def test_healthy_asks_the_address_that_is_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Connection:
        def __init__(self, host: str, port: int, timeout: float) -> None:
            asked.append(host)

        def request(self, method: str, path: str) -> None:
            raise OSError

        def close(self) -> None:
            pass

    monkeypatch.setattr("http.client.HTTPConnection", Connection)
    for host in ("127.0.0.9", "0.0.0.0", "::", "::1"):  # noqa: S104
        assert not command.healthy(Settings(host=host))
    assert asked == ["127.0.0.9", "127.0.0.1", "::1", "::1"]
