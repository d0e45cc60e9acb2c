"""Settings from the environment."""

from typing import Any

import pytest

from service import command
from service.settings import Settings, SettingsError, load, unknown

DEFAULTS = {
    "host": "127.0.0.1",
    "port": 8000,
    "threads": 0,
    "device": "auto",
    "max_body_bytes": 2**30,
    "max_json_bytes": 2**25,
    "max_elements": 2**30,
    "head_seconds": 10,
    "body_seconds": 10,
    "send_seconds": 30,
    "idle_seconds": 75,
    "log_level": "info",
    "log_format": "text",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LOSSMETER_{name.upper()}", raising=False)


def test_the_defaults_are_those_that_are_documented() -> None:
    found = load().model_dump()
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104
        ("HOST", "::1", "::1"),
        ("PORT", "0", 0),
        ("PORT", "65535", 65535),
        ("THREADS", "3", 3),
        ("DEVICE", "cpu", "cpu"),
        ("DEVICE", "cuda", "cuda"),
        ("DEVICE_MEMORY_BYTES", "0", 0),
        ("DEVICE_MEMORY_BYTES", "256MiB", 2**28),
        ("DEVICE_FULL", "cpu", "cpu"),
        ("MAX_BODY_BYTES", "1000", 1000),
        ("MAX_BODY_BYTES", "1GiB", 2**30),
        ("MAX_JSON_BYTES", "2MiB", 2**21),
        ("MAX_ELEMENTS", "1", 1),
        ("HEAD_SECONDS", "0.5", 0.5),
        ("IDLE_SECONDS", "60", 60),
        ("LOG_LEVEL", "error", "error"),
        ("LOG_FORMAT", "json", "json"),
    ],
)
def test_a_variable_sets_its_setting(name: str, value: str, wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LOSSMETER_{name}", value)
    assert getattr(load(), name.lower()) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", ""),
        ("DEVICE_MEMORY_BYTES", "255MiB"),
        ("DEVICE_MEMORY_BYTES", "-1"),
        ("DEVICE_FULL", "gpu"),
        ("HEAD_SECONDS", "0"),
        ("BODY_SECONDS", "inf"),
        ("SEND_SECONDS", "nan"),
        ("IDLE_SECONDS", "0.5"),
        ("PORT", ""),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "80.5"),
        ("PORT", "8000\n9"),
        ("THREADS", "-1"),
        ("THREADS", "1000000"),
        ("DEVICE", "gpu"),
        ("DEVICE", "CUDA"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_BODY_BYTES", "-5"),
        ("MAX_BODY_BYTES", "much"),
        ("MAX_JSON_BYTES", "1 furlong"),
        ("MAX_JSON_BYTES", "0"),
        ("MAX_ELEMENTS", "0"),
        ("MAX_ELEMENTS", "1e9"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"LOSSMETER_{name}", value)
    with pytest.raises(SettingsError):
        load()
    with pytest.raises(SystemExit) as exit_:
        command.main(["serve"])
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"lossmeter: LOSSMETER_{name} is {value!r}: ")


def test_every_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSMETER_PORT", "x")
    monkeypatch.setenv("LOSSMETER_DEVICE", "x")
    with pytest.raises(SettingsError, match=r"LOSSMETER_PORT.*LOSSMETER_DEVICE"):
        load()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_names_that_are_no_settings_are_found() -> None:
    environment = {"LOSSMETER_PORTS": "1", "LOSSMETER_PORT": "1", "lossmeter_x": "1", "PATH": "1", "XLOSSMETER_A": "1"}
    assert unknown(environment) == ["LOSSMETER_PORTS", "lossmeter_x"]
