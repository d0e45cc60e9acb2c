"""JSON that is written anew to be read (bare words, long integers, words for what is not finite) keeps its strings."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service.bodies import INFER

LONG = "123456789012345678901234567890"


def body(data: str, request_id: str) -> str:
    logits = f'{{"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": {data}}}'
    targets = '{"name": "targets", "datatype": "INT64", "shape": [2], "data": [0, 2]}'
    return f'{{"id": {json.dumps(request_id)}, "inputs": [{logits}, {targets}]}}'


def asked(client: TestClient, data: str, request_id: str = "x") -> Any:
    response = client.post(INFER, content=body(data, request_id))
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    "request_id",
    [
        f"job {LONG} x",
        f"[{LONG}]",
        "NaN, NaN",
        "Infinity",
        'a "NaN" b',
        '"NaN"',
        f'say "{LONG} , NaN',
        "\\",
        '\\"',
        "é NaN",
        "\n",
        "\1\2",
    ],
)
@pytest.mark.parametrize("number", ["1e20", f"{10**20}", "NaN", '"NaN"', "-Infinity", f'"NaN", {10**20}, NaN'])
def test_an_id_is_echoed_whatever_stands_beside_it(client: TestClient, request_id: str, number: str) -> None:
    data = ", ".join([number, *["0"] * (6 - number.count(",") - 1)])
    assert asked(client, f"[{data}]", request_id)["id"] == request_id


def test_a_long_integer_is_the_float_that_it_is(client: TestClient) -> None:
    found = asked(client, f"[{10**20}, 0, 0, {-(10**25)}, 0, 0]")
    assert found == asked(client, "[1e20, 0, 0, -1e25, 0, 0]")


def test_bare_and_quoted_words_mix_however_many_there_are(client: TestClient) -> None:
    count = 9000  # more quotes than a text may have of other strings
    rows = {"datatype": "FP64", "shape": [count]}
    text = json.dumps({"inputs": [{"name": name, **rows, "data": []} for name in ("log_probabilities", "targets")]})
    ones = json.dumps([1.0] * count)

    def asked_with(words: list[str]) -> Any:
        data = ", ".join(words * (count // 3))
        sent = text.replace("[]", f"[{data}]", 1).replace("[]", ones)
        response = client.post("/v2/models/kl_div/infer", content=sent)
        assert response.status_code == 200, response.text
        return response.json()["outputs"][0]["data"]

    found = asked_with(["NaN", '"NaN"', '"-Infinity"'])
    assert found == asked_with(['"NaN"', '"NaN"', '"-Infinity"'])
    assert found == ["NaN", "NaN", "Infinity"] * (count // 3)


@pytest.mark.parametrize("text", ["[1, NaN2, 0, 0, 0, 0]", "[1, xNaN, 0]", "[NaN NaN]", "[--Infinity]", "[1NaN]"])
def test_what_only_holds_such_a_word_is_no_json(client: TestClient, text: str) -> None:
    assert client.post(INFER, content=body(text, "x")).status_code == 400


def test_two_lengths_of_the_header_are_refused(client: TestClient) -> None:
    text = body("[1, 2, 3, 4, 5, 6]", "x")
    headers = [("Inference-Header-Content-Length", str(len(text)))] * 2
    response = client.post(INFER, content=text, headers=headers)
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in response.json()["error"]
