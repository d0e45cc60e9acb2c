"""What is reserved for a report is more than making it takes."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from core.engine import Engine
from core.reports import storage
from core.reports.columns import COLUMNS
from core.reports.declare import Picks
from core.reports.prepare import prepare
from core.reports.report import report
from core.reports.state import gather
from core.reports.tasks import TASKS
from service.report import reserved
from tests.service.reporting import batch

CASES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("binary", 20_000, 1, {}),
    ("binary", 4_000, 1, {"groups": 2}),
    ("binary", 40, 1, {"groups": 20}),
    ("multiclass", 10_000, 10, {}),
    ("multiclass", 5_000, 10, {"metrics": True}),
    ("multiclass", 10, 20_000, {"groups": 5}),
    ("multiclass", 10_000, 100, {"confusion": True}),
    ("multilabel", 10_000, 10, {}),
    ("multilabel", 10, 20_000, {}),
    ("multilabel", 2_000, 20, {"metrics": True}),
    ("tokens", 10_000, 20, {}),
    ("tokens", 10_000, 20, {"groups": 5}),
]
WEIGHTS = {"none": None, "usual": 0, "far apart": 150}  # 10 to how many


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("name", "samples", "classes", "more"), CASES)
def test_what_is_reserved_is_enough(name: str, samples: int, classes: int, more: dict[str, Any], weights: str) -> None:
    task = TASKS[name]
    given: dict[str, Any] = {**batch(task, 1, samples=samples, classes=classes), **more}
    spread = WEIGHTS[weights]
    if spread is None:
        del given["sample_weight"]
    else:
        places = np.arange(len(given["targets"])) % 7 / 7
        given["sample_weight"] = given["sample_weight"].astype(np.float64) * 10.0 ** (spread * places)
    if "groups" in more:
        given["groups"] = (np.arange(len(given["targets"])) % more["groups"]).tolist()
    if "metrics" in more:
        picks = task.lists["metrics"]
        assert isinstance(picks, Picks)
        given["metrics"] = list(picks.values)
    engine = Engine(COLUMNS.values(), device="cpu", threads=1)
    job = prepare(task, given)
    tracemalloc.start()
    state = gather(job, engine.per_sample(job.batch))
    report(state)
    storage.write(state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    engine.close()
    assert peak <= reserved(job, columns=False)
