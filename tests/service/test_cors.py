"""Requests from pages of other origins, as a browser makes them."""

from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from core.engine import Engine
from tests.service.bodies import BATCH, BINARY, INFER
from tests.service.carriers import infer, safetensors
from tests.service.conftest import GOOD, JSON, LOSS, problem, serving
from tests.service.origins import OTHER, PAGE, preflight

STRANGERS = [
    "https://b.example",
    "http://a.example",
    "https://a.example:8443",
    "https://a.example.b.example",
    "https://xa.example",
    "https://A.example",
    "https://a.example/",
    "null",
    "",
    "*",
    f"{PAGE},{OTHER}",
]
HEADERS = [
    "content-type",
    "content-encoding",
    "authorization",
    "x-api-key",
    "x-request-id",
    "x-request-timeout",
    "inference-header-content-length",
    "accept, content-type",
    "content-type,inference-header-content-length,x-request-id",
    "Content-Type, Authorization",
]


@pytest.fixture(scope="module")
def shared() -> Iterator[TestClient]:
    """A service that pages of two origins may ask."""
    with serving(cors_origins="https://a.example", max_json_bytes=1000) as made:
        yield made


@pytest.fixture(scope="module")
def public() -> Iterator[TestClient]:
    """A service that every page may ask."""
    with serving(cors_origins="*") as made:
        yield made


def cors(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}


def answers(client: TestClient, origin: str) -> list[Response]:
    """Answers and refusals of every kind to a page of `origin`."""
    of = {"Origin": origin}
    inference = infer("cross_entropy", BATCH, {}, binary=True)
    return [
        client.post(LOSS, content=GOOD, headers=JSON | of),
        client.post(LOSS, content=safetensors(BATCH, {}), headers=BINARY | of),
        client.post(inference.path, content=inference.content, headers=inference.headers | of),
        client.get("/v1/losses", headers=of),
        client.head("/v1/losses", headers=of),
        client.get("/livez", headers=of),
        client.get("/nope", headers=of),
        client.delete(LOSS, headers=of),
        client.post("/v1/losses/nope", content=GOOD, headers=JSON | of),
        client.post(LOSS, content=b"{", headers=JSON | of),
        client.post(LOSS, content=b"{}", headers=JSON | of),
        client.post(LOSS, content=GOOD, headers={"Content-Type": "text/plain"} | of),
        client.post(LOSS, content=GOOD, headers=JSON | {"Content-Encoding": "br"} | of),
        client.post(INFER, content=b"{}", headers=JSON | of),
        client.get("/v2/models/nope", headers=of),
        client.options(LOSS, headers=of),
    ]


STATUSES = [200, 200, 200, 200, 200, 200, 404, 405, 404, 400, 422, 415, 415, 400, 404, 405]


def test_by_default_no_other_origin_may_ask(client: TestClient) -> None:
    found = answers(client, PAGE)
    assert [response.status_code for response in found] == STATUSES
    for response in (*found, preflight(client)):
        assert cors(response) == {}
        assert "Vary" not in response.headers
    problem(preflight(client), 405)


def test_every_answer_to_a_page_of_the_origin_may_be_read(shared: TestClient) -> None:
    found = answers(shared, PAGE)
    found.append(shared.post(LOSS, content=bytes(1001), headers=JSON | {"Origin": PAGE}))
    assert [response.status_code for response in found] == [*STATUSES, 413]
    for response in found:
        assert response.headers.get_list("Access-Control-Allow-Origin") == [PAGE]
        assert "origin" in words(response.headers["Vary"])
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert {
            "x-request-id",
            "server-timing",
            "lossmeter-device",
            "inference-header-content-length",
            "etag",
            "retry-after",
        } <= words(response.headers["Access-Control-Expose-Headers"])


def test_a_failure_of_the_service_may_be_read_too(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Engine, "per_sample", fail)
    response = shared.post(LOSS, content=GOOD, headers=JSON | {"Origin": PAGE})
    problem(response, 500)
    assert response.headers.get("Access-Control-Allow-Origin") == PAGE


@pytest.mark.parametrize("origin", STRANGERS)
def test_answers_to_another_origin_name_no_origin(shared: TestClient, origin: str) -> None:
    found = answers(shared, origin)
    assert [response.status_code for response in found] == STATUSES
    for response in found:
        assert "Access-Control-Allow-Origin" not in response.headers


def test_what_is_no_page_sees_no_cors_headers(shared: TestClient) -> None:
    assert cors(shared.post(LOSS, content=GOOD, headers=JSON)) == {}


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("path", [LOSS, INFER, "/v1/losses", "/nope"])
def test_a_preflight_is_granted(shared: TestClient, path: str, headers: str) -> None:
    for method in ("POST", "GET", "HEAD"):
        response = preflight(shared, path, method, headers)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert method.lower() in words(response.headers["Access-Control-Allow-Methods"])
        assert words(headers) <= words(response.headers["Access-Control-Allow-Headers"])
        assert int(response.headers["Access-Control-Max-Age"]) > 0
        assert "origin" in words(response.headers["Vary"])
        assert response.headers["X-Request-ID"]
    assert preflight(shared, path, headers="").status_code == 200


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        *(({"origin": origin}, "origin") for origin in STRANGERS if origin),
        ({"method": "DELETE"}, "method"),
        ({"method": "PUT"}, "method"),
        ({"method": "post"}, "method"),
        ({"headers": "cookie"}, "headers"),
        ({"headers": "content-type, x-other"}, "headers"),
        ({"headers": "*"}, "headers"),
    ],
)
@pytest.mark.parametrize("path", [LOSS, INFER])
def test_a_preflight_is_refused_with_a_problem(
    shared: TestClient, asked: dict[str, str], named: str, path: str
) -> None:
    response = preflight(shared, path, **asked)
    assert 400 <= response.status_code < 500
    assert response.headers["Content-Type"] == ("application/json" if path == INFER else "application/problem+json")
    found = response.json()
    assert found["request_id"] == response.headers["X-Request-ID"]
    assert (found["status"], found["error"]) == (response.status_code, found["detail"])
    assert named in found["detail"]
    if named == "origin":
        assert "Access-Control-Allow-Origin" not in response.headers


def test_a_preflight_keeps_the_request_id(shared: TestClient) -> None:
    for origin in (PAGE, STRANGERS[0]):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "X-Request-ID": "mine"}
        response = shared.options(LOSS, headers=asked)
        assert response.headers["X-Request-ID"] == "mine"
    assert response.json()["request_id"] == "mine"


@pytest.mark.parametrize("origin", [PAGE, OTHER, "null", "chrome-extension://abcdef"])
def test_every_origin_may_ask_where_the_setting_says_so(public: TestClient, origin: str) -> None:
    found = answers(public, origin)
    assert [response.status_code for response in found] == STATUSES
    for response in (*found, preflight(public, origin=origin), preflight(public, INFER, headers=HEADERS[6])):
        assert response.headers.get_list("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_failure_of_the_middleware_is_a_problem_too(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("why")

    monkeypatch.setattr("service.cors.Cors.simple_response", fail)
    response = shared.get("/livez", headers={"Origin": "https://a.example"})
    assert problem(response, 500)["request_id"] == response.headers["X-Request-ID"]
