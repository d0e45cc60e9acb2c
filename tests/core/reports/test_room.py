"""What adding states takes is known before, and is not more than it takes by much."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
import pytest

from core.engine import Engine
from core.reports import room
from core.reports.columns import COLUMNS
from core.reports.prepare import prepare
from core.reports.state import State, gather
from core.reports.storage import write
from core.reports.tasks import TASKS

SIZE = 20_000
AT_ONCE = 2**20  # bytes that states take beside their sums


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


def state_of(columns: Engine, task: str, weight: float | None, shard: str, **more: Any) -> State:
    rng = np.random.default_rng(len(shard))
    shape = (SIZE,) if task == "binary" else (10, SIZE)
    targets = rng.integers(0, 2, SIZE) if task == "binary" else rng.integers(0, SIZE, 10)
    fields = {"logits": rng.normal(size=shape).astype(np.float32), "targets": targets, "shard": shard, **more}
    if weight is not None:
        fields["sample_weight"] = np.full(len(targets), weight)
    job = prepare(TASKS[task], fields)
    return gather(job, columns.per_sample(job.batch))


def peak(what: Callable[[], object]) -> int:
    """The bytes that `what` takes at most, beside those that there are."""
    tracemalloc.start()
    what()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("weights", [(None, None, None), (1.0, 0.1, 3.0), (2.0**-400, 1.0, 2.0**400)])
def test_room_is_enough_to_add_states(columns: Engine, task: str, weights: tuple[float | None, ...]) -> None:
    states = [state_of(columns, task, weight, "a" * place) for place, weight in enumerate(weights, 1)]
    sums = [reduce(add, states[:count]) for count in range(1, 4)]
    for place, (before, after) in enumerate(pairwise(sums), 1):
        taken = peak(lambda before=before, place=place: before + states[place])  # type: ignore[misc]
        assert taken <= room.adding(before, states[place]) + AT_ONCE
        assert room.adding(before, states[place]) <= 8 * max(taken, AT_ONCE)
        written = peak(lambda after=after: write(after))  # type: ignore[misc]
        assert written <= room.reporting(after) + AT_ONCE


def test_groups_far_apart_need_room_as_one(columns: Engine) -> None:
    weight = np.where(np.arange(SIZE) % 2, 2.0**400, 2.0**-400)
    groups = [str(place % 2) for place in range(SIZE)]
    apart = state_of(columns, "binary", None, "a", sample_weight=weight, groups=groups)
    taken = peak(lambda: apart.whole)
    assert 2**24 < taken <= room.reporting(apart)
