"""What is too large, or of a type that is not taken."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.carriers import infer
from tests.service.conftest import GOOD, JSON, LOSS, ask, b64, problem, serving


@pytest.fixture(scope="module")
def small() -> Iterator[TestClient]:
    """A service that takes little."""
    with serving(max_json_bytes=300, max_elements=20) as made:
        yield made


def padded(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


def test_a_body_at_the_limit_is_taken_and_one_over_is_not(small: TestClient) -> None:
    assert small.post(LOSS, content=padded(300), headers=JSON).status_code == 200
    found = problem(small.post(LOSS, content=padded(301), headers=JSON), 413)
    assert "300" in found["detail"]
    assert "MAX_JSON_BYTES" in found["detail"]


def test_a_body_in_chunks_is_limited_at_the_first_byte_over(small: TestClient) -> None:
    def chunks(size: int) -> Iterator[bytes]:
        body = padded(size)
        yield from (body[start : start + 7] for start in range(0, size, 7))

    assert small.post(LOSS, content=chunks(300), headers=JSON).status_code == 200
    assert "300" in problem(small.post(LOSS, content=chunks(301), headers=JSON), 413)["detail"]


def test_the_limit_that_is_named_is_the_one_in_force() -> None:
    with serving(max_body_bytes=100) as tight:
        assert "MAX_BODY_BYTES" in problem(tight.post(LOSS, content=padded(101), headers=JSON), 413)["detail"]


def test_an_answer_over_the_limit_is_refused_with_advice(small: TestClient) -> None:
    fields = {"log_probabilities": [[1], [2], [3], [4]], "targets": [0.1, 0.2, 0.3, 0.4, 0.5]}
    found = problem(small.post("/v1/losses/kl_div", json=fields), 422)
    assert "MAX_JSON_BYTES" in found["detail"]
    assert "per_sample" in found["detail"]
    assert found["errors"][0]["pointer"] == ""
    assert ask(small, "kl_div", fields, per_sample=False)["totals"]["count"] == 20


def test_an_answer_that_cannot_fit_is_refused_before_it_is_computed(computed: list[Any]) -> None:
    with serving(max_json_bytes=5000) as tight:
        fields = {"log_probabilities": np.zeros((50, 1)).tolist(), "targets": np.ones(50).tolist()}
        problem(tight.post("/v1/losses/kl_div", json=fields), 422)
    assert not computed


def test_an_answer_that_cannot_fit_is_refused_on_v2_before_it_is_computed(computed: list[Any]) -> None:
    fields = {"log_probabilities": np.zeros((50, 1), np.float32), "targets": np.ones(50, np.float32)}
    with serving(max_json_bytes=5000) as tight:
        sent = infer("kl_div", fields, {}, binary=False)
        found = tight.post(sent.path, content=sent.content, headers=sent.headers)
        assert (found.status_code, "MAX_JSON_BYTES" in found.json()["error"]) == (400, True)
        assert not computed
        sent = infer("kl_div", fields, {"binary_data_output": True}, binary=False)  # for which there is room
        assert tight.post(sent.path, content=sent.content, headers=sent.headers).status_code == 200
        assert computed


def test_what_the_inputs_broadcast_to_counts_as_elements(small: TestClient, client: TestClient) -> None:
    fields = {"log_probabilities": [[1], [2], [3]], "targets": [0, 0, 0, 0, 0, 0, 0]}
    found = problem(small.post("/v1/losses/kl_div", json=fields), 422)
    assert found["errors"][0]["pointer"] == ""
    for said in ("(3, 7)", "21", "20"):
        assert said in found["detail"]
    huge = {"log_probabilities": b64(np.zeros((2**16, 1), np.float32)), "targets": b64(np.zeros(2**16, np.float32))}
    assert str(2**32) in problem(client.post("/v1/losses/kl_div", json=huge), 422)["detail"]


def test_too_many_elements_of_an_input_are_refused_by_name(small: TestClient) -> None:
    found = problem(small.post(LOSS, json={"logits": [[0] * 21], "targets": [0]}), 422)
    assert found["errors"][0]["pointer"] == "/logits"
    assert small.post(LOSS, json={"logits": [[0] * 20], "targets": [0]}).status_code == 200


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "gzip, deflate", "gzip;q=1", "x" * 500])
def test_a_content_coding_that_is_not_here_is_refused(client: TestClient, coding: str) -> None:
    response = client.post(LOSS, content=GOOD, headers=JSON | {"Content-Encoding": coding})
    problem(response, 415)
    assert "Accept-Encoding" in response.headers


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_identity_is_no_content_coding(client: TestClient, coding: str) -> None:
    assert client.post(LOSS, content=GOOD, headers=JSON | {"Content-Encoding": coding}).status_code == 200


def test_a_second_content_coding_is_seen(client: TestClient) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")]
    problem(client.post(LOSS, content=GOOD, headers=headers), 415)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/problem+json",
        "json",
        "*/*",
        "application/json, text/plain",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "x" * 5000,
        "application/jsonx",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_media_type_is_not_taken(client: TestClient, kind: str) -> None:
    found = problem(client.post(LOSS, content=GOOD, headers={"Content-Type": kind}), 415)
    assert "application/json" in found["detail"]
    assert ("charset" not in kind) or "utf-8" in found["detail"].lower()


def test_no_media_type_at_all_is_not_taken(client: TestClient) -> None:
    for headers in ({}, {"Content-Type": ""}):
        response = client.post(LOSS, content=GOOD, headers=headers)
        assert "missing" in problem(response, 415)["detail"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json ; Charset=utf-8",
        "application/json;",
        "application/json; charset=utf-8; profile=x",
        "application/json; odata=verbose",
    ],
)
def test_json_in_utf_8_is_taken_however_it_is_said(client: TestClient, kind: str) -> None:
    response = client.post(LOSS, content=GOOD, headers={"Content-Type": kind})
    assert response.status_code == 200, response.text
