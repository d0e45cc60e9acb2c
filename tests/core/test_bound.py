"""Small batches run in arrays that are bound once: the same bits, whatever was in them before."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from core import bound
from core.bound import Bound, Pool
from core.check import _plans, prepare
from core.engine import Engine
from core.measures import MEASURES
from tests.inputs import Array

ROUNDS = 4


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ran bound."""
    found: list[Any] = []
    real = Bound.run

    def run(one: Bound, batch: Any) -> Any:
        found.append(one)
        return real(one, batch)

    monkeypatch.setattr(Bound, "run", run)
    return found


def batches(rows: int, classes: int) -> list[dict[str, Array]]:
    """Batches of one plan, each with other values; targets are of a type that is cast."""
    rng = np.random.default_rng(1)
    return [
        {
            "logits": rng.standard_normal((rows, classes)).astype(np.float32),
            "targets": rng.integers(0, classes, rows).astype(np.int32),
            "weight": rng.random(classes).astype(np.float32),
        }
        for _ in range(ROUNDS)
    ]


@pytest.mark.parametrize(("rows", "classes"), [(1, 3), (7, 10), (64, 10)])
def test_each_batch_of_a_plan_has_its_own_answer(
    ran: list[Any], rows: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plans.clear()
    measure = MEASURES["cross_entropy"]
    given = batches(rows, classes)
    engine = Engine([measure], device="cpu", threads=1)
    found = [engine.compute(measure, one) for one in given]
    assert len(ran) == ROUNDS - 1  # the first that is seen of a plan is not bound
    assert len(set(map(id, ran))) == 1
    monkeypatch.setattr(bound, "MOST_ELEMENTS", 0)
    for one, result in zip(given, found, strict=True):
        plain = engine.compute(measure, one)
        assert plain.outputs["per_sample"].tobytes() == result.outputs["per_sample"].tobytes()
        assert plain.totals == result.totals
    assert len(ran) == ROUNDS - 1


def test_an_answer_stays_when_the_next_batch_is_computed(ran: list[Any]) -> None:
    measure = MEASURES["cross_entropy"]
    engine = Engine([measure], device="cpu", threads=1)
    given = batches(5, 3)
    first, second = (engine.compute(measure, one).outputs["per_sample"] for one in given[:2])
    kept = second.copy()
    engine.compute(measure, given[2])
    assert ran
    assert (second == kept).all()
    assert not np.shares_memory(first, second)


def test_threads_take_different_ones(ran: list[Any]) -> None:
    measure = MEASURES["cross_entropy"]
    engine = Engine([measure], device="cpu", threads=1)
    given = batches(64, 10)
    right = [engine.compute(measure, one).totals["sum"] for one in given]
    with ThreadPoolExecutor(4) as threads:
        found = list(
            threads.map(lambda place: engine.compute(measure, given[place % ROUNDS]).totals["sum"], range(400))
        )
    assert found == [right[place % ROUNDS] for place in range(400)]
    assert 1 <= len(set(map(id, ran))) <= 4


def test_what_is_large_is_not_bound(ran: list[Any]) -> None:
    measure = MEASURES["cross_entropy"]
    engine = Engine([measure], device="cpu", threads=1)
    for one in batches(bound.MOST_ELEMENTS // 8 + 1, 8):
        engine.compute(measure, one)
    assert ran == []


def test_of_many_plans_the_oldest_are_let_go(engine: Engine) -> None:
    pool, seen = Pool(), []
    measure = MEASURES["kl_div"]
    for size in range(1, 2 * bound.MOST_PLANS):
        given = {"log_probabilities": np.zeros(size), "targets": np.ones(size)}
        seen.append(prepare(measure, given).plan)
        assert pool.take(seen[-1]) is None
        assert pool.take(seen[-1]) == []
    assert len(pool._free) <= bound.MOST_PLANS
    assert pool.take(seen[0]) is None
