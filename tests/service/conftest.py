"""A client of the app, in this process, with the graphs loaded; how tests send arrays and read refusals."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from core.engine import Engine
from service.app import create_app
from service.settings import Settings

JSON = {"Content-Type": "application/json"}
LOSS = "/v1/losses/cross_entropy"
GOOD = b'{"logits": [[1, 2], [3, 4]], "targets": [0, 1]}'


@contextmanager
def serving(**settings: Any) -> Iterator[TestClient]:
    """A client of an app with some settings of its own."""
    merged: Any = {"device": "cpu", "threads": 2} | settings
    app = create_app(Settings(**merged))
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """A client of an app with the default settings."""
    with serving() as made:
        yield made


def b64(array: NDArray[Any], dtype: str = "") -> dict[str, Any]:
    """An array as an object of dtype, shape and base64 text; `dtype` is the name to send, if not NumPy's."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    text = base64.b64encode(np.ascontiguousarray(little).tobytes()).decode()
    return {"dtype": dtype or array.dtype.name, "shape": list(array.shape), "b64": text}


def zeros(*shape: int, dtype: str = "float32") -> dict[str, Any]:
    """Zeros as a base64 object; of a shape with a 0 in it there are no bytes, whatever the other sizes."""
    count = 0 if 0 in shape else int(np.prod(shape, dtype=np.int64))
    return b64(np.zeros(count, dtype)) | {"shape": list(shape)}


def answer(response: httpx2.Response) -> dict[str, Any]:
    """The document of a 200."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


def ask(client: TestClient, name: str, fields: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The answer to a batch that must be good."""
    return answer(client.post(f"/v1/losses/{name}", json={**fields, **more}))


def problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    """The problem document of a failure, once its shape, type and bounds are checked."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["Content-Type"] == "application/problem+json"
    assert len(response.content) <= 8 * 1024
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert found["type"].startswith("/problems/")
    assert found["title"]
    assert found["detail"]
    assert found["error"] == found["detail"]
    assert found["request_id"] == response.headers["X-Request-ID"]
    assert set(found) <= {"type", "title", "status", "detail", "error", "request_id", "errors"}
    if status == 422:
        assert 1 <= len(found["errors"]) <= 20
    for error in found.get("errors", []):
        assert set(error) == {"pointer", "detail"}
        assert error["detail"]
        assert not error["pointer"] or error["pointer"].startswith("/")
    return found


def refuse(client: TestClient, body: bytes | str, status: int, name: str = "cross_entropy") -> dict[str, Any]:
    """The problem document that a JSON body must be answered with."""
    return problem(client.post(f"/v1/losses/{name}", content=body, headers=JSON), status)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the engine has been asked to compute."""
    asked: list[Any] = []
    real = Engine.per_sample

    def watch(engine: Engine, batch: Any, *cancelled: Any) -> Any:
        asked.append(batch)
        return real(engine, batch, *cancelled)

    monkeypatch.setattr(Engine, "per_sample", watch)
    return asked
