"""The settings of API keys: what is a key, what stops the start, and that none is ever shown."""

import hmac
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from service import command
from service.keys import MOST_FILE_BYTES, Keys
from service.settings import Settings, SettingsError, load

FIRST, SECOND, THIRD = "first-key-0123456789", "#second~key!/0123=+", "third-key-9876543210"


def values(keys: tuple[SecretStr, ...]) -> list[str]:
    return [key.get_secret_value() for key in keys]


def refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    """What the start is refused with, by load and by the command."""
    monkeypatch.setenv(f"LOSSMETER_{name}", value)
    with pytest.raises(SettingsError) as error:
        load()
    with pytest.raises(SystemExit) as exit_:
        command.main(["serve"])
    assert exit_.value.code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (FIRST, [FIRST]),
        (f"{FIRST},{SECOND}", [FIRST, SECOND]),
        (f" {FIRST} ,, {SECOND} , ", [FIRST, SECOND]),
        ("x" * 16, ["x" * 16]),
        ("".join(chr(code) for code in range(33, 127) if code != 44), None),
    ],
)
def test_the_setting_lists_keys(monkeypatch: pytest.MonkeyPatch, text: str, wanted: list[str] | None) -> None:
    monkeypatch.setenv("LOSSMETER_API_KEYS", text)
    assert values(load().api_keys) == (wanted or [text])


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_a_setting_without_a_key_stops_the_start_and_does_not_open_the_service(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert refused(monkeypatch, "API_KEYS", text) == "LOSSMETER_API_KEYS: there must be at least one key"


@pytest.mark.parametrize(
    "bad", ["secret", "x" * 15, "secret with spaces 0", "sécret-0123456789", "secret-01234567\x7f89"]
)
def test_what_is_no_key_is_refused_by_its_number(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    said = refused(monkeypatch, "API_KEYS", f"{FIRST},{bad}")
    assert said == ("LOSSMETER_API_KEYS: key 2 must be at least 16 visible ASCII characters, without a comma or space")


def test_the_keys_of_a_file_are_those_of_its_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(f"# of the trainers\r\n{FIRST}\r\n\n  # more\n\t{THIRD} \n   \n".encode())
    monkeypatch.setenv("LOSSMETER_API_KEYS_FILE", str(file))
    monkeypatch.setenv("LOSSMETER_API_KEYS", SECOND)
    found = load()
    assert values(found.api_keys_file) == [FIRST, THIRD]
    assert values(found.api_keys) == [SECOND]
    file.unlink()
    assert values(found.api_keys_file) == [FIRST, THIRD]  # it is read once


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "there must be at least one key"),
        (b"\n \n# only words\n", "there must be at least one key"),
        (f"{FIRST}\n\nsecret\n".encode(), "line 3 must be at least 16 visible ASCII characters"),
        (f"{FIRST},{SECOND}\n".encode(), "line 1 must be"),
        (f"{FIRST} # of whom\n".encode(), "line 1 must be"),
        (b"\xff\xfe" + FIRST.encode("utf-16le"), "line 1 must be"),
        (b"\xef\xbb\xbf" + FIRST.encode(), "line 1 must be"),
        (f"{FIRST}\n".encode() + b"#" * MOST_FILE_BYTES, f"the file must have at most {MOST_FILE_BYTES} bytes"),
        (None, "the file cannot be read: No such file or directory"),
    ],
)
def test_a_bad_file_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "secret-of-the-file"
    if content is not None:
        file.write_bytes(content)
    said = refused(monkeypatch, "API_KEYS_FILE", str(file))
    assert said.startswith(f"LOSSMETER_API_KEYS_FILE: {why}")
    assert "secret" not in said
    assert FIRST not in said


@pytest.mark.parametrize("path", ["", "/", FIRST, "/dev/zero", "a\0b"])
def test_what_is_no_file_stops_the_start_and_is_not_shown(path: str) -> None:
    """It may be a key, in the wrong variable."""
    with pytest.raises(ValidationError) as error:
        Settings(api_keys_file=path)
    assert FIRST not in str(error.value)


def test_a_key_in_the_files_place_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FIRST not in refused(monkeypatch, "API_KEYS_FILE", FIRST)


def test_no_text_of_the_settings_shows_a_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    file.write_text(FIRST)
    monkeypatch.setenv("LOSSMETER_API_KEYS", SECOND)
    monkeypatch.setenv("LOSSMETER_API_KEYS_FILE", str(file))
    found = load()
    with pytest.raises(SystemExit):
        command.main(["--help"])
    keys = Keys([*found.api_keys, *found.api_keys_file])
    texts = [repr(found), str(found), str(found.model_dump()), found.model_dump_json(), repr(keys), str(vars(keys))]
    texts += capsys.readouterr()
    for text in texts:
        assert FIRST not in text
        assert SECOND not in text


@pytest.mark.parametrize("keys", [["secret"], [FIRST, "a secret"], 7, [None], [SecretStr("secret")]])
def test_keys_from_a_program_are_checked_and_hidden_too(keys: Any) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(api_keys=keys)
    assert "secret" not in str(error.value).replace("api_keys", "")
    assert FIRST not in str(error.value)


def test_settings_with_keys_reach_a_worker() -> None:
    given: Any = {"api_keys": [FIRST]}
    assert values(pickle.loads(pickle.dumps(Settings(**given))).api_keys) == [FIRST]  # noqa: S301


def test_a_key_is_known_in_whatever_place_and_compared_with_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    constant_time = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one + other))
        return constant_time(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    known = Keys(map(SecretStr, (FIRST, SECOND, THIRD)))
    sent = [FIRST, SECOND, THIRD, "", FIRST[:-1], f"{FIRST} ", FIRST.upper(), "\xe9" * 20, "\u2028"]
    for place, text in enumerate(sent):
        compared.clear()
        assert known.know(text) is (place < 3)
        assert compared == [64, 64, 64]  # hashes of both sides, however long the text
