"""Long JSON answers are compressed for a client that asks; nothing else is, and nobody is surprised."""

import json
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.bodies import INFER
from tests.service.codings import DECOMPRESS, ask, plain
from tests.service.conftest import GOOD, JSON, LOSS, b64

KL = "/v1/losses/kl_div"
MUCH = 2**16


def losses(values: Any) -> bytes:
    """A request whose per-sample values are `values`."""
    negated = -np.asarray(values, np.float32)
    fields = {"log_probabilities": b64(negated), "targets": b64(np.ones_like(negated)), "reduction": "none"}
    return json.dumps(fields).encode()


def of_length(client: TestClient, size: int) -> bytes:
    """A request whose answer has `size` bytes: of numbers with two digits, and as many with three as it takes."""
    count, longer = size // 4 - 100, 0
    while True:
        body = losses([10.0] * longer + [1.0] * (count - longer))
        missing = size - len(plain(client, KL, body, JSON))
        if not missing:
            return body
        longer += missing
        assert 0 < longer < count


@pytest.fixture(scope="module")
def long(client: TestClient) -> tuple[bytes, bytes]:
    """A request, and its answer as a client sees it that accepts no coding."""
    body = losses(np.random.default_rng(5).random(10000))
    return body, plain(client, KL, body, JSON)


@pytest.mark.parametrize(
    ("accepted", "codings"),
    [
        (["gzip"], {"gzip"}),
        (["x-gzip"], {"gzip", "x-gzip"}),
        (["deflate"], {"deflate"}),
        (["zstd"], {"zstd"}),
        (["GZIP"], {"gzip"}),
        (["gzip, deflate, br, zstd"], {"gzip", "deflate", "zstd"}),
        (["br, gzip;q=0.001"], {"gzip"}),
        (["gzip;q=0, deflate;q=0.5"], {"deflate"}),
        (["zstd;q=0,gzip;q=0,deflate"], {"deflate"}),
        (["zstd; q=0 , gzip ; q=0.5"], {"gzip"}),
        (["zstd;q=0.000, gzip"], {"gzip"}),
        (["gzip;q=1.0, *;q=0"], {"gzip"}),
        (["identity;q=0.5, gzip"], {"gzip"}),
        ([" gzip ,, "], {"gzip"}),
        (["br", "gzip"], {"gzip"}),
    ],
)
def test_a_long_answer_is_compressed_in_a_coding_that_is_accepted(
    client: TestClient, long: tuple[bytes, bytes], accepted: list[str], codings: set[str]
) -> None:
    response, content = ask(client, KL, long[0], accepted, JSON)
    coding = response.headers["Content-Encoding"]
    assert coding in codings
    assert response.headers["Content-Type"] == "application/json"
    assert DECOMPRESS[coding.removeprefix("x-")](content) == long[1]
    assert len(content) < 0.75 * len(long[1])


@pytest.mark.parametrize(
    "accepted",
    [
        [],
        [""],
        ["identity"],
        ["br"],
        ["br, compress"],
        ["gzip;q=0"],
        ["gzip;q=0.0, deflate;q=0.000, zstd;q=0"],
        ["*;q=0"],
        ["gzipped"],
        ["gzip;q=x"],
        ["gzip;q=-1"],
        ["gzip;q=nan"],
        ["x-zstd"],
        ["gzip deflate"],
    ],
)
def test_a_long_answer_is_plain_for_a_client_that_accepts_no_coding_of_ours(
    client: TestClient, long: tuple[bytes, bytes], accepted: list[str]
) -> None:
    response, content = ask(client, KL, long[0], accepted, JSON)
    assert "Content-Encoding" not in response.headers
    assert content == long[1]


@pytest.mark.parametrize("coding", DECOMPRESS)
def test_answers_of_64_kib_are_compressed_and_shorter_ones_are_not(client: TestClient, coding: str) -> None:
    for size, compressed in ((MUCH - 1, False), (MUCH, True)):
        body = of_length(client, size)
        response, content = ask(client, KL, body, [coding], JSON)
        assert response.headers.get("Content-Encoding") == (coding if compressed else None)
        assert (DECOMPRESS[coding](content) if compressed else content) == plain(client, KL, body, JSON)
    response, content = ask(client, LOSS, GOOD, [coding], JSON)
    assert "Content-Encoding" not in response.headers
    assert json.loads(content)["per_sample"] == [1.3132616, 0.31326166]


def test_a_long_answer_without_its_lists_is_short(client: TestClient, long: tuple[bytes, bytes]) -> None:
    body = json.dumps(json.loads(long[0]) | {"per_sample": False}).encode()
    response, content = ask(client, KL, body, ["gzip"], JSON)
    assert "Content-Encoding" not in response.headers
    assert json.loads(content) == {name: value for name, value in json.loads(long[1]).items() if name != "per_sample"}


def test_safetensors_are_not_compressed(client: TestClient, long: tuple[bytes, bytes]) -> None:
    for kind in ("application/x-safetensors", "application/octet-stream"):
        response, content = ask(client, KL, long[0], ["gzip, deflate, zstd"], JSON | {"Accept": kind})
        assert response.headers["Content-Type"] == kind
        assert "Content-Encoding" not in response.headers
        assert len(content) > 40000


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/losses", "/v1/losses/kl_div/graph", "/metrics", "/v2", "/docs"])
def test_no_other_route_compresses(client: TestClient, path: str) -> None:
    for accepted in (["gzip"], ["gzip, deflate, br, zstd"]):
        response, _ = ask(client, path, None, accepted, {})
        assert response.status_code == 200
        assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("path", [LOSS, INFER])
def test_refusals_are_not_compressed(client: TestClient, path: str) -> None:
    body = json.dumps({"logits": [["x" * 2**17]], "inputs": ["y" * 2**17]}).encode()
    for accepted in (["gzip"], ["deflate"], ["zstd"]):
        response, content = ask(client, path, body, accepted, JSON)
        assert response.status_code in (400, 422)
        assert "Content-Encoding" not in response.headers
        assert json.loads(content)["error"]
