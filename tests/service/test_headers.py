"""The headers of every answer."""

import re

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import GOOD, JSON, LOSS
from tests.service.live import listening
from tests.service.raw import connected

PATHS = ["/v1/losses", "/livez", "/metrics", "/docs", "/openapi.json", "/nope", "/v1/losses/nope", f"{LOSS}/graph"]


@pytest.mark.parametrize("path", PATHS)
def test_the_request_id_is_echoed_on_every_route(client: TestClient, path: str) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        response = client.request(method, path, headers={"X-Request-ID": "a-b_c.7"})
        assert response.headers.get_list("X-Request-ID") == ["a-b_c.7"]


@pytest.mark.parametrize("sent", ["x", "~" * 128, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
def test_a_visible_request_id_is_kept(client: TestClient, sent: str) -> None:
    for body in (GOOD, b"{"):
        response = client.post(LOSS, content=body, headers=JSON | {"X-Request-ID": sent})
        assert response.headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent", [b"", b" ", b"x" * 129, b"a b", b"a\tb", b"\xe9", b"\x7f", "\u2028".encode(), b"a\x85b"]
)
def test_any_other_request_id_is_replaced(client: TestClient, sent: bytes) -> None:
    response = client.get("/livez", headers=[(b"X-Request-ID", sent)])
    assert re.fullmatch(r"[!-~]{16,128}", response.headers["X-Request-ID"])


def test_a_made_request_id_is_new_each_time(client: TestClient) -> None:
    made = {client.get("/livez").headers["X-Request-ID"] for _ in range(20)}
    assert len(made) == 20


def test_server_timing_has_the_three_parts_of_the_work(client: TestClient) -> None:
    timing = client.post(LOSS, content=GOOD, headers=JSON).headers["Server-Timing"]
    number = r"\d+(\.\d+)?"
    assert re.fullmatch(rf"decode;dur={number}, compute;dur={number}, encode;dur={number}", timing)


def test_an_answer_says_how_long_it_is(client: TestClient) -> None:
    for body in (GOOD, b"{"):
        response = client.post(LOSS, content=body, headers=JSON)
        assert response.headers["Content-Length"] == str(len(response.content))


def test_no_answer_names_the_software(client: TestClient) -> None:
    assert "Server" not in client.get("/livez").headers


@pytest.mark.parametrize("path", [*PATHS, "/static/docs.js", "/v2", LOSS])
def test_no_answer_is_taken_for_another_type_than_it_says(client: TestClient, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        response = client.request(method, path)
        assert response.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert response.headers.get_list("Cache-Control")[:1] != ["no-store"] or method == "POST"
        assert "Server" not in response.headers


def test_no_cache_keeps_what_a_batch_is_answered_with(client: TestClient) -> None:
    for body, status in ((GOOD, 200), (b"{", 400)):
        response = client.post(LOSS, content=body, headers=JSON)
        assert (response.status_code, response.headers.get_list("Cache-Control")) == (status, ["no-store"])


def test_what_is_no_request_is_answered_with_these_headers_too() -> None:
    with listening() as address, connected(address) as wire:
        wire.send(b"GET / HTTP/1.1\r\n\r\n")  # without Host
        status, headers, _ = wire.read()
    assert (status, headers["x-content-type-options"]) == (400, "nosniff")
    assert "server" not in headers
