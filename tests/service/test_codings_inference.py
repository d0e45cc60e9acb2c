"""Answers of the Open Inference Protocol: only those of infer are compressed, for a client that names one coding."""

import json

import pytest
from starlette.testclient import TestClient

from tests.service.bodies import BATCH, INFER, LENGTH
from tests.service.carriers import infer
from tests.service.codings import COMPRESS, DECOMPRESS, ask, plain


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (["gzip"], "gzip"),
        (["deflate"], "deflate"),
        (["GZip"], "gzip"),
        (["gzip;q=0.5"], "gzip"),
        (["gzip, deflate;q=0"], "gzip"),
        ([], None),
        ([""], None),
        (["zstd"], None),
        (["br"], None),
        (["identity"], None),
        (["*"], None),
        (["gzip;q=0"], None),
        (["gzip, deflate"], None),
        (["gzip, deflate, br"], None),
        (["gzip, br"], None),
        (["deflate, zstd"], None),
        (["gzip", "deflate"], None),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_the_inference_protocol_compresses_for_a_client_that_names_one_coding(
    client: TestClient, accepted: list[str], coding: str | None, binary: bool
) -> None:
    sent = infer("cross_entropy", BATCH, {"binary_data_output": binary}, binary=False, id="7")
    response, content = ask(client, INFER, sent.content, accepted, sent.headers)
    assert response.status_code == 200
    assert response.headers.get("Content-Encoding") == coding
    found = DECOMPRESS[coding](content) if coding else content
    assert found == plain(client, INFER, sent.content, sent.headers)
    if binary:
        assert response.headers["Content-Type"] == "application/octet-stream"
        length = int(response.headers[LENGTH])
        assert json.loads(found[:length])["id"] == "7"
        assert len(found) > length


@pytest.mark.parametrize("path", ["/v2", "/v2/models/kl_div", "/v2/models/kl_div/config", "/v2/models/stats"])
def test_what_describes_models_is_not_compressed(client: TestClient, path: str) -> None:
    for accepted in (["gzip"], ["deflate"], ["gzip, deflate, br"]):
        response, content = ask(client, path, None, accepted, {})
        assert "Content-Encoding" not in response.headers
        assert json.loads(content)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br"])
def test_what_is_asked_of_the_repository_comes_as_it_is(client: TestClient, coding: str) -> None:
    body = COMPRESS[coding](b"{}") if coding in COMPRESS else b"{}"
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    response = client.post("/v2/repository/index", content=body, headers=headers)
    assert response.status_code == 415, response.text
    assert response.json()["error"]
