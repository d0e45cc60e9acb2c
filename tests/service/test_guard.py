"""Where API keys are set, whatever is asked for needs one, and nothing of a request without one is read."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from service import command
from service.settings import Settings
from tests.service.bodies import INFER
from tests.service.conftest import GOOD, JSON, LOSS, problem, serving
from tests.service.live import listening
from tests.service.origins import PAGE, preflight
from tests.service.raw import connected, request
from tests.service.test_server import ended, free_port, started, wait_until_ready

KEY, OTHER, WRONG = "a-key-0123456789ab", "another-key-0123456789", "no-key-0123456789ab"
BEARER, HEADER = {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}
PROBES = ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"]
GUARDED = [
    *("/v1/losses", "/v1/losses/kl_div", f"{LOSS}/graph", "/v1/info", "/metrics", "/docs", "/redoc", "/openapi.json"),
    *(
        "/static/docs.js",
        "/v2",
        "/v2/models/kl_div",
        "/v2/models/stats",
        "/",
        "/nope",
        "/v2/nope",
        "/livez/",
        "//livez",
    ),
]


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    """A service with two keys."""
    with serving(api_keys=[KEY, OTHER]) as made:
        yield made


def refused(response: Any, path: str = "/") -> str:
    """The detail of a 401."""
    if path.startswith("/v2"):
        assert response.headers["Content-Type"] == "application/json"
        found = response.json()
        assert found["request_id"] == response.headers["X-Request-ID"]
    else:
        found = problem(response, 401)
    assert (response.status_code, found["type"], found["title"]) == (401, "/problems/unauthorized", "Unauthorized")
    assert response.headers.get_list("WWW-Authenticate") == ["Bearer"]
    assert response.headers.get_list("X-Content-Type-Options") == ["nosniff"]
    for key in (KEY, OTHER, WRONG):
        assert key not in response.text
    return str(found["detail"])


@pytest.mark.parametrize("path", GUARDED)
def test_every_path_needs_a_key(guarded: TestClient, client: TestClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "TRACE"):
        refused(guarded.request(method, path), path)
        refused(guarded.request(method, path, headers={"X-API-Key": WRONG}), path)
        answer, open_ = guarded.request(method, path, headers=HEADER), client.request(method, path)
        assert answer.status_code == open_.status_code != 401
    head = guarded.head(path)
    assert (head.status_code, head.content) == (401, b"")


@pytest.mark.parametrize("path", [LOSS, INFER, "/v1/losses/nope", "/v2/models/nope/infer"])
def test_every_loss_needs_a_key(guarded: TestClient, client: TestClient, path: str) -> None:
    body = GOOD if "/v1" in path else b"{}"
    refused(guarded.post(path, content=body, headers=JSON), path)
    for key in (BEARER, HEADER, {"X-API-Key": OTHER}):
        answer = guarded.post(path, content=body, headers=JSON | key)
        assert answer.status_code == client.post(path, content=body, headers=JSON).status_code != 401


def test_the_paths_of_the_losses_stay_direct(guarded: TestClient) -> None:
    app: Any = guarded.app
    assert LOSS in app.direct
    assert INFER in app.direct


@pytest.mark.parametrize("path", PROBES)
def test_probes_need_no_key(guarded: TestClient, path: str) -> None:
    for headers in ({}, {"X-API-Key": WRONG}):
        assert guarded.get(path, headers=headers).status_code == 200
        assert guarded.head(path, headers=headers).status_code == 200
        assert guarded.options(path, headers=headers).status_code == 405
        refused(guarded.post(path, headers=headers), path)


@pytest.mark.parametrize(
    "headers",
    [
        *({"Authorization": f"{scheme} {KEY}"} for scheme in ("Bearer", "bearer", "BEARER", "Bearer ")),
        *({name: OTHER} for name in ("X-API-Key", "x-api-key", "X-API-KEY")),
        {"Authorization": f"Bearer {KEY}", "X-API-Key": OTHER},
        {"Authorization": f"Bearer {KEY}", "X-API-Key": KEY},
        {"Authorization": "Basic dTpw", "X-API-Key": KEY},  # a proxy's own, beside ours
        {"X-API-Key": f" {KEY} "},
    ],
)
def test_a_key_is_taken_in_either_header(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.post(LOSS, content=GOOD, headers=JSON | headers).status_code == 200
    assert guarded.get("/v1/losses", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([], "missing"),
        ([("Authorization", KEY)], "missing"),
        ([("Authorization", f"Basic {KEY}")], "missing"),
        ([("Authorization", f"Bearer\t{KEY}")], "missing"),
        ([("Authorization", "")], "missing"),
        ([("Cookie", f"X-API-Key={KEY}")], "missing"),
        ([("Authorization", "Bearer")], "not known"),
        ([("Authorization", "Bearer ")], "not known"),
        ([("Authorization", f"Bearer {WRONG}")], "not known"),
        ([("Authorization", f"Bearer {KEY} {KEY}")], "not known"),
        ([("Authorization", f"Bearer {KEY},{OTHER}")], "not known"),
        ([("X-API-Key", "")], "not known"),
        ([("X-API-Key", KEY[:-1])], "not known"),
        ([("X-API-Key", KEY + "x")], "not known"),
        ([("X-API-Key", KEY.upper())], "not known"),
        ([("X-API-Key", f"Bearer {KEY}")], "not known"),
        ([("X-API-Key", b"\xff" * 20)], "not known"),
        # Which of several would count is not for a proxy and this service to see differently.
        ([("X-API-Key", KEY), ("X-API-Key", KEY)], "not known"),
        ([("X-API-Key", KEY), ("X-API-Key", OTHER)], "not known"),
        ([("X-API-Key", WRONG), ("X-API-Key", KEY)], "not known"),
        ([("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")], "not known"),
        ([("Authorization", "Basic dTpw"), ("Authorization", f"Bearer {KEY}")], "missing"),
        ([("Authorization", f"Bearer {KEY}"), ("X-API-Key", WRONG)], "not known"),
        ([("Authorization", f"Bearer {WRONG}"), ("X-API-Key", KEY)], "not known"),
        ([("Authorization", f"Bearer {KEY}"), ("X-API-Key", "")], "not known"),
    ],
)
def test_anything_else_is_refused(guarded: TestClient, headers: list[tuple[str, str]], why: str) -> None:
    found = refused(guarded.get("/v1/losses", headers=headers))
    assert why in found
    assert "`Authorization: Bearer KEY` or `X-API-Key: KEY`" in found
    refused(guarded.post(LOSS, content=GOOD, headers=[*JSON.items(), *headers]))


def test_a_key_in_the_query_is_none(guarded: TestClient) -> None:
    refused(guarded.get(f"/v1/losses?api_key={KEY}&X-API-Key={KEY}"))


def test_keys_of_both_settings_add_up(tmp_path: Any) -> None:
    (tmp_path / "keys").write_text(f"# one\n{OTHER}\n")
    with serving(api_keys=KEY, api_keys_file=str(tmp_path / "keys")) as client:
        for key in (KEY, OTHER):
            assert client.get("/v1/losses", headers={"X-API-Key": key}).status_code == 200
        refused(client.get("/v1/losses", headers={"X-API-Key": WRONG}))


def test_nothing_of_a_body_is_read_without_a_key() -> None:
    with listening(api_keys=KEY) as address:
        for more in (
            "Content-Length: 1000000",
            "Transfer-Encoding: chunked",
            "Content-Length: 9\r\nExpect: 100-continue",
        ):
            with connected(address) as wire:
                wire.send(f"POST {LOSS} HTTP/1.1\r\nHost: x\r\nContent-Type: text/x\r\n{more}\r\n\r\n".encode())
                status, headers, content = wire.read()  # no 100, and no 415 either
                assert (status, json.loads(content)["status"]) == (401, 401)
                assert headers["www-authenticate"] == "Bearer"
        with connected(address) as wire:
            wire.send(
                request(GOOD) + request(GOOD, f"X-API-Key: {KEY}") + request(b"{", f"Authorization: Bearer {KEY}")
            )
            assert [wire.read()[0] for _ in range(3)] == [401, 200, 400]  # the connection goes on
        host, port = address.split(":")
        assert command.healthy(Settings(host=host, port=int(port)))


def test_a_page_needs_no_key_for_its_preflight_and_can_read_the_refusal() -> None:
    with serving(api_keys=KEY, cors_origins=PAGE) as client:
        for path in (LOSS, INFER):
            assert preflight(client, path, headers="authorization, content-type, x-api-key").status_code == 200
            answer = client.post(path, content=GOOD, headers=JSON | {"Origin": PAGE})
            refused(answer, path)
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        answer = client.post(LOSS, content=GOOD, headers=JSON | BEARER | {"Origin": PAGE})
        assert answer.status_code == 200
        refused(client.get("/v1/losses", headers={"Access-Control-Request-Method": "GET", "Origin": PAGE}))


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_log_shows_a_key(form: str) -> None:
    port = free_port()
    settings = {"PORT": str(port), "API_KEYS": f"{KEY},{OTHER}", "LOG_LEVEL": "debug", "LOG_FORMAT": form}
    with started("serve", **settings) as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as wire:
            wire.send(request(GOOD, f"X-API-Key: {KEY}") + request(GOOD, f"Authorization: Bearer {WRONG}"))
            wire.send(
                request(GOOD, f"X-API-Key: {OTHER}", path=f"{LOSS}?key={KEY}") + request(b"{", f"X-API-Key: {OTHER}")
            )
            assert [wire.read()[0] for _ in range(4)] == [200, 401, 200, 400]
        process.terminate()
        code, lines = ended(process)
    assert code == 0
    assert any("401" in line for line in lines)
    for key in (KEY, OTHER, WRONG):
        assert not any(key in line for line in lines)


def test_the_document_says_that_a_key_is_needed(guarded: TestClient, client: TestClient) -> None:
    document = guarded.get("/openapi.json", headers=HEADER).json()
    validate(document)
    schemes = document["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("scheme"), scheme.get("name")) for scheme in schemes.values()} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-API-Key"),
    }
    assert sorted(map(list, document["security"])) == sorted([name] for name in schemes)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation.get("security") == ([] if path in PROBES else None)
            assert ("401" in operation["responses"]) is (path not in PROBES)
    assert "securitySchemes" not in client.get("/openapi.json").text
