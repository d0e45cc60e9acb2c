"""The setting that lists the origins whose pages may ask."""

from typing import Any

import pytest

from service.settings import SettingsError, load
from tests.service.conftest import GOOD, JSON, LOSS, serving
from tests.service.origins import OTHER, PAGE, preflight


@pytest.mark.parametrize("sent", [f"{PAGE},{OTHER}", f" {PAGE} , {OTHER},", [PAGE, OTHER]])
def test_several_origins_may_be_set(sent: Any) -> None:
    with serving(cors_origins=sent) as made:
        for origin in (PAGE, OTHER):
            response = made.post(LOSS, content=GOOD, headers=JSON | {"Origin": origin})
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert preflight(made, origin=origin).headers["Access-Control-Allow-Origin"] == origin
        assert preflight(made, origin="https://b.example").status_code == 400


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        (" , ,", ()),
        ("*", ("*",)),
        ("https://a.example", ("https://a.example",)),
        ("https://a.example,https://b.example:8443", ("https://a.example", "https://b.example:8443")),
        ("https://sub.a.example", ("https://sub.a.example",)),
        ("https://losses.example", ("https://losses.example",)),
        ("http://localhost", ("http://localhost",)),
        ("http://localhost:3000 , http://127.0.0.1:3000", ("http://localhost:3000", "http://127.0.0.1:3000")),
        ("http://[::1]:8000", ("http://[::1]:8000",)),
        ("https://xn--bcher-kva.example", ("https://xn--bcher-kva.example",)),
        ("chrome-extension://abcdefghijklmnopqrstuvwxyz", ("chrome-extension://abcdefghijklmnopqrstuvwxyz",)),
    ],
)
def test_the_setting_lists_origins(monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]) -> None:
    monkeypatch.setenv("LOSSMETER_CORS_ORIGINS", text)
    assert load().cors_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example/",
        "https://a.example/path",
        "https://a.example?x",
        "https://a.example#x",
        "a.example",
        "//a.example",
        "https:a.example",
        "https:/a.example",
        "https://",
        "://a.example",
        "https://a b.example",
        "https://a.example https://b.example",
        "https://a.example;https://b.example",
        "https://*.example",
        "https://user@a.example",
        "https://a.example:port",
        "https://a.example\\b",
        "null",
        "**",
    ],
)
def test_what_is_no_origin_stops_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for value in (text, f"{PAGE},{text}"):
        monkeypatch.setenv("LOSSMETER_CORS_ORIGINS", value)
        with pytest.raises(SettingsError) as error:
            load()
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"LOSSMETER_CORS_ORIGINS is {text!r}: ")
