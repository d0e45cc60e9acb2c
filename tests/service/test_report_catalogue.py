"""The catalogue of reports, their OpenAPI document, and which methods their paths have."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from core.reports.declare import Labels, Picks, Task
from core.reports.tasks import TASKS
from tests.service.conftest import answer, problem
from tests.service.reporting import ALL, MERGE, batch, carry, lists, lists_of, path, post, size, state, text

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(client: TestClient) -> Document:
    found: Document = client.get("/openapi.json").json()
    return found


def validator(document: Document, name: str, *, answered: bool = False) -> Draft202012Validator:
    found = document["paths"][name]["post"]
    content = found["responses"]["200"]["content"] if answered else found["requestBody"]["content"]
    return Draft202012Validator(content["application/json"]["schema"] | {"components": document["components"]})


def test_the_catalogue_lists_every_task_once(client: TestClient) -> None:
    found = answer(client.get("/v1/reports"))
    assert list(found) == ["reports"]
    assert [entry["name"] for entry in found["reports"]] == list(TASKS)
    for entry in found["reports"]:
        assert answer(client.get(entry["href"])) == entry


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_an_entry_is_the_declaration(client: TestClient, task: Task) -> None:
    found = answer(client.get(path(task.name)))
    named = {kind: [entry["name"] for entry in found[kind]] for kind in ("inputs", "options", "lists", "columns")}
    assert named == {
        "inputs": [tensor.name for tensor in task.request.tensors],
        "options": [scalar.name for scalar in task.request.scalars],
        "lists": list(task.lists),
        "columns": list(task.columns.outputs),
    }
    assert {entry["name"] for entry in found["columns"] if entry["dtype"] == "int64"} == task.columns.indices
    for entry, listed in zip(found["lists"], task.lists.values(), strict=True):
        assert entry["type"] == ("array" if isinstance(listed, Labels | Picks) else "string")
        assert (entry["range"], entry["description"]) == (listed.says, listed.doc)
    assert [part["name"] for part in found["parts"]] == [part.name for part in task.parts]
    assert found["state_bytes"] == task.state_bytes(1000)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_every_metric_is_described_and_its_example_is_true(client: TestClient, task: Task) -> None:
    found = answer(client.get(path(task.name)))
    reported = answer(client.post(found["href"], json=found["example"]))["metrics"]
    parts = {part["name"] for part in found["parts"]}
    assert [metric["name"] for metric in found["metrics"]] == [metric.name for metric in task.metrics]
    for metric in found["metrics"]:
        assert metric["description"]
        assert metric["formula"]
        assert metric["source"]
        assert set(metric["state"]) <= parts
        low, high = (float(end) for end in metric["range"])
        values = [float(reported[name]["value"]) for name in reported if name == metric["name"]] or [
            float(reported[metric["name"].replace("k", str(k), 1)]["value"]) for k in found["example"]["top_k"]
        ]
        assert values == pytest.approx([float(value) for value in metric["example"]], rel=1e-5, nan_ok=True)
        assert all(low <= value <= high or value != value for value in values)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_requests_and_answers_are_described(client: TestClient, document: Document, task: Task) -> None:
    operation = document["paths"][path(task.name)]["post"]
    assert list(operation["requestBody"]["content"]) == ["application/json", "application/octet-stream"]
    example = operation["requestBody"]["content"]["application/json"]["examples"]["example1"]["value"]
    assert example == task.example
    arrays = batch(task, 1)
    wanted = {"columns": True, "state": True}
    bodies = [
        example,
        lists(arrays) | lists_of(task, size(arrays)) | wanted,
        lists(arrays) | {"ids": list(range(size(arrays)))},
    ]
    if "confusion" in task.request.names:
        bodies.append(example | {"confusion": True, "binning": "mass", "averages": []})
    for body in bodies:
        validator(document, path(task.name)).validate(body)
        found = answer(client.post(path(task.name), json=body))
        validator(document, path(task.name), answered=True).validate(found)
    content = post(client, carry("base64", task.name, arrays, {"shard": "a", "state": True})).json()["state"]
    validator(document, MERGE).validate({"states": [content]})
    validator(document, MERGE, answered=True).validate(answer(client.post(MERGE, json={"states": [content]})))


def test_a_matrix_too_large_is_described_as_its_top(client: TestClient, document: Document) -> None:
    body = {"logits": [[0.0] * 201] * 2, "targets": [3, 0], "confusion": True, "averages": ["macro"]}
    found = answer(client.post(path("multiclass"), json=body))
    assert found["confusion"]["top"] == [{"target": 3, "predicted": 0, "weight": 1.0}]
    validator(document, path("multiclass"), answered=True).validate(found)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_the_fields_are_the_declaration(document: Document, task: Task) -> None:
    schema = document["paths"][path(task.name)]["post"]["requestBody"]["content"]["application/json"]["schema"]
    found = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert set(found["properties"]) == {*task.names, "columns", "state", "dtype"}
    assert found["required"] == ["targets"]
    assert found["additionalProperties"] is False
    whole = {"components": document["components"]}
    for name, field in found["properties"].items():
        assert field["description"], name
        if "default" in field:
            assert Draft202012Validator(field | whole).is_valid(field["default"]), name


@pytest.mark.parametrize(
    "change",
    [
        {"unheard": 1},
        {"ids": [0.5]},
        {"ids": "a"},
        {"ids": [None]},
        {"ids": ["a", 1]},
        {"top_k": [0]},
        {"top_k": ["1"]},
        {"averages": ["median"]},
        {"averages": ["macro", "macro"]},
        {"confidence": 1},
        {"bins": 1001},
        {"shard": 5},
        {"shard": "x" * 257},
        {"columns": 1},
        {"state": None},
        {"targets": ...},
    ],
)
def test_what_the_schema_can_refuse_both_refuse(client: TestClient, document: Document, change: dict[str, Any]) -> None:
    body = {"logits": [[1, 2]], "targets": [0]} | change
    body = {name: value for name, value in body.items() if value is not ...}
    assert not validator(document, path("multiclass")).is_valid(body)
    problem(client.post(path("multiclass"), json=body), 422)


@pytest.mark.parametrize("name", ["/v1/reports", path("binary")])
def test_head_is_answered_where_get_is(client: TestClient, name: str) -> None:
    got, head = client.get(name), client.head(name)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.parametrize(
    ("method", "name", "allowed"),
    [
        ("GET", MERGE, "POST"),
        ("DELETE", MERGE, "GET, HEAD, POST"),
        ("POST", "/v1/reports", "GET, HEAD"),
        ("PUT", path("binary"), "GET, HEAD, POST"),
    ],
)
def test_another_method_is_not_allowed(client: TestClient, method: str, name: str, allowed: str) -> None:
    response = client.request(method, name)
    problem(response, 405)
    assert response.headers["Allow"] == allowed


def test_no_other_task_is_there(client: TestClient) -> None:
    for response in (client.get("/v1/reports/none"), client.post("/v1/reports/none", json={})):
        assert "there are binary, multiclass, multilabel, tokens" in problem(response, 404)["detail"]


def test_a_state_is_as_large_as_the_catalogue_says_at_most(client: TestClient) -> None:
    for task in ALL:
        content = state(client, task.name, batch(task, 1, samples=400, classes=10))
        assert len(content) < task.state_bytes(10)
        assert text(content)
