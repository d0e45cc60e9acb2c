"""Compressed request bodies: what they stand for is taken, what is broken is refused."""

import gzip

import numpy as np
import pytest
from backports import zstd
from starlette.testclient import TestClient

from service.codings import decoded
from service.problems import Problem
from tests.service.bodies import BATCH, BINARY, INFER
from tests.service.carriers import safetensors
from tests.service.codings import COMPRESS, MEMBERS, inference, post, refuse
from tests.service.conftest import GOOD, JSON, LOSS, problem

STEP = 2**16
SKIPPED = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"abc"


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_compressed_body_is_answered_as_the_plain_one(client: TestClient, coding: str) -> None:
    compress, plain = COMPRESS[coding], client.post(LOSS, content=GOOD, headers=JSON)
    assert post(client, compress(GOOD), coding).content == plain.content
    pieces = (bytes([byte]) for byte in compress(GOOD))
    assert post(client, pieces, coding).content == plain.content
    binary = client.post(LOSS, content=safetensors(BATCH, {}), headers=BINARY)
    found = client.post(LOSS, content=compress(safetensors(BATCH, {})), headers=BINARY | {"Content-Encoding": coding})
    assert binary.status_code == 200
    assert found.content == binary.content


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("binary", [True, False])
def test_a_compressed_body_is_taken_by_the_inference_protocol(client: TestClient, coding: str, binary: bool) -> None:
    sent = inference(binary=binary)
    plain = client.post(INFER, content=sent.content, headers=sent.headers)
    assert plain.json()["id"] == "7"
    compressed = COMPRESS[coding](sent.content)
    found = client.post(INFER, content=compressed, headers=sent.headers | {"Content-Encoding": coding})
    assert found.status_code == 200, found.text
    assert found.content == plain.content


@pytest.mark.parametrize("coding", ["x-gzip", "GZIP", "X-GZip", " gzip ", "gzip,", "identity, gzip"])
def test_gzip_has_another_name_and_names_have_no_case(client: TestClient, coding: str) -> None:
    assert post(client, gzip.compress(GOOD), coding).status_code == 200
    problem(post(client, GOOD, coding), 400)


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, 3 * STEP + 7])
@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_bodies_around_the_size_of_a_step_are_decoded_whole(coding: str, size: int, kind: str) -> None:
    content = bytes(size) if kind == "zeros" else np.random.default_rng(size).bytes(size)
    body = bytearray(COMPRESS[coding](content))
    assert decoded(body, coding, size, "LIMIT") == content
    if size:
        with pytest.raises(Problem, match=f"larger than {size - 1} bytes, the limit LIMIT") as refused:
            decoded(body, coding, size - 1, "LIMIT")
        assert refused.value.status == 413
    for end in {len(body) - 1, len(body) - 4, len(body) // 2, min(STEP, len(body) - 1)}:
        with pytest.raises(Problem, match=f"the body is not {coding}") as refused:
            decoded(body[:end], coding, size, "LIMIT")
        assert refused.value.status == 400


@pytest.mark.parametrize("coding", MEMBERS)
def test_several_members_are_one_body(client: TestClient, coding: str) -> None:
    compress = COMPRESS[coding]
    empty = compress(b"")
    for members in (
        [compress(GOOD[:9]), compress(GOOD[9:])],
        [compress(bytes([byte])) for byte in GOOD],
        [empty, compress(GOOD)],
        [compress(GOOD), empty],
        [empty, empty, compress(GOOD[:1]), empty, compress(GOOD[1:]), empty, empty],
    ):
        found = post(client, b"".join(members), coding)
        assert found.status_code == 200, found.text
        assert found.json()["per_sample"] == [1.3132616, 0.31326166]


@pytest.mark.parametrize("coding", MEMBERS)
def test_members_of_more_than_a_step_are_one_body(coding: str) -> None:
    parts = [np.random.default_rng(size).bytes(size) for size in (STEP, 5, 0, STEP - 12, 3 * STEP, 1)]
    body = bytearray(b"".join(COMPRESS[coding](part) for part in parts))
    assert decoded(body, coding, 10 * STEP, "LIMIT") == b"".join(parts)


@pytest.mark.parametrize("coding", MEMBERS)
def test_more_members_than_anyone_sends_are_refused(client: TestClient, coding: str) -> None:
    empty = COMPRESS[coding](b"")
    assert post(client, empty * 1000 + COMPRESS[coding](GOOD), coding).status_code == 200
    assert "compressed members" in refuse(client, empty * 100_000 + COMPRESS[coding](GOOD), coding)


def test_skippable_frames_of_zstd_are_skipped(client: TestClient) -> None:
    frames = [SKIPPED, zstd.compress(GOOD[:9]), SKIPPED, SKIPPED, zstd.compress(GOOD[9:]), SKIPPED]
    assert post(client, b"".join(frames), "zstd").status_code == 200
    assert "zstd" in refuse(client, zstd.compress(GOOD) + SKIPPED[:-1], "zstd")


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "gzip, deflate", "zstd, zstd", "xgzip", "*"])
def test_the_inference_protocol_refuses_other_codings_too(client: TestClient, coding: str) -> None:
    sent = inference(binary=False)
    found = client.post(INFER, content=sent.content, headers=sent.headers | {"Content-Encoding": coding})
    assert found.status_code == 415
    assert found.headers["Content-Type"] == "application/json"
    assert found.json()["error"] == found.json()["detail"]
    taken = {word.strip() for word in found.headers["Accept-Encoding"].split(",")}
    assert taken == {"gzip", "deflate", "zstd"}
