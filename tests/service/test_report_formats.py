"""Whatever carries a batch, and in whatever the answer comes, the report is the same."""

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.arguments import Untyped
from core.declare import Kind
from core.engine import Engine
from core.reports import storage
from core.reports.columns import COLUMNS
from core.reports.declare import Task
from core.reports.prepare import prepare
from core.reports.report import report as report_of
from core.reports.state import gather
from core.reports.tasks import TASKS
from tests.service.carriers import WORDS
from tests.service.conftest import answer, b64
from tests.service.reporting import ALL, FORMS, STATE, TENSORS, Array, batch, carry, lists_of, path, post, size, tensors


def plain(value: Any) -> Any:
    """A document of the core as JSON has it."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return WORDS.get(str(value), value) if isinstance(value, float) else value


@pytest.mark.parametrize("kind", ["logits", "log_probabilities", "probabilities"])
@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_every_form_has_the_report_and_the_state_of_the_core(client: TestClient, task: Task, kind: str) -> None:
    arrays = batch(task, 1, kind=kind)
    lists = lists_of(task, size(arrays))
    if task.name == "tokens":
        arrays["bytes"] = np.arange(size(arrays))
    engine = Engine(COLUMNS.values(), device="cpu", threads=1)
    job = prepare(task, arrays | lists)
    values = engine.per_sample(job.batch)
    wanted = gather(job, values)
    engine.close()
    document = plain(report_of(wanted)) | {"dtype": "float32"}
    columns = {name: values.arrays[name].reshape(job.batch.plan.samples) for name in task.columns.outputs}
    for form in FORMS:
        found = answer(post(client, carry(form, task.name, arrays, lists | {"columns": True, "state": True})))
        assert base64.b64decode(found.pop("state")) == storage.write(wanted), form
        sent = found.pop("columns")
        assert list(sent) == list(columns)
        for name, column in columns.items():
            np.testing.assert_array_equal(np.array(sent[name], column.dtype), column, form)
        assert found == document, form
        assert post(client, carry(form, task.name, arrays, lists), **STATE).content == storage.write(wanted)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_safetensors_have_the_columns_as_tensors_and_the_rest_as_text(client: TestClient, task: Task) -> None:
    body = carry("base64", task.name, batch(task, 2), lists_of(task, size(batch(task, 2))) | {"columns": True})
    wanted = answer(post(client, body))
    said, found = tensors(post(client, body, **TENSORS))
    assert json.loads(said["report"]) | {"columns": wanted["columns"], "dtype": said["dtype"]} == wanted
    assert set(said) == {"report", "dtype"}
    for name, column in found.items():
        np.testing.assert_array_equal(column, np.array(wanted["columns"][name], column.dtype))
    assert {name for name, array in found.items() if array.dtype == np.int64} == task.columns.indices
    small = carry("base64", task.name, batch(task, 2), {"state": True})
    said, found = tensors(post(client, small, **TENSORS))
    assert not found
    assert base64.b64decode(said["state"]) == post(client, small, **STATE).content


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_the_example_answers_as_sent(client: TestClient, task: Task) -> None:
    found = answer(client.post(path(task.name), json=dict(task.example)))
    assert found["task"] == task.name
    for metric in task.metrics:
        for value in np.atleast_1d(metric.examples[task.name]).tolist():
            names = [name for name in found["metrics"] if name == metric.name or "k" in metric.name.split("_")]
            assert any(found["metrics"][name]["value"] == pytest.approx(value, rel=1e-5) for name in names), metric.name


IDS: dict[str, Any] = {
    "strings": ["a[", "b:1", '"', "ü", "", "x" * 256],
    "integers": [5, -(2**63), 2**63 - 1, 0, 1, 2],
    "none": None,
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("form", FORMS)
def test_names_come_back_as_they_were_sent(client: TestClient, name: str, form: str) -> None:
    arrays: dict[str, Array] = {
        "probabilities": np.array([0.9, 0.1, 0.5, 0.2, 0.3, 0.4], np.float32),
        "targets": np.zeros(6, np.int64),
    }
    others = {"ids": IDS[name], "shard": "s"} if IDS[name] else {"shard": "s"}
    found = answer(post(client, carry(form, "binary", arrays, others)))["worst"]
    order = [0, 2, 5, 4, 3, 1]
    assert [one["id"] for one in found] == [IDS[name][place] if IDS[name] else f"s:{place}" for place in order]


@pytest.mark.parametrize("odd", [1.0, math.nan, math.inf])
def test_losses_come_back_whatever_the_names_look_like(client: TestClient, odd: float) -> None:
    arrays: dict[str, Array] = {"logits": np.array([odd, 1], np.float32), "targets": np.zeros(2, np.int64)}
    found = answer(post(client, carry("safetensors", "binary", arrays, {"ids": ["null", "NaN"]})))["worst"]
    loss = {1.0: pytest.approx(1.3132616, rel=1e-6), math.inf: "Infinity"}.get(odd, "NaN")
    assert {one["id"]: one["loss"] for one in found} == {"null": loss, "NaN": pytest.approx(1.3132616, rel=1e-6)}


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
@pytest.mark.parametrize("form", ["base64", "safetensors"])
def test_ids_and_groups_may_be_tensors(client: TestClient, form: str, dtype: str) -> None:
    arrays: dict[str, Array] = {"logits": np.array([3, 1, 2], np.float32), "targets": np.array([0, 0, 0])}
    wanted = answer(post(client, carry("lists", "binary", arrays, {"ids": [7, 8, 9], "groups": [1, 1, 2]})))
    arrays |= {"ids": np.array([7, 8, 9], dtype), "groups": np.array([1, 1, 2], dtype)}
    assert answer(post(client, carry(form, "binary", arrays, {}))) == wanted


def test_long_lists_are_read_in_pieces_as_whole(client: TestClient) -> None:
    size = 40_000
    rng = np.random.default_rng(3)
    arrays: dict[str, Array] = {"logits": rng.normal(size=size).astype(np.float32), "targets": rng.integers(0, 2, size)}
    for ids in (
        [f"sample {n}" for n in range(size)],
        [f"shard:{n}" for n in range(size)],
        list(range(10**9, 10**9 + size)),
    ):
        wanted = answer(post(client, carry("safetensors", "binary", arrays | ids_of(ids), rest_of(ids))))
        assert answer(post(client, carry("lists", "binary", arrays, {"ids": ids}))) == wanted
        assert {one["id"] for one in wanted["worst"]} <= set(ids)


def ids_of(ids: list[Any]) -> dict[str, Array]:
    """`ids` as a tensor, where they are integers."""
    return {"ids": np.array(ids)} if isinstance(ids[0], int) else {}


def rest_of(ids: list[Any]) -> dict[str, Any]:
    """`ids` as a list, where they are none."""
    return {} if isinstance(ids[0], int) else {"ids": ids}


def test_a_report_is_what_it_was_when_the_body_is_gone(client: TestClient) -> None:
    """A body so large that its memory is given back before the answer is written."""
    rng = np.random.default_rng(4)
    arrays: dict[str, Array] = {
        "logits": rng.standard_normal((90_000, 100), np.float32),
        "targets": rng.integers(0, 100, 90_000),
    }
    others = {"columns": True, "state": True, "averages": ["macro"]}
    said, columns = tensors(post(client, carry("safetensors", "multiclass", arrays, others), **TENSORS))
    engine = Engine(COLUMNS.values(), device="cpu", threads=2)
    job = prepare(TASKS["multiclass"], {**arrays, "averages": ["macro"]})
    values = engine.per_sample(job.batch)
    engine.close()
    assert base64.b64decode(said["state"]) == storage.write(gather(job, values))
    for name, column in columns.items():
        np.testing.assert_array_equal(column, values.arrays[name])


def test_lists_are_read_as_the_dtype_that_is_said(client: TestClient) -> None:
    for dtype in ("float32", "float64"):
        given = {"logits": Untyped(np.array([0.1, 0.2])), "targets": Untyped(np.array([0, 1]))}
        job = prepare(TASKS["binary"], given, dtype=dtype)
        found = answer(client.post(path("binary"), json={"logits": [0.1, 0.2], "targets": [0, 1], "dtype": dtype}))
        assert found["dtype"] == dtype == job.spec.dtype
    typed = {"logits": b64(np.array([0.1, 0.2])), "targets": [0, 1]}
    assert answer(client.post(path("binary"), json=typed))["dtype"] == "float64"


def test_the_scores_of_every_task_may_be_any_float(client: TestClient) -> None:
    for task in ALL:
        for dtype in ("float16", "float32", "float64"):
            arrays = {
                name: array.astype(dtype) if array.dtype.kind == "f" else array
                for name, array in batch(task, 5).items()
            }
            found = answer(post(client, carry("safetensors", task.name, arrays, {})))
            assert found["dtype"] == ("float64" if dtype == "float64" else "float32")
            assert task.request.main.kind is Kind.FLOAT
