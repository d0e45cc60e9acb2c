"""Every refusal reads as its reason in Triton's client."""

from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from core.engine import Engine
from tests.service.bodies import BATCH, INFER, LENGTH
from tests.service.live import listening
from tests.service.triton.refusals import NOT_THERE, REFUSALS, Refusal, refused
from tests.service.triton.requests import asked, check, computed, document, tensors


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_reads_as_its_reason(address: str, triton: Any, engine: Engine, refusal: Refusal) -> None:
    reason = refusal.reason(address)
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(**refusal.arguments)
    assert (caught.value.message(), caught.value.status()) == (reason, str(refusal.status))
    check(
        triton.infer("cross_entropy", tensors(BATCH)), computed(engine, "cross_entropy", BATCH)
    )  # the connection lives


@pytest.mark.parametrize(("method", "arguments", "status", "request_", "says"), NOT_THERE)
def test_what_is_not_there_reads_as_its_reason(
    address: str, triton: Any, method: str, arguments: list[str], status: int, request_: str, says: str
) -> None:
    reason = refused(address, status, says, *request_.split())
    with pytest.raises(InferenceServerException) as caught:
        getattr(triton, method)(*arguments)
    assert (caught.value.message(), caught.value.status()) == (reason, str(status))


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b'{"inputs": [], "inputs": []}', 400, "more than once"),
        (b'{"inputs": "logits"}', 400, "inputs"),
        (b'{"inputs": [1]}', 400, "inputs[0] is 1, but must be an object"),
        (b'{"inputs": [{}]}', 400, "inputs[0].name is null"),
        (b'{"id": 5, "inputs": []}', 400, "id is 5, but must be a string"),
        (b'{"inputs": [], "parameters": [1]}', 400, "parameters is an array, but must be an object"),
        (b"\xff", 400, "the body is not UTF-8"),
    ],
)
def test_a_body_that_is_no_request_is_refused(address: str, body: bytes, status: int, says: str) -> None:
    refused(address, status, says, "POST", INFER, body)


@pytest.mark.parametrize("length", ["-1", "+1", "1.5", "1e2", "ten", "", "0", "0x10", "99999", "9" * 30, "²"])
def test_a_length_of_the_header_that_is_a_lie_is_refused(address: str, length: str) -> None:
    body, _ = InferenceServerClient.generate_request_body(tensors(BATCH))
    refused(address, 400, LENGTH, "POST", INFER, body, {LENGTH: length})


@pytest.mark.parametrize("change", [-1, 1, -40, 40])
def test_a_tail_of_another_size_than_its_tensors_is_refused(address: str, change: int) -> None:
    body, length = InferenceServerClient.generate_request_body(tensors(BATCH))
    body = body + bytes(change) if change > 0 else body[:change]
    refused(address, 400, "bytes", "POST", INFER, body, {LENGTH: str(length)})


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_a_body_over_the_limit_reads_as_its_reason(coding: str | None) -> None:
    large = tensors({"logits": np.zeros((10**6, 3), np.float32), "targets": np.zeros(10**6, int)})
    with listening(max_body_bytes=10**6) as small, InferenceServerClient(small) as triton:
        for _ in range(2):
            with pytest.raises(InferenceServerException) as caught:
                triton.infer("cross_entropy", large, request_compression_algorithm=coding)
            assert caught.value.status() == "413"
            assert caught.value.message() == "the body is larger than 1000000 bytes, the limit MAX_BODY_BYTES"


def test_an_answer_too_long_for_json_is_refused_and_binary_named(triton: Any) -> None:
    fields = {"log_probabilities": np.zeros(2**23, np.float16), "targets": np.ones(1, np.float16)}
    with pytest.raises(InferenceServerException) as caught:
        triton.infer("kl_div", tensors(fields), outputs=asked({"per_sample": 0}, binary=False))
    assert caught.value.status() == "400"
    assert "binary outputs on /v2" in caught.value.message()
    assert triton.infer("kl_div", tensors(fields)).as_numpy("count").tolist() == [2**23]


def test_a_request_in_chunks_is_answered(address: str) -> None:
    body, length = InferenceServerClient.generate_request_body(
        tensors(BATCH), outputs=asked({"count": 0}, binary=False)
    )
    connection = HTTPConnection(address, timeout=30)
    connection.request("POST", INFER, iter([body[:100], body[100:]]), {LENGTH: str(length)}, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200
    assert document(response.read())["outputs"][0]["data"] == [2]
    connection.close()
