"""Random requests for reports in every form that carries one, and what they are answered with."""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from starlette.testclient import TestClient

from core.reports.declare import Task
from core.reports.tasks import TASKS
from service.wire.safetensors import DTYPES
from tests.core.reports import scores
from tests.service.bodies import BINARY
from tests.service.carriers import Body, safetensors, spelt
from tests.service.conftest import JSON, answer, b64

Array = NDArray[Any]
FORMS = ("lists", "base64", "safetensors", "gzip")
MERGE = "/v1/reports/merge"
STATE = {"Accept": "application/octet-stream"}
TENSORS = {"Accept": "application/x-safetensors"}
OF_ARRAYS = ("logits", "log_probabilities", "probabilities", "targets", "sample_weight", "bytes")


def path(task: str) -> str:
    """Where a report is asked for."""
    return f"/v1/reports/{task}"


def batch(task: Task, seed: int, samples: int = 12, classes: int = 4, kind: str = "logits") -> dict[str, Array]:
    """Random scores, targets and weights; of tokens, four to a sequence."""
    rng = np.random.default_rng(seed)
    measure = next(one for one in task.columns.alternatives if one.main.name == kind)
    found = scores.batch(measure, rng, samples, classes)
    if task.name == "tokens":
        found = {name: array.reshape(samples // 4, 4, *array.shape[2:]) for name, array in found.items()}
    return found | {"sample_weight": rng.random(len(found["targets"])).astype(np.float32)}


def size(arrays: Mapping[str, Array]) -> int:
    """How many samples there are."""
    return len(arrays["targets"])


def lists(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Arrays as nested lists."""
    return {name: spelt(array.tolist()) for name, array in arrays.items()}


def carry(form: str, task: str, arrays: Mapping[str, Array], others: Mapping[str, Any]) -> Body:
    """The request for a report that brings `arrays` and `others`, scalars and lists, in one form."""
    if form == "safetensors":
        return Body(path(task), safetensors(arrays, others), BINARY)
    sent = {name: b64(array) for name, array in arrays.items()} if form == "base64" else lists(arrays)
    content = json.dumps(sent | dict(others)).encode()
    if form == "gzip":
        return Body(path(task), gzip.compress(content), JSON | {"Content-Encoding": "gzip"})
    return Body(path(task), content, JSON)


def post(client: TestClient, body: Body, **headers: str) -> httpx2.Response:
    """What `body` is answered with."""
    return client.post(body.path, content=body.content, headers=body.headers | headers)


def report(client: TestClient, task: str, arrays: Mapping[str, Array], **others: Any) -> dict[str, Any]:
    """The report of a batch, which must be good."""
    return answer(post(client, carry("lists", task, arrays, others)))


def state(client: TestClient, task: str, arrays: Mapping[str, Array], **others: Any) -> bytes:
    """The state of a batch."""
    response = post(client, carry("base64", task, arrays, others), **STATE)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/octet-stream"
    return response.content


def text(content: bytes) -> str:
    """Bytes in base64."""
    return str(base64.b64encode(content), "ascii")


def merged(client: TestClient, *states: bytes, **more: Any) -> dict[str, Any]:
    """The report of merged states, which must be good."""
    return answer(client.post(MERGE, json={"states": list(map(text, states)), **more}))


def tensors(response: httpx2.Response) -> tuple[dict[str, str], dict[str, Array]]:
    """The texts and the tensors of an answer in safetensors."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-safetensors"
    length = int.from_bytes(response.content[:8], "little")
    header, tail = json.loads(response.content[8 : 8 + length]), response.content[8 + length :]
    said: dict[str, str] = header.pop("__metadata__")
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        found[name] = np.frombuffer(tail[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return said, found


def lists_of(task: Task, count: int) -> dict[str, Any]:
    """Some lists and texts that `task` takes, for so many samples."""
    every = {
        "ids": [f"sample {place}" for place in range(count)],
        "groups": [place % 3 for place in range(count)],
        "shard": "a",
        "top_k": [1, 3],
        "averages": ["macro", "per_class"],
        "metrics": ["auroc"],
    }
    return {name: value for name, value in every.items() if name in task.lists}


ALL = list(TASKS.values())


def merge_bodies(states: list[bytes]) -> list[tuple[bytes, dict[str, str]]]:
    """The content and the headers of every form of merge."""
    texts = list(map(text, states))
    return [
        (json.dumps(texts).encode(), JSON),
        (json.dumps({"states": texts, "state": False}).encode(), JSON),
        (b"".join(states), {"Content-Type": "application/octet-stream"}),
    ]
