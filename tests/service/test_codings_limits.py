"""Compressed bodies are held to the limits of plain ones; zstd frames, to a window of 8 MiB and to their word."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from backports import zstd
from starlette.testclient import TestClient

from tests.service.bodies import BATCH, BINARY, INFER
from tests.service.carriers import safetensors
from tests.service.codings import COMPRESS, inference, post
from tests.service.conftest import GOOD, LOSS, problem, serving

MIB = 2**20


@pytest.fixture(scope="module")
def small() -> Iterator[TestClient]:
    """A service that takes little."""
    with serving(max_json_bytes=300, max_body_bytes=400) as made:
        yield made


@pytest.mark.parametrize("coding", COMPRESS)
def test_the_limit_is_that_of_what_the_body_stands_for(small: TestClient, coding: str) -> None:
    compress = COMPRESS[coding]
    assert post(small, compress(GOOD.ljust(300)), coding).status_code == 200
    found = problem(post(small, compress(GOOD.ljust(301)), coding), 413)
    assert found["detail"] == "the body is larger than 300 bytes, the limit MAX_JSON_BYTES"
    binary = safetensors(BATCH, {})
    for body, status in ((binary.ljust(400, b"\0"), 400), (binary.ljust(401, b"\0"), 413)):
        response = small.post(LOSS, content=compress(body), headers=BINARY | {"Content-Encoding": coding})
        found = problem(response, status)
    assert found["detail"] == "the body is larger than 400 bytes, the limit MAX_BODY_BYTES"


@pytest.mark.parametrize("binary", [True, False])
def test_the_inference_protocol_has_the_same_limits(binary: bool) -> None:
    sent = inference(binary=binary, size=600)
    body = sent.content
    for json_bytes, body_bytes, status, detail in (
        (600, len(body), 200, None),
        (599, len(body), 413, "the body is larger than 599 bytes, the limit MAX_JSON_BYTES"),
        (
            9999,
            len(body) - 1,
            413,
            f"the body is larger than {len(body) - 1} bytes, the limit MAX_BODY_BYTES",
        ),
    ):
        with serving(max_json_bytes=json_bytes, max_body_bytes=body_bytes) as tight:
            for coding, compress in COMPRESS.items():
                coded = sent.headers | {"Content-Encoding": coding}
                found = tight.post(INFER, content=compress(body), headers=coded)
                assert (found.status_code, found.json().get("error")) == (status, detail)


def test_the_compressed_bytes_are_limited_too(small: TestClient) -> None:
    """A gzip header with a name as long as you like, before few bytes."""
    body = gzip.compress(GOOD)
    named = [body[:3] + b"\x08" + body[4:10] + b"a" * length + b"\0" + body[10:] for length in (100, 300)]
    assert post(small, named[0], "gzip").status_code == 200
    for found in (post(small, named[1], "gzip"), post(small, iter([named[1]]), "gzip")):
        assert problem(found, 413)["detail"] == "the body is larger than 300 bytes, the limit MAX_JSON_BYTES"


def test_an_unknown_coding_is_refused_before_the_size(small: TestClient) -> None:
    problem(post(small, bytes(1000), "br"), 415)


@pytest.mark.parametrize("window", [10, 17, 22, 23])
def test_a_window_of_up_to_8_mib_is_taken(client: TestClient, window: int) -> None:
    assert post(client, frame(b"\0", bytes([(window - 10) << 3])), "zstd").status_code == 200


@pytest.mark.parametrize("descriptor", [0x69, 0x6F, 0x70, 0x88, 0xA0, 0xF8, 0xFF])
def test_a_window_of_more_than_8_mib_is_refused(client: TestClient, descriptor: int) -> None:
    detail = problem(post(client, frame(b"\0", bytes([descriptor])), "zstd"), 400)["detail"]
    assert detail.startswith("the body is not zstd")
    options: Any = {zstd.CompressionParameter.window_log: 24, zstd.CompressionParameter.content_size_flag: 0}
    problem(post(client, zstd.compress(GOOD.ljust(9 * MIB), options=options), "zstd"), 400)


def frame(flags: bytes, rest: bytes) -> bytes:
    """A zstd frame with the good body in one raw block."""
    return b"\x28\xb5\x2f\xfd" + flags + rest + (len(GOOD) << 3 | 1).to_bytes(3, "little") + GOOD


@pytest.mark.parametrize("said", [0, 1, len(GOOD) - 1, len(GOOD) + 1, 255, 2**31, 2**62])
def test_a_zstd_frame_that_lies_about_its_size_is_refused(client: TestClient, said: int) -> None:
    large = frame(b"\xc0", b"\x68" + said.to_bytes(8, "little"))
    assert problem(post(client, large, "zstd"), 400)["detail"].startswith("the body is not zstd")
    if said < 256:
        single = frame(b"\x20", bytes([said]))
        assert problem(post(client, single, "zstd"), 400)["detail"].startswith("the body is not zstd")


def test_a_zstd_frame_that_says_its_size_is_taken(client: TestClient) -> None:
    for body in (frame(b"\x20", bytes([len(GOOD)])), frame(b"\xc0", b"\x68" + len(GOOD).to_bytes(8, "little"))):
        assert post(client, body, "zstd").status_code == 200


def test_a_dictionary_that_nobody_sent_is_refused(client: TestClient) -> None:
    maker = zlib.compressobj(zdict=GOOD)
    deflated = maker.compress(GOOD) + maker.flush()
    for body, coding in ((frame(b"\1", b"\x68\x07"), "zstd"), (deflated, "deflate")):
        detail = problem(post(client, body, coding), 400)["detail"]
        assert detail.startswith(f"the body is not {coding}")
