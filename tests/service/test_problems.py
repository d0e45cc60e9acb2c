"""The one shape of every failure: status, members, pointers, bounds."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from core.engine import Engine
from core.errors import Cancelled, Fault
from service.app import create_app
from service.problems import Problem, pointer, respond
from service.settings import Settings
from tests.service.conftest import GOOD, JSON, LOSS, problem, refuse

TEXT = st.characters(codec="utf-8")
TITLES = {
    400: ("/problems/malformed", "Malformed request"),
    404: ("/problems/not-found", "Not found"),
    405: ("/problems/method-not-allowed", "Method not allowed"),
    413: ("/problems/too-large", "Body too large"),
    415: ("/problems/unsupported-media-type", "Unsupported media type"),
    422: ("/problems/invalid-input", "Invalid input"),
    500: ("/problems/internal-error", "Internal error"),
    503: ("/problems/unavailable", "Unavailable"),
}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", LOSS, "GET, HEAD, POST"),
        ("DELETE", "/v1/losses/nope", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/losses", "GET, HEAD"),
        ("POST", "/v1/losses", "GET, HEAD"),
        ("POST", f"{LOSS}/graph", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/static/swagger-ui.css", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
        ("X" * 3000, "/livez", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_ones(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    found = problem(response, 405)
    assert response.headers["Allow"] == allowed
    assert (found["type"], found["title"]) == TITLES[405]
    assert "errors" not in found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/v1",
        "/v1/",
        "/v1/losses/",
        f"{LOSS}/",
        f"{LOSS}/graph/",
        "/docs/",
        "/livez/",
        "/metrics/",
        "/v1/losses/nope",
        "/v1/losses/nope/graph",
        "//v1/losses",
        "/V1/losses",
        "/v1/losses/Cross_Entropy",
        "/static/",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/LICENSES.txt",
        "/%00",
        "/%ff%0a%1b%5b31m",
        "/x" * 3000,
        "/%01" * 3000,
        "/v1/losses/" + "%01" * 3000,
        "/v1/losses/" + "%F0%9F%98%80" * 2000,
    ],
)
def test_there_is_nothing_at_other_paths_and_no_redirect(client: TestClient, path: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        response = client.request(method, path, content=GOOD if method == "POST" else None, follow_redirects=False)
        if method == "POST" and path.startswith("/v1/losses/nope/graph"):
            assert response.status_code == 405
        elif method == "HEAD":
            assert (response.status_code, response.content) == (404, b"")
        else:
            found = problem(response, 404)
            assert (found["type"], found["title"]) == TITLES[404]


def test_an_unknown_loss_is_told_the_known_ones(client: TestClient) -> None:
    for response in (client.get("/v1/losses/mse"), client.post("/v1/losses/mse", content=GOOD, headers=JSON)):
        found = problem(response, 404)
        assert "mse" in found["detail"]
        assert "cross_entropy" in found["detail"]


def test_malformed_and_invalid_bodies_have_their_types(client: TestClient) -> None:
    for body, status in ((b"{", 400), (b"{}", 422)):
        found = refuse(client, body, status)
        assert (found["type"], found["title"]) == TITLES[status]
        assert found["status"] == status


def test_a_failure_inside_is_a_500_that_tells_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret 0.123456")

    monkeypatch.setattr(Engine, "per_sample", fail)
    response = client.post(LOSS, content=GOOD, headers=JSON)
    found = problem(response, 500)
    assert (found["type"], found["title"]) == TITLES[500]
    assert "secret" not in response.text
    monkeypatch.undo()
    assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 200


def test_a_failure_of_a_plain_route_is_a_500_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("service.app.generate_latest", fail)
    problem(client.get("/metrics"), 500)
    response = client.head("/metrics")
    assert (response.status_code, response.content) == (500, b"")


def test_what_the_core_gives_up_is_unavailable(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*args: Any, **kwargs: Any) -> None:
        raise Cancelled("stopped")

    monkeypatch.setattr(Engine, "per_sample", cancelled)
    response = client.post(LOSS, content=GOOD, headers=JSON)
    assert problem(response, 503)["title"] == TITLES[503][1]
    assert response.headers["Retry-After"] == "1"


def test_before_the_graphs_are_loaded_only_liveness_answers() -> None:
    starting = TestClient(create_app(Settings(device="cpu")), raise_server_exceptions=False)
    assert starting.get("/livez").status_code == 200
    assert starting.get("/docs").status_code == 200
    answers = [starting.get(path) for path in ("/readyz", "/v1/losses", LOSS, f"{LOSS}/graph", "/v1/info")]
    for response in [*answers, starting.post(LOSS, content=GOOD, headers=JSON)]:
        found = problem(response, 503)
        assert (found["type"], found["title"]) == TITLES[503]
        assert response.headers["Retry-After"] == "1"


def test_at_most_twenty_errors_are_listed_and_the_rest_counted(client: TestClient) -> None:
    fields = {f"unheard_of_{number}": number for number in range(50)}
    found = refuse(client, json.dumps({"logits": [[1, 2]], "targets": [0]} | fields), 422)
    assert 1 <= len(found["errors"]) <= 20
    assert "49 more" in found["detail"]


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(st.text(TEXT, min_size=1, max_size=300), min_size=1, max_size=40),
    value=st.sampled_from([1, "x" * 5000, "\x01" * 5000, "\U0001f600" * 2000, [[1] * 300], None]),
)
def test_however_long_the_names_a_refusal_stays_small(client: TestClient, names: list[str], value: Any) -> None:
    body = json.dumps({"reduction": value, "logits": value} | dict.fromkeys(names, value))
    refuse(client, body, 422)


@pytest.mark.parametrize("character", ["\x00", "\x01", "\U0001f600", '"', "\\", "é", "/", "~"])
def test_no_character_makes_a_refusal_large(client: TestClient, character: str) -> None:
    long = character * 4000
    fields = {f"{long}{number}": long for number in range(30)}
    refuse(client, json.dumps({"logits": long, "targets": long, "reduction": long} | fields), 422)
    refuse(client, json.dumps({"logits": {"dtype": long, "shape": [], "b64": "AAAA"}, "targets": {long: long}}), 422)
    refuse(client, f"{{{json.dumps(long)}: 1, {json.dumps(long)}: 2}}", 400)


def test_large_values_are_not_echoed(client: TestClient) -> None:
    for field in ("logits", "targets", "weight", "reduction", "label_smoothing", "dtype"):
        body = {"logits": [[1, 2]], "targets": [0]} | {field: "sesame" * 1000}
        assert "sesame" * 8 not in json.dumps(refuse(client, json.dumps(body), 422))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a/b", "/a~1b"),
        ("m~n", "/m~0n"),
        ("~1", "/~01"),
        ("", "/"),
        (" ", "/ "),
        ('"', '/"'),
        ("é", "/é"),
        ("0", "/0"),
        ("nul\0", "/nul\0"),
        ("logits\0", "/logits\0"),
    ],
)
def test_pointers_are_escaped_as_rfc_6901_has_it(client: TestClient, name: str, wanted: str) -> None:
    found = refuse(client, json.dumps({"logits": [[1, 2]], "targets": [0], name: 1}), 422)
    assert [error["pointer"] for error in found["errors"]] == [wanted]


def test_an_unknown_name_is_legible_in_its_refusal(client: TestClient) -> None:
    found = refuse(client, json.dumps({"logits": [[1, 2]], "targets": [0], "": 1}), 422)
    assert found["detail"][:1].strip(), "the sentence must not begin with the nothing that the name is"


def test_pointer_of_the_body_as_a_whole_is_empty() -> None:
    assert pointer(()) == ""
    assert pointer(("logits", 3, 0)) == "/logits/3/0"


@settings(deadline=None, max_examples=100)
@given(st.text(TEXT, max_size=3000), st.lists(st.text(TEXT, max_size=2000), max_size=40), st.integers(400, 599))
def test_any_problem_fits_in_eight_kibibytes(detail: str, details: list[str], status: int) -> None:
    faults = [Fault((text,), text) for text in details]
    response = respond(Problem(status, detail, errors=faults), '"' * 128)
    assert len(response.body) <= 8 * 1024
    assert json.loads(bytes(response.body))["status"] == status


@pytest.mark.parametrize("character", ["x", "\x01", "\U0001f600", '"'], ids=ascii)
def test_the_longest_problem_fits_in_eight_kibibytes(character: str) -> None:
    faults = [Fault((character * 2000, number), character * 2000) for number in range(40)]
    size = len(respond(Problem(422, character * 3000, errors=faults), '"' * 128).body)
    assert size <= 8 * 1024
    only = json.loads(bytes(respond(Problem(422, "short", errors=faults[:1]), "x").body))["errors"]
    assert len(only) == 1
