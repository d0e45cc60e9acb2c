"""Bodies that mean harm, and what every answer to one must be: a small problem document, and the service as before."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

from tests.service.bodies import INFER
from tests.service.conftest import GOOD, JSON, LOSS

MOST_BYTES = 8 * 1024
KNOWN = (
    b'{"loss":0.8132616,"reduction":"mean","per_sample":[1.3132616,0.31326166],'
    b'"totals":{"sum":1.6265232861042023,"weight":2.0,"count":2,"ignored":0},"dtype":"float32"}'
)


def refusal(client: TestClient, path: str, body: bytes, headers: Mapping[str, str] = JSON) -> tuple[int, str]:
    """The status and reason with which `body` is refused, once their form is checked, and that a good request is
    answered after it as ever."""
    found = client.post(path, content=body, headers=dict(headers))
    assert 400 <= found.status_code < 500, (found.status_code, found.text[:300])
    v2 = path.startswith("/v2")
    assert found.headers["Content-Type"] == ("application/json" if v2 else "application/problem+json")
    assert len(found.content) <= MOST_BYTES
    document: dict[str, Any] = json.loads(found.content)
    assert document["status"] == found.status_code
    assert document["error"] == document["detail"]
    assert document["request_id"] == found.headers["X-Request-ID"]
    assert len(document.get("errors", [])) <= 20
    assert client.post(LOSS, content=GOOD, headers=JSON).content == KNOWN
    return found.status_code, document["detail"]


def native(targets: str, logits: str = "[[1, 2, 3], [4, 5, 6]]") -> tuple[str, bytes]:
    """A request on /v1 with these lists."""
    return LOSS, f'{{"logits": {logits}, "targets": {targets}}}'.encode("utf-8", "surrogatepass")


def inference(
    targets: str, datatype: str = "INT64", shape: str = "[2]", logits: str = "[1,2,3,4,5,6]"
) -> tuple[str, bytes]:
    """The same on /v2 as JSON."""
    first = f'{{"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": {logits}}}'
    second = f'{{"name": "targets", "datatype": "{datatype}", "shape": {shape}, "data": {targets}}}'
    return INFER, f'{{"inputs": [{first}, {second}]}}'.encode("utf-8", "surrogatepass")
