"""However samples are split, computed and merged, a state has the same bytes and the same report."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from core.engine import Engine
from core.errors import BadState, InvalidInput
from core.reports import options, storage
from core.reports.columns import COLUMNS
from core.reports.report import report
from core.reports.state import State
from core.reports.tasks import TASKS
from tests.core.reports.cases import seeded
from tests.core.reports.states import SIZE, Fields, data_sets, some, state_of
from tests.core.reports.trees import merged, split

SETS = data_sets(7)


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


def spans(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Neighbouring spans of a data set, some of them empty, in any order."""
    cuts = [0, *np.sort(rng.integers(0, SIZE + 1, int(rng.integers(0, 5)))).tolist(), SIZE]
    found = list(pairwise(cuts))
    rng.shuffle(found)
    return found


def sharded(engine: Engine, task: str, fields: Fields) -> Callable[[np.random.Generator], list[State]]:
    """What makes the states of random shards: spans where samples are named by their positions, else any samples."""
    known: dict[tuple[int, int], State] = {}

    def of_span(start: int, stop: int) -> State:
        if (start, stop) not in known:
            known[start, stop] = state_of(engine, task, some(fields, np.arange(start, stop)), first=start)
        return known[start, stop]

    def found(rng: np.random.Generator) -> list[State]:
        if "shard" in fields:
            return [of_span(*span) for span in spans(rng)]
        return [state_of(engine, task, some(fields, chosen)) for chosen in split(rng, SIZE, most=5)]

    return found


@pytest.mark.parametrize("name", SETS)
def test_any_sharding_order_and_tree_has_the_same_bytes_and_report(columns: Engine, name: str) -> None:
    """A thousand in all, most of data sets without groups, which take longer."""
    task, fields = SETS[name]
    whole = state_of(columns, task, fields)
    wanted, document = storage.write(whole), report(whole)
    assert storage.write(storage.read(wanted, TASKS)) == wanted
    np.testing.assert_equal(report(storage.read(wanted, TASKS)), document)
    seed, count = seeded(1000)
    rng, shards = np.random.default_rng(seed), sharded(columns, task, fields)
    grouped = sum("groups" in fields for _, fields in SETS.values())
    each = count // 50 if "groups" in fields else (count - grouped * (count // 50)) // (len(SETS) - grouped)
    for number in range(each):
        states = shards(rng)
        if number % 2:  # as from other machines
            states = [storage.read(storage.write(state), TASKS) for state in states]
        found = merged(rng, states)
        assert storage.write(found) == wanted
        if number % 4 < 2:
            np.testing.assert_equal(report(found), document)


@pytest.mark.parametrize("name", SETS)
def test_a_state_of_nothing_changes_nothing(columns: Engine, name: str) -> None:
    task, fields = SETS[name]
    whole = state_of(columns, task, fields)
    none = state_of(columns, task, some(fields, np.zeros(0, np.int64)), first=SIZE)
    empty = State.empty(TASKS[task], whole.spec)
    assert storage.write(none) == storage.write(empty)
    for other in (none, empty):
        assert storage.write(whole + other) == storage.write(other + whole) == storage.write(whole)
    np.testing.assert_equal(report(none + empty), report(none))


def test_scores_that_are_whole_in_each_shard_are_cut_in_their_union(columns: Engine) -> None:
    rng, size = np.random.default_rng(1), 70_000
    fields = {
        "logits": rng.permutation(np.linspace(-9, 9, size)).astype(np.float32),
        "targets": rng.integers(0, 2, size),
        "binning": "mass",
        "ids": np.arange(size),
    }
    whole = state_of(columns, "binary", fields)
    assert not whole.whole["scores"].fine
    wanted, document = storage.write(whole), report(whole)
    cuts = [0, 5, 1000, 30_000, 30_001, 69_999, size]
    order = rng.permutation(size)
    pieces = [order[start:stop] for start, stop in pairwise(cuts)]
    states = [state_of(columns, "binary", some(fields, piece)) for piece in pieces]
    assert all(state.whole[part].fine for state in states for part in ("scores", "losses", "confidences"))
    for _ in range(4):
        found = merged(rng, states)
        assert storage.write(found) == wanted
        np.testing.assert_equal(report(found), document)


def binary(columns: Engine, size: int = 4, **more: Any) -> State:
    """A state of `size` samples, all alike."""
    fields = {"logits": np.zeros(size, np.float32), "targets": np.ones(size, np.int64)}
    first = more.pop("first", 0)
    return state_of(columns, "binary", fields | more, first)


def test_the_same_positions_twice_are_refused(columns: Engine) -> None:
    first = binary(columns, shard="a")
    with pytest.raises(BadState, match=r"the shard 'a' is in both states: positions 3 to 3 would count twice"):
        first + binary(columns, shard="a", first=3)
    assert report(first + binary(columns, shard="b"))["samples"] == 8
    assert report(first + binary(columns, shard="a", first=4))["samples"] == 8


def test_states_without_ids_and_shard_are_not_merged_with_each_other(columns: Engine) -> None:
    nameless = binary(columns)
    with pytest.raises(BadState, match="without ids and without the name of a shard"):
        nameless + binary(columns)
    assert report(nameless + binary(columns, shard="a"))["samples"] == 8
    assert report(nameless + binary(columns, ids=[1, 2, 3, 4]))["samples"] == 8
    assert report(nameless + binary(columns, size=0))["samples"] == 4


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"bins": 7}, "bins is 15 in one and 7 in another"),
        ({"threshold": 0.25}, "threshold is 0.5 in one and 0.25 in another"),
        ({"worst": 0}, "worst is 10 in one and 0 in another"),
        ({"confidence": 0.5}, "confidence is 0.95"),
        ({"binning": "mass"}, "binning is 'width' in one and 'mass' in another"),
        ({"sample_weight": np.ones(4)}, "weighted is False in one and True in another"),
        ({"groups": ["a"] * 4}, "grouped is False"),
        ({"logits": np.zeros(4)}, "dtype is 'float32' in one and 'float64' in another"),
    ],
)
def test_states_of_other_options_are_refused(columns: Engine, option: Fields, says: str) -> None:
    with pytest.raises(BadState, match=says):
        binary(columns, shard="a") + binary(columns, shard="b", **option)


def test_states_of_other_tasks_classes_and_scores_are_refused(columns: Engine) -> None:
    targets = np.zeros(4, np.int64)
    three = state_of(columns, "multiclass", {"logits": np.zeros((4, 3), np.float32), "targets": targets})
    for other, says in (
        (binary(columns), "task is 'multiclass' in one and 'binary' in another"),
        (state_of(columns, "multiclass", {"logits": np.zeros((4, 2), np.float32), "targets": targets}), "classes is 3"),
        (
            state_of(columns, "multiclass", {"probabilities": np.full((4, 3), 1 / 3, np.float32), "targets": targets}),
            "scores is 'logits' in one and 'probabilities' in another",
        ),
    ):
        with pytest.raises(BadState, match=says):
            three + other


def test_groups_are_told_apart_by_every_character(columns: Engine) -> None:
    found = binary(columns, groups=["a", "a\0", "A", ""])
    assert sorted(report(found)["groups"]) == ["", "A", "a", "a\0"]


def test_more_groups_than_a_report_may_have_are_refused(columns: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (binary(columns, shard=name, groups=[name, "b", "c", "b"]) for name in "ad")
    assert len((first + second).groups) == 4
    monkeypatch.setattr(options, "MOST_GROUPS", 3)
    with pytest.raises(BadState, match="the states together have 4 groups, but at most 3 are allowed"):
        first + second
    with pytest.raises(InvalidInput, match="groups has 4 different labels, but must have at most 3"):
        binary(columns, groups=list("abcd"))


def test_groups_together_are_the_whole(columns: Engine) -> None:
    task, fields = SETS["multiclass, everything"]
    alone = {name: value for name, value in fields.items() if name != "groups"}
    found, wanted = report(state_of(columns, task, fields)), report(state_of(columns, task, alone))
    del found["groups"]
    np.testing.assert_equal(found, wanted)
