"""safetensors as the tests of them write, break and post them, and the same requests in JSON."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from httpx2 import Response
from numpy.typing import NDArray
from safetensors.numpy import save
from starlette.testclient import TestClient

from tests.service.bodies import BINARY
from tests.service.conftest import JSON, b64, problem

Array = NDArray[Any]
LOGITS_ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
TARGETS_ENTRY = {"dtype": "I64", "shape": [2], "data_offsets": [16, 32]}
EMPTY_ENTRY = {"dtype": "F32", "shape": [0], "data_offsets": [32, 32]}
HEADER = {"logits": LOGITS_ENTRY, "targets": TARGETS_ENTRY}
TEXT = json.dumps(HEADER).encode()
DATA = np.array([[1, 2], [3, 4]], "<f4").tobytes() + np.array([0, 1], "<i8").tobytes()


def packed(tensors: Mapping[str, Array], **options: Any) -> bytes:
    """Arrays and options as the safetensors package writes them: an option as its JSON text, a string bare."""
    said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in options.items()}
    return save({name: np.asarray(array, order="C") for name, array in tensors.items()}, said or None)


def by_hand(header: Any, data: bytes = DATA) -> bytes:
    """Any header, a document or its text, before any bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def post(client: TestClient, body: bytes, name: str = "cross_entropy", **headers: str) -> Response:
    return client.post(f"/v1/losses/{name}", content=body, headers=BINARY | headers)


def in_json(client: TestClient, tensors: Mapping[str, Array], name: str, **options: Any) -> Response:
    """The answer to the same request in JSON, its arrays as base64."""
    fields = {key: b64(array) for key, array in tensors.items()} | options
    return client.post(f"/v1/losses/{name}", content=json.dumps(fields), headers=JSON)


def refuse(client: TestClient, header: Any, data: bytes = DATA, status: int = 400) -> str:
    """The detail of the refusal that a body must have."""
    detail: str = problem(post(client, by_hand(header, data)), status)["detail"]
    return detail
