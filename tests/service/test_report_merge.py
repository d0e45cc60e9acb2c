"""Merged states of shards have the report of the whole, in any order; what cannot be merged is refused by its place."""

import gzip
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.reports.declare import Task
from tests.service.conftest import JSON, answer, problem, serving
from tests.service.reporting import (
    ALL,
    MERGE,
    STATE,
    TENSORS,
    Array,
    batch,
    lists_of,
    merge_bodies,
    merged,
    report,
    size,
    state,
    tensors,
    text,
)

OCTETS = {"Content-Type": "application/octet-stream"}


def shards(task: Task, arrays: dict[str, Array], count: int) -> list[tuple[dict[str, Array], dict[str, Any]]]:
    """A batch in parts, each with its own ids and groups."""
    others = lists_of(task, size(arrays))
    cuts = np.linspace(0, size(arrays), count + 1).astype(int)
    found = []
    for start, stop in pairwise(cuts):
        own = {name: others[name][start:stop] for name in ("ids", "groups")} | {"shard": f"part {start}"}
        part = {name: array[start:stop] for name, array in arrays.items()}
        found.append((part, {name: value for name, value in others.items() if name not in own} | own))
    return found


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_merged_shards_have_the_report_of_the_whole(client: TestClient, task: Task) -> None:
    arrays = batch(task, 7, samples=24)
    parts = shards(task, arrays, 3)
    states = [state(client, task.name, part, **others) for part, others in parts]
    others = lists_of(task, size(arrays))
    del others["shard"]
    whole = report(client, task.name, arrays, **others)
    assert merged(client, *states) == whole
    assert merged(client, *states[::-1]) == whole
    pair = client.post(MERGE, content=states[2] + states[0], headers=OCTETS | STATE)
    assert pair.headers["Content-Type"] == "application/octet-stream"
    assert merged(client, pair.content, states[1]) == whole


def test_every_form_of_merge_is_answered_alike(client: TestClient) -> None:
    task = ALL[0]
    states = [state(client, task.name, part, **others) for part, others in shards(task, batch(task, 8), 2)]
    wanted = merged(client, *states, state=True)
    own, bodies = wanted.pop("state"), merge_bodies(states)
    bodies.append((b" \n\t" + bodies[0][0] + b" ", JSON))
    bodies += [(gzip.compress(content), headers | {"Content-Encoding": "gzip"}) for content, headers in bodies]
    for content, headers in bodies:
        assert answer(client.post(MERGE, content=content, headers=headers)) == wanted
        alone = client.post(MERGE, content=content, headers=headers | STATE)
        assert text(alone.content) == own
        said, found = tensors(client.post(MERGE, content=content, headers=headers | TENSORS))
        assert json.loads(said["report"]) | {"dtype": said["dtype"]} == wanted
        assert not found


def test_one_state_alone_is_its_report(client: TestClient) -> None:
    arrays = batch(ALL[0], 9)
    assert merged(client, state(client, ALL[0].name, arrays)) == report(client, ALL[0].name, arrays)


SCORES: dict[str, Array] = {"logits": np.array([1.0, -2.0], np.float32), "targets": np.array([1, 0])}


def of(client: TestClient, **others: Any) -> bytes:
    """The state of two samples."""
    return state(client, "binary", SCORES, **({"shard": "a"} | others))


def changed(content: bytes, place: int) -> bytes:
    """`content` with one bit changed."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("make", "place", "says"),
    [
        (lambda c: [of(c), of(c)], 1, "the shard 'a' is in both states"),
        (lambda c: [of(c), of(c, shard="b"), of(c)], 2, "the shard 'a' is in both states"),
        (lambda c: [of(c, shard=""), of(c, shard="")], 1, "cannot be merged"),
        (lambda c: [of(c), of(c, shard="b", bins=7)], 1, "bins is 15 in one and 7 in another"),
        (lambda c: [of(c), state(c, "multilabel", batch(ALL[2], 1))], 1, "task is 'binary' in one and 'multilabel'"),
        (lambda c: [of(c), changed(of(c, shard="b"), 60)], 1, "the state is damaged"),
        (lambda c: [changed(of(c), 0)], 0, "these bytes are no state of a report"),
        (lambda c: [of(c)[:40]], 0, "the state says that"),
        (lambda c: [of(c), b""], 1, "no state"),
        (lambda c: [of(c), of(c, shard="b") + b"!"], 1, "more than one state"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_its_place(client: TestClient, make: Any, place: int, says: str) -> None:
    found = problem(client.post(MERGE, json={"states": list(map(text, make(client)))}), 422)
    assert found["errors"] == [{"pointer": f"/states/{place}", "detail": found["detail"]}]
    assert found["detail"].startswith(f"states[{place}]: ")
    assert says in found["detail"]


@pytest.mark.parametrize(
    ("tail", "place"),
    [(b"LM", 1), (b"!", 1), (b"LMREPORT\x01\0" + b"\xff" * 8, 1), (b"LMREPORT\x02\0" + b"\0" * 90, 1)],
)
def test_bytes_after_a_state_that_are_none_are_refused(client: TestClient, tail: bytes, place: int) -> None:
    found = problem(client.post(MERGE, content=of(client) + tail, headers=OCTETS), 422)
    assert found["errors"][0]["pointer"] == f"/states/{place}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/states"),
        ([], "/states"),
        ({"states": []}, "/states"),
        ({"states": "TE1SRVBPUlQ="}, "/states"),
        ({"states": {}}, "/states"),
        ({"states": None}, "/states"),
        ({"states": [1]}, "/states/0"),
        ({"states": [["TE0="]]}, "/states/0"),
        ({"states": ["TE0="], "state": 1}, "/state"),
        ({"states": ["TE0="], "columns": True}, "/columns"),
        ("TE0=", ""),
        (5, ""),
    ],
)
def test_another_body_is_refused_by_name(client: TestClient, body: Any, pointer: str) -> None:
    found = problem(client.post(MERGE, json=body), 422)
    assert found["errors"][0]["pointer"] == pointer


def test_no_bytes_are_no_state(client: TestClient) -> None:
    assert "at least one state" in problem(client.post(MERGE, content=b"", headers=OCTETS), 422)["detail"]


@pytest.mark.parametrize("sent", ["=", "TE0", "TE0*", "TE0=\n", "é"])
def test_what_is_not_base64_is_malformed(client: TestClient, sent: str) -> None:
    found = problem(client.post(MERGE, json={"states": [text(of(client)), sent]}), 400)
    assert found["detail"].startswith("states[1] is not base64: ")


@pytest.mark.parametrize(
    "sent", [b"[", b'["a" "b"]', b'{"states": [], "states": []}', b'["\xff"]', b"\xef\xbb\xbf[]", b""]
)
def test_what_is_not_json_is_malformed(client: TestClient, sent: bytes) -> None:
    problem(client.post(MERGE, content=sent, headers=JSON), 400)


def test_safetensors_hold_no_states(client: TestClient) -> None:
    found = problem(client.post(MERGE, content=b"", headers={"Content-Type": "application/x-safetensors"}), 415)
    assert "application/octet-stream" in found["detail"]


def test_a_state_of_more_classes_than_there_is_memory_for_is_refused(client: TestClient) -> None:
    """A few bytes may stand for many classes in many groups, even where every sample is ignored."""
    many: dict[str, Any] = {"logits": np.zeros((1, 2**18), np.float32), "targets": np.array([-100])}
    sent = [
        state(client, "multiclass", many, groups=[str(group)], shard=str(group), averages=["macro"])
        for group in range(4)
    ]
    with serving(max_inflight_bytes=2**27, max_body_bytes=2**27) as tight:
        assert tight.post(MERGE, content=sent[0], headers=OCTETS).status_code == 200
        found = problem(tight.post(MERGE, content=b"".join(sent), headers=OCTETS), 422)
        assert "MAX_INFLIGHT_BYTES" in found["detail"]


def test_states_whose_sum_there_is_no_memory_for_are_refused(client: TestClient) -> None:
    """Weights far apart make a large sum of two small states."""
    logits = np.linspace(-9, 9, 20_000, dtype=np.float32)
    scores: dict[str, Array] = {"logits": logits, "targets": (logits > 0).astype(np.int64)}
    sent = [
        state(client, "binary", scores | {"sample_weight": np.full(20_000, weight)}, shard=str(weight))
        for weight in (2.0**-400, 2.0**400)
    ]
    with serving(max_inflight_bytes=2**27, max_body_bytes=2**27) as tight:
        assert tight.post(MERGE, content=sent[0], headers=OCTETS).status_code == 200
        found = problem(tight.post(MERGE, content=b"".join(sent), headers=OCTETS), 422)
        assert "MAX_INFLIGHT_BYTES" in found["detail"]


def test_a_merge_has_the_limits_of_its_form(client: TestClient) -> None:
    content = of(client)
    with serving(max_json_bytes=len(content)) as tight:
        assert "MAX_JSON_BYTES" in problem(tight.post(MERGE, json=[text(content)]), 413)["detail"]
        assert "MAX_JSON_BYTES" in problem(tight.post(MERGE, content=content, headers=OCTETS), 422)["detail"]
        assert tight.post(MERGE, content=content, headers=OCTETS | STATE).content == content
    with serving(max_body_bytes=len(content) - 1) as tight:
        assert "MAX_BODY_BYTES" in problem(tight.post(MERGE, content=content, headers=OCTETS), 413)["detail"]
