"""Numbers at the ends of what can be: without a warning, and infinite where no float is large enough."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from core.engine import Engine
from core.reports.columns import COLUMNS
from core.reports.parts.exact_sums import ExactSums
from core.reports.prepare import prepare
from core.reports.report import report
from core.reports.state import gather
from core.reports.storage import read, write
from core.reports.tasks import TASKS
from tests.core.reports.cases import Array

LARGEST = float(np.finfo(np.float64).max)
SCORES = np.array([1e300, -1e300, LARGEST, -LARGEST, 5e-324, 0.0, 710.0, 1e38, np.inf, -np.inf, np.nan, 88.0])
WEIGHTS: dict[str, list[float] | None] = {
    "none": None,
    "largest": [LARGEST],
    "power of two": [2.0**1023],
    "least": [5e-324],
    "mixed": [1e308, 5e-324, 0.0, 1.0],
    "squares overflow": [1e200, 1e-200],
}
SHAPES = {"binary": (12,), "multiclass": (12, 4), "multilabel": (12, 4), "tokens": (12, 3, 4)}


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


def fields_of(task: str, dtype: str) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    shape = SHAPES[task]
    by_class = task in ("multiclass", "tokens")
    with np.errstate(over="ignore"):
        logits = rng.choice(SCORES, shape).astype(dtype)
    targets = rng.integers(0, 4 if by_class else 2, shape[:-1] if by_class else shape)
    return {"logits": logits, "targets": targets}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", SHAPES)
def test_a_report_of_them_has_no_warning(columns: Engine, task: str, dtype: str, weights: str) -> None:
    """The tests make an error of each warning."""
    fields: dict[str, Any] = fields_of(task, dtype)
    asked = {"multiclass": ["auroc"], "multilabel": ["auroc", "average_precision"]}.get(task)
    fields |= {} if asked is None else {"metrics": asked}
    if task in ("binary", "multiclass"):
        fields |= {"binning": "mass"}
    if (found := WEIGHTS[weights]) is not None:
        fields |= {"sample_weight": np.resize(np.array(found), 12)}
    job = prepare(TASKS[task], fields)
    state = gather(job, columns.per_sample(job.batch))
    assert write(read(write(state), TASKS)) == write(state)
    assert report(state)["samples"] == 12


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_float64_are_infinite(size: int, sign: int) -> None:
    """Two such powers fill one limb, several more than one."""
    index = np.repeat(np.arange(size), 2)
    assert (ExactSums.of(np.full(2 * size, sign * 2.0**1023), index, size).values() == sign * np.inf).all()
    assert (ExactSums.of(np.full(2 * size, sign * LARGEST), index, size).values() == sign * np.inf).all()
    assert ExactSums.of(np.full(2, sign * 2.0**1023), None, 1).values().tolist() == [sign * np.inf]


def test_sums_leave_their_terms_alone() -> None:
    """Limbs are carried in place, but only those of the result."""
    rng = np.random.default_rng(4)
    one, other = (
        ExactSums.of(rng.normal(size=60) * 10.0 ** rng.integers(-30, 30, 60), rng.integers(0, 9, 60), 9)
        for _ in range(2)
    )
    before = one.limbs.copy(), other.limbs.copy()
    found = [one + other, one.grouped(np.array([0, 3])), ExactSums.joined([one, other])]
    assert all(np.isfinite(sums.values()).all() for sums in (*found, one, one.placed(5000, np.arange(9))))
    assert (one.limbs == before[0]).all()
    assert (other.limbs == before[1]).all()
