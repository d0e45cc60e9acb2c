"""Accept chooses the form of an answer: JSON, or safetensors for those who prefer it."""

import pytest
from starlette.testclient import TestClient

from service.negotiation import preferences, remembered
from tests.service.bodies import BATCH, BINARY
from tests.service.carriers import safetensors
from tests.service.conftest import GOOD, JSON, LOSS, problem

SAFETENSORS, OCTETS, TEXT = "application/x-safetensors", "application/octet-stream", "application/json"


def answered(client: TestClient, *accepted: str) -> set[str]:
    """The media types of the answers to a client with these Accept headers, whatever it sends."""
    found = set()
    for body, sent in ((GOOD, JSON), (safetensors(BATCH, {}), BINARY)):
        headers = [*sent.items(), *(("Accept", value) for value in accepted)]
        response = client.post(LOSS, content=body, headers=headers)
        assert response.status_code == 200, response.text
        found.add(response.headers["Content-Type"])
        assert (
            response.content[:1] == b"{" if response.headers["Content-Type"] == TEXT else response.content[8:9] == b"{"
        )
    return found


@pytest.mark.parametrize(
    ("accepted", "kind"),
    [
        (SAFETENSORS, SAFETENSORS),
        (OCTETS, OCTETS),
        ("Application/X-SafeTensors", SAFETENSORS),
        (f"{SAFETENSORS};v=1", SAFETENSORS),
        (f"{SAFETENSORS}; q=0.001", SAFETENSORS),
        (f" {SAFETENSORS} ,", SAFETENSORS),
        (TEXT, TEXT),
        ("application/json; charset=utf-8", TEXT),
        (f"{SAFETENSORS}, {TEXT};q=0.9", SAFETENSORS),
        (f"{TEXT};q=0.9, {SAFETENSORS}", SAFETENSORS),
        (f"{TEXT};q=0.2,{SAFETENSORS};q=0.3", SAFETENSORS),
        (f"{TEXT};q=0.3,{SAFETENSORS};q=0.2", TEXT),
        (f"{SAFETENSORS};q=0.3, {TEXT}", TEXT),
        (f"{SAFETENSORS};q=0.3, {TEXT}; q=0.30", SAFETENSORS),
        (f"{TEXT};q=0.3, {SAFETENSORS}; q=0.30", TEXT),
        (f"{SAFETENSORS};q=0, {TEXT};q=0.1", TEXT),
        (f"{TEXT};q=0, {SAFETENSORS};q=0.1", SAFETENSORS),
        (f"{SAFETENSORS};q=0", TEXT),
        (f"{SAFETENSORS};q=0.000", TEXT),
        (f"{OCTETS};q=0.5, {SAFETENSORS}", SAFETENSORS),
        (f"{SAFETENSORS}, */*;q=0.1", SAFETENSORS),
        (f"*/*;q=0.1, {SAFETENSORS}", SAFETENSORS),
        ("*/*", TEXT),
        ("application/*", TEXT),
        ("*/*;q=0.1", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("text/html", TEXT),
        ("application/x-npy, image/*", TEXT),
        ("application/x-safetensorsx", TEXT),
        ("x-safetensors", TEXT),
        ("", TEXT),
        (",", TEXT),
        (";q=1", TEXT),
        ("nonsense", TEXT),
    ],
)
def test_accept_chooses_the_form_of_the_answer(client: TestClient, accepted: str, kind: str) -> None:
    assert answered(client, accepted) == {kind}


def test_without_accept_the_answer_is_json(client: TestClient) -> None:
    request = client.build_request("POST", LOSS, content=GOOD, headers=JSON)
    del request.headers["Accept"]
    assert client.send(request).headers["Content-Type"] == TEXT


def test_accept_in_several_lines_is_one_list(client: TestClient) -> None:
    assert answered(client, "text/html", SAFETENSORS) == {SAFETENSORS}
    assert answered(client, f"{TEXT};q=0.5", f"{SAFETENSORS};q=0.9") == {SAFETENSORS}


def test_anything_may_be_preferred_to_safetensors(client: TestClient) -> None:
    for accepted in (f"*/*, {SAFETENSORS};q=0.5", f"{SAFETENSORS};q=0.5, application/*", f"*/*;q=0.9, {OCTETS};q=0.1"):
        assert answered(client, accepted) == {TEXT}


@pytest.mark.parametrize("path", ["/v1/losses", "/v1/info", "/livez", "/openapi.json"])
def test_what_is_always_json_is_json_whatever_is_accepted(client: TestClient, path: str) -> None:
    for accepted in (SAFETENSORS, "text/html", "*/*;q=0"):
        response = client.get(path, headers={"Accept": accepted})
        assert (response.status_code, response.headers["Content-Type"]) == (200, TEXT)


def test_a_refusal_is_a_problem_document_whatever_is_accepted(client: TestClient) -> None:
    for accepted in (SAFETENSORS, "text/html", f"{TEXT};q=0"):
        headers = {"Accept": accepted}
        problem(client.post(LOSS, content=b"{", headers=JSON | headers), 400)
        problem(client.post(LOSS, content=b"{}", headers=JSON | headers), 422)
        problem(client.post(LOSS, content=GOOD, headers={"Content-Type": "text/plain"} | headers), 415)
        problem(client.get("/nope", headers=headers), 404)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("", []),
        ("a", ["a"]),
        ("A;Q=0.5, b", ["b", "a"]),
        ("a, b, c", ["a", "b", "c"]),
        ("a;q=0.2, b;q=0.8, c;q=0.2, d", ["d", "b", "a", "c"]),
        ("a;q=0, b;q=0.0, c;q=0.000", []),
        ("a;q=1.5, b;q=-1, c;q=, d;q=x, e;q=nan, f;q=inf, g", ["g"]),
        ("a;level=1;q=0.5, b;q=0.6", ["b", "a"]),
        ("a ; q = 0.5 , b ; q=0.6", ["b", "a"]),
        (" , ,a,", ["a"]),
        ("," * 10_000 + "a", ["a"]),
    ],
)
def test_preferences_are_ordered_by_weight_and_else_as_they_stand(header: str, names: list[str]) -> None:
    assert preferences(header) == names


def test_a_short_value_is_read_once_and_a_long_one_never_kept() -> None:
    read: list[str] = []

    @remembered
    def names(value: str) -> tuple[str, ...]:
        read.append(value)
        return tuple(preferences(value))

    for value in ("a, b", "a, b", "a" * 257, "a" * 257):
        assert names(value) == tuple(value.split(", "))
    assert read == ["a, b", "a" * 257, "a" * 257]
