"""Reports by HTTP: what is answered, and what is refused, with which words."""

import threading
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.errors import BadState
from core.reports.declare import Task
from core.reports.tasks import TASKS
from service.problems import from_core
from service.wire import reports
from service.work import Work
from tests.service.conftest import JSON, answer, b64, problem, serving
from tests.service.live import listening
from tests.service.raw import connected, request
from tests.service.reporting import (
    ALL,
    MERGE,
    STATE,
    TENSORS,
    Array,
    batch,
    carry,
    lists,
    path,
    post,
    report,
    size,
    state,
    text,
)

BINARY: dict[str, Any] = {"logits": [1.0, -2.0, 0.5], "targets": [1, 0, 0]}
CLASSES: dict[str, Any] = {"logits": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "targets": [0, 2]}


def asked(client: TestClient, fields: dict[str, Any], task: str = "binary", status: int = 422) -> dict[str, Any]:
    """The problem that a report is refused with."""
    return problem(client.post(path(task), json=fields), status)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_a_report_says_what_it_is_of(client: TestClient, task: Task) -> None:
    arrays = batch(task, 1)
    response = client.post(path(task.name), json=lists(arrays), headers={"X-Request-ID": "mine"})
    found = answer(response)
    assert list(found)[:5] == ["task", "samples", "ignored", "non_finite", "weight"]
    assert list(found)[-2:] == ["worst", "dtype"]
    assert (found["task"], found["samples"] + found["ignored"], found["dtype"]) == (task.name, size(arrays), "float32")
    assert response.headers["X-Request-ID"] == "mine"
    assert response.headers["Lossmeter-Device"] == "cpu"
    assert [part.partition(";")[0] for part in response.headers["Server-Timing"].split(", ")] == [
        "decode",
        "compute",
        "encode",
    ]
    for value in found["metrics"].values():
        assert {"value", "interval", "method"} <= set(value) <= {"value", "interval", "method", "bound"}


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_columns_and_state_are_there_only_on_request(client: TestClient, task: Task) -> None:
    arrays = batch(task, 2)
    plain = report(client, task.name, arrays)
    more = report(client, task.name, arrays, columns=True, state=True)
    assert set(more) - set(plain) == {"columns", "state"}
    assert {name: value for name, value in more.items() if name in plain} == plain
    assert more["state"] == text(state(client, task.name, arrays))
    assert list(more["columns"]) == list(task.columns.outputs)


def test_ignored_samples_have_their_columns_in_their_places(client: TestClient) -> None:
    found = report(client, "multiclass", {**_arrays(CLASSES), "targets": np.array([-100, 2])}, columns=True)
    assert (found["samples"], found["ignored"]) == (1, 1)
    assert (found["columns"]["predicted"], found["columns"]["loss"][0]) == ([-1, 1], 0)


def _arrays(fields: dict[str, Any]) -> dict[str, Any]:
    return {"logits": np.array(fields["logits"], np.float32), "targets": np.array(fields["targets"])}


def test_what_is_undefined_is_a_word_and_never_null(client: TestClient) -> None:
    response = client.post(path("binary"), json={"logits": [1.0, "Infinity"], "targets": [1, 1]})
    found = answer(response)
    assert found["metrics"]["auroc"]["value"] == "NaN"
    assert found["metrics"]["auroc"]["interval"] == ["NaN", "NaN"]
    assert found["curves"]["roc"]["thresholds"][0] == "Infinity"
    assert "null" not in response.text
    assert "NaN," not in response.text.replace('"NaN",', "")
    empty = answer(client.post(path("multiclass"), json={"logits": b64(np.zeros((0, 3))), "targets": []}))
    assert (empty["samples"], empty["metrics"]["accuracy"]["value"]) == (0, "NaN")


def test_groups_have_a_report_each(client: TestClient) -> None:
    fields = BINARY | {"groups": ["b", "a", "b"], "ids": [1, 2, 3]}
    found = answer(client.post(path("binary"), json=fields))
    assert list(found["groups"]) == ["a", "b"]
    assert [found["groups"][label]["samples"] for label in "ab"] == [1, 2]
    own = answer(client.post(path("binary"), json={"logits": [1.0, 0.5], "targets": [1, 0], "ids": [1, 3]}))
    assert {**own, "dtype": None, "task": None} == {**found["groups"]["b"], "dtype": None, "task": None}


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"unheard": 1}, "/unheard", "unheard is not known: binary takes logits"),
        ({"per_sample": True}, "/per_sample", "per_sample is not known"),
        ({"probabilities": [0.5] * 3}, "/probabilities", "exactly one of logits, log_probabilities, probabilities"),
        (
            {"logits": ...},
            "",
            "exactly one of logits, log_probabilities, probabilities must be there, but there is none",
        ),
        ({"targets": ...}, "/targets", "targets is missing"),
        ({"logits": ..., "targets": ..., "ids": ["a"]}, "/targets", "targets is missing"),
        ({"targets": [1, 0, 2]}, "/targets/2", "targets[2] is 2"),
        ({"targets": [1, 0]}, "/targets", "targets has shape (2,)"),
        ({"targets": [1, 0, 0.5]}, "/targets/2", "must be a 64-bit integer"),
        ({"columns": 1}, "/columns", "columns is 1, but must be true or false"),
        ({"state": "yes"}, "/state", 'state is "yes", but must be true or false'),
        ({"dtype": "float16"}, "/dtype", 'must be one of "float32", "float64"'),
        ({"ids": [1, 2]}, "/ids", "ids is an array of int64 of shape (2,), but must be integers of shape (3,)"),
        ({"ids": ["a", "b"]}, "/ids", "ids has 2 entries, but must have 3: one for each sample"),
        ({"ids": ["a"] * 4}, "/ids", "ids has 4 entries, but at most 3 are possible here"),
        ({"ids": ["a", 1, "b"]}, "/ids/1", "ids[1] is 1, but must be a 64-bit integer or a string of at most 256"),
        ({"ids": [1, 2, 2.5]}, "/ids/2", "ids[2] is 2.5"),
        ({"ids": [1, 2, 2**63]}, "/ids/2", "ids[2] is 9223372036854775808"),
        ({"ids": [True, False, True]}, "/ids/0", "ids[0] is true"),
        ({"ids": [None, "a", "b"]}, "/ids/0", "ids[0] is null"),
        ({"ids": ["a", "b", ["c"]]}, "/ids/2", "ids[2] is an array"),
        ({"ids": ["a", "b", {}]}, "/ids/2", "ids[2] is an object"),
        ({"ids": [1, [2], 3]}, "/ids/1", "ids[1] is a list"),
        ({"ids": [[1], [2], [3]]}, "/ids", "must be integers of shape (3,)"),
        ({"ids": ["a", "b", "x" * 257]}, "/ids/2", "of at most 256 characters"),
        ({"ids": "abc"}, "/ids", 'ids is "abc", but must be a list of strings or of integers'),
        ({"ids": None}, "/ids", "ids is null"),
        ({"ids": b64(np.array([1.0, 2, 3]))}, "/ids", "ids is an array of float64 of shape (3,)"),
        ({"groups": ["a", "b"]}, "/groups", "groups has 2 entries"),
        ({"shard": 5}, "/shard", "shard is 5, but must be a string of at most 256 characters"),
        ({"shard": "x" * 257}, "/shard", "a string of at most 256 characters"),
        ({"shard": ["a"]}, "/shard", "shard is an array"),
        ({"sample_weight": [1, 1, -1]}, "/sample_weight/2", "sample_weight[2] is -1.0"),
        ({"sample_weight": [1, 1]}, "/sample_weight", "one value a sample"),
        ({"bins": 0}, "/bins", "bins is 0, but must be between 1 and 1000"),
        ({"bins": 1.5}, "/bins", "bins is 1.5"),
        ({"confidence": 1}, "/confidence", "above 0.0 and below 1.0"),
        ({"threshold": "NaN"}, "/threshold", "threshold"),
        ({"binning": "depth"}, "/binning", 'binning is "depth", but must be one of "width", "mass"'),
    ],
)
def test_a_wrong_field_is_named(client: TestClient, change: dict[str, Any], pointer: str, says: str) -> None:
    fields = {name: value for name, value in (BINARY | change).items() if value is not ...}
    found = asked(client, fields)
    assert found["errors"][0]["pointer"] == pointer
    assert says in found["detail"]


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"metrics": ["f2"]}, "/metrics/0", 'metrics[0] is "f2", but must be one of "auroc"'),
        ({"metrics": ["auroc", "auroc"]}, "/metrics/1", "each once"),
        ({"metrics": "auroc"}, "/metrics", 'metrics is "auroc"'),
        ({"averages": [["macro"]]}, "/averages/0", "averages[0] is an array"),
        ({"top_k": [0]}, "/top_k/0", "top_k[0] is 0"),
        ({"top_k": [1.0]}, "/top_k/0", "top_k[0] is 1.0"),
        ({"top_k": list(range(1, 18))}, "/top_k", "top_k has 17 entries, but at most 16 are possible here"),
        ({"top_k": {}}, "/top_k", "top_k is an object"),
        ({"confusion": 1}, "/confusion", "confusion is 1, but must be true or false"),
    ],
)
def test_a_wrong_list_is_named(client: TestClient, change: dict[str, Any], pointer: str, says: str) -> None:
    found = asked(client, CLASSES | change, "multiclass")
    assert found["errors"][0]["pointer"] == pointer
    assert says in found["detail"]


@pytest.mark.parametrize(
    ("said", "pointer"),
    [({"ids": "[1, 2"}, "/ids"), ({"ids": "{}"}, "/ids"), ({"top_k": "5"}, "/top_k"), ({"columns": "yes"}, "/columns")],
)
def test_a_wrong_text_of_safetensors_is_named(client: TestClient, said: dict[str, str], pointer: str) -> None:
    found = problem(post(client, carry("safetensors", "multiclass", _arrays(CLASSES), said)), 422)
    assert found["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("name", ["ids", "columns", "logits"])
def test_a_key_that_is_there_twice_is_malformed(client: TestClient, name: str) -> None:
    content = f'{{"logits": [1], "targets": [1], "{name}": [1], "{name}": [1]}}'.encode()
    assert name in problem(client.post(path("binary"), content=content, headers=JSON), 400)["detail"]


def test_what_goes_wrong_with_a_body_goes_wrong_as_with_a_loss(client: TestClient) -> None:
    problem(client.post(path("binary"), content=b"{", headers=JSON), 400)
    problem(client.post(path("binary"), content=b"{}"), 415)
    problem(client.post(path("binary"), content=b"{}", headers=JSON | {"Content-Encoding": "br"}), 415)
    problem(client.post(path("binary"), content=b"xx", headers={"Content-Type": "application/x-safetensors"}), 400)
    problem(client.post(path("none"), json=BINARY), 404)
    late = client.post(path("binary"), json=BINARY, headers={"X-Request-Timeout": "0.0000001"})
    assert problem(late, 503)["type"] == "/problems/deadline-exceeded"


def test_limits_are_those_of_losses(client: TestClient) -> None:
    with serving(max_json_bytes=3000, max_elements=20) as tight:
        assert "MAX_JSON_BYTES" in problem(tight.post(path("binary"), content=b" " * 3001, headers=JSON), 413)["detail"]
        found = problem(tight.post(path("binary"), json={"logits": [0] * 21, "targets": [0] * 21}), 422)
        assert found["errors"][0]["pointer"] == "/logits"
        assert "averages" in asked(tight, CLASSES, "multiclass")["detail"]
        for accepted in (TENSORS, STATE):
            assert tight.post(path("multiclass"), json=CLASSES, headers=accepted).status_code == 200


def test_columns_that_cannot_fit_are_refused_before_they_are_computed(computed: list[Any]) -> None:
    arrays: dict[str, Array] = {"logits": np.zeros(1000, np.float32), "targets": np.zeros(1000, np.int64)}
    with serving(max_json_bytes=7000) as tight:
        body = carry("safetensors", "binary", arrays, {"columns": True})
        assert "MAX_JSON_BYTES" in problem(post(tight, body), 422)["detail"]
        assert not computed
        assert post(tight, body, **TENSORS).status_code == 200
        assert computed


def test_classes_that_cannot_fit_are_refused(client: TestClient) -> None:
    arrays: dict[str, Array] = {"logits": np.zeros((1, 10_000), np.float32), "targets": np.zeros(1, np.int64)}
    with serving(max_json_bytes=40_000) as tight:
        found = problem(post(tight, carry("safetensors", "multiclass", arrays, {})), 422)
        assert "averages (per_class)" in found["detail"]
        body = carry("safetensors", "multiclass", arrays, {"averages": ["macro"]})
        assert post(tight, body).status_code == 200


def test_an_answer_that_cannot_fit_is_not_written(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: dict[str, Array] = {"logits": np.zeros((1, 1000), np.float32), "targets": np.zeros(1, np.int64)}
    body = carry("safetensors", "multiclass", arrays, {})
    monkeypatch.setattr(reports, "MOST_TEXT", 23_000)
    assert "the most of a header of safetensors" in problem(post(client, body, **TENSORS), 422)["detail"]
    written: list[Any] = []
    monkeypatch.setattr(reports, "dump", written.append)
    monkeypatch.setattr(reports, "MOST_TEXT", 10_000)
    with serving(max_json_bytes=10_000) as tight:
        problem(post(tight, body), 422)
        problem(post(tight, body, **TENSORS), 422)
    assert not written


def test_groups_that_cannot_fit_are_not_written_whatever_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: dict[str, Array] = {"logits": np.zeros((1, 1000), np.float32), "targets": np.zeros(1, np.int64)}
    body = carry("safetensors", "multiclass", arrays, {"groups": ["metrics"]})
    written: list[Any] = []
    monkeypatch.setattr(reports, "dump", written.append)
    with serving(max_json_bytes=30_000) as tight:  # room for the classes of all samples, but not of the group too
        problem(post(tight, body), 422)
    assert not written


def test_the_name_of_a_shard_may_look_like_a_number(client: TestClient) -> None:
    arrays: dict[str, Array] = {"logits": np.zeros(1, np.float32), "targets": np.zeros(1, np.int64)}
    found = answer(post(client, carry("safetensors", "binary", arrays, {"shard": "5"})))
    assert found["worst"][0]["id"] == "5:0"


def test_a_state_that_nobody_could_place_is_invalid_input() -> None:
    assert from_core(BadState("no state")).status == 422


def test_what_a_report_takes_is_reserved() -> None:
    arrays: dict[str, Array] = {"logits": np.zeros((1, 10_000), np.float32), "targets": np.zeros(1, np.int64)}
    with serving(max_body_bytes=2**20, max_inflight_bytes=2**20) as tight:
        found = problem(post(tight, carry("safetensors", "multiclass", arrays, {})), 422)
        assert "MAX_INFLIGHT_BYTES" in found["detail"]


def test_a_report_is_made_on_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    for name in ("prepare", "finish"):
        real = getattr(Work, name)

        def watch(work: Work, real: Any = real) -> Any:
            threads.append(threading.current_thread().name)
            return real(work)

        monkeypatch.setattr(Work, name, watch)
    content = b'{"logits": [1, 2], "targets": [0, 1], "state": true}'
    with listening() as address, connected(address) as wire:
        wire.send(request(content, path=path("binary")))
        status, _, found = wire.read()
        assert status == 200
        state = found[found.index(b'"state":"') + 9 :].partition(b'"')[0]
        wire.send(request(b'["' + state + b'"]', path=MERGE))
        assert wire.read()[0] == 200
    assert len(threads) == 4
    assert all(thread.startswith("request") for thread in threads), threads


def test_a_long_report_is_compressed_for_whom_takes_it(client: TestClient) -> None:
    body = carry("base64", "binary", batch(TASKS["binary"], 1, samples=1000), {"columns": True})
    response = post(client, body, **{"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert answer(response)["task"] == "binary"


@pytest.mark.parametrize("name", [path("binary"), MERGE])
def test_keys_guard_reports(name: str) -> None:
    with serving(api_keys=("0123456789abcdef",)) as guarded:
        problem(guarded.post(name, json=BINARY), 401)
        problem(guarded.get("/v1/reports"), 401)
        found = guarded.post(name, json=BINARY, headers={"X-API-Key": "0123456789abcdef"})
        assert found.status_code == (200 if name != MERGE else 422)


def test_reports_are_counted_by_their_tasks() -> None:
    with serving() as own:
        content = state(own, "tokens", batch(TASKS["tokens"], 1))
        own.post(MERGE, json=[text(content)])
        own.post(path("tokens"), json={})
        own.post(MERGE, json=[])
        found = own.get("/metrics").text
    for name in ("tokens", "merge"):
        assert f'lossmeter_requests_total{{measure="{name}",status="200"}} 1.0' in found
        assert f'lossmeter_requests_total{{measure="{name}",status="422"}} 1.0' in found
        assert f'lossmeter_batch_samples_count{{measure="{name}"}} 1.0' in found
    assert 'lossmeter_batch_samples_sum{measure="tokens"} 3.0' in found
    assert 'lossmeter_batch_samples_sum{measure="merge"} 1.0' in found
