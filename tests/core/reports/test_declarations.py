"""Tasks, parts and metrics are declared whole, and a new metric is one declaration."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from core.engine import Engine
from core.reports import storage
from core.reports.build import LOSSES
from core.reports.columns import COLUMNS
from core.reports.declare import Metric, Task
from core.reports.metrics import METRICS
from core.reports.parts.ids import Ids
from core.reports.report import report
from core.reports.samples import Samples
from core.reports.state import State
from core.reports.tasks import TASKS
from core.reports.view import Value, View
from tests.core.reports.states import state_of


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


@pytest.fixture(params=TASKS.values(), ids=lambda task: task.name)
def task(request: pytest.FixtureRequest) -> Task:
    found: Task = request.param
    return found


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_are_declared_whole(metric: Metric) -> None:
    assert metric.doc.endswith(".")
    assert metric.formula
    assert metric.source
    assert metric.low < metric.high
    assert metric.examples.keys() <= TASKS.keys()
    assert metric.examples
    for name, value in metric.examples.items():
        values = value if isinstance(value, tuple) else (value,)
        assert all(metric.low <= each <= metric.high for each in values)
        assert set(metric.needs) & {part.name for part in TASKS[name].parts}


def test_names_are_distinct(task: Task) -> None:
    for several in (task.parts, task.metrics, task.details):
        names = [one.name for one in several]
        assert len(names) == len(set(names))
    assert all(part.doc.endswith(".") for part in task.parts)
    assert len(task.names) == len(set(task.names))


def test_metrics_need_parts_that_there_are() -> None:
    there = {part.name for task in TASKS.values() for part in task.parts}
    assert {name for metric in METRICS for name in metric.needs} <= there


def example(columns: Engine, task: Task, **more: object) -> State:
    """The state of a task's example."""
    inputs = {tensor.name: tensor for tensor in task.request.tensors}

    def of(name: str, value: object) -> object:
        return np.asarray(value, np.float32 if inputs[name].kind.value == "float" else np.int64)

    fields = {**task.example, **more}
    return state_of(columns, task.name, {n: of(n, v) if n in inputs else v for n, v in fields.items()})


def test_every_part_is_read_by_a_report(columns: Engine, task: Task) -> None:
    """A part that no metric and no member is made of would be kept in vain."""
    read: set[str] = set()

    class Watched(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            read.add(name)
            return super().__getitem__(name)

    more: list[dict[str, object]] = [{}]
    if task.name in ("multiclass", "binary"):
        more.append({"binning": "mass"})
    if task.name == "multiclass":
        more.append({"confusion": True})
    if task.name == "multilabel":
        more.append({"averages": ["samples"]})
    for options in more:
        state = example(columns, task, **options)
        report(replace(state, groups={label: Watched(parts) for label, parts in state.groups.items()}))
    assert read == {part.name for part in task.parts}


def test_metrics_read_only_parts_that_they_need(columns: Engine, task: Task) -> None:
    """The catalogue says what a metric is made of: with those parts alone it has the same value."""
    state = example(columns, task)
    always = {"counts"}  # whether a score was NaN
    for metric in task.metrics:
        kept = {name: part for name, part in state.whole.items() if name in {*metric.needs, *always}}
        for name, more in metric.names(state.spec).items():
            with np.errstate(all="ignore"):
                value = metric.value(View(state.spec, kept), *more).value
            assert value == pytest.approx(report(state)["metrics"][name]["value"], nan_ok=True, abs=0)


def test_examples_are_true(columns: Engine, task: Task) -> None:
    state = example(columns, task)
    found = report(state)["metrics"]
    for metric in task.metrics:
        for place, name in enumerate(metric.names(state.spec)):
            wanted = metric.examples[task.name]
            value = wanted[place] if isinstance(wanted, tuple) else wanted
            assert found[name]["value"] == pytest.approx(value, rel=2e-6), name


def test_a_new_metric_is_one_declaration(columns: Engine, task: Task) -> None:
    metric = Metric(
        "samples_squared",
        "The square of the number of samples.",
        r"N^2",
        0.0,
        math.inf,
        ("counts",),
        lambda view: Value(view.sums("counts")[0] ** 2),
        lambda data: len(data.targets) ** 2,
        {task.name: 9.0},
        "this test",
    )
    more = replace(task, metrics=(*task.metrics, metric))
    state = example(columns, task)
    found = report(storage.read(storage.write(state), {task.name: more}))
    assert found["metrics"]["samples_squared"]["value"] == found["samples"] ** 2
    assert storage.write(replace(state, task=more)) == storage.write(state)


WILD = {
    "few distinct": lambda rng, size: rng.exponential(size=size).astype(np.float16),
    "distinct": lambda rng, size: rng.exponential(size=size),
    "of every size": lambda rng, size: np.ldexp(rng.uniform(0.5, 1, size), rng.integers(-125, 128, size)),
}


@pytest.mark.parametrize("spread", WILD)
def test_a_state_is_within_what_its_task_says(columns: Engine, task: Task, spread: str) -> None:
    """A million losses (scores, for binary), a thousand classes: more samples add only to counts."""
    rng, size, classes = np.random.default_rng(1), 10**6, 1 if task.name == "binary" else 1000
    values = WILD[spread](rng, size).astype(np.float32)
    shape = {"binary": (size,), "tokens": (20, 5, classes)}.get(task.name, (200, classes))
    logits = rng.normal(size=shape).astype(np.float32)
    if task.name == "binary":
        logits = values * rng.choice([-1, 1], size)
    by_class = task.name in ("multiclass", "tokens")
    targets = rng.integers(0, classes, shape[:-1]) if by_class else rng.integers(0, 2, shape)
    state = state_of(columns, task.name, {"logits": logits, "targets": targets})
    samples = Samples(state.spec, {"loss": values}, np.arange(size), Ids.default("", 0), None, 0)
    parts = {**state.whole, "losses": LOSSES.of(samples)}
    written = len(storage.write(replace(state, groups={"": parts})))
    assert written <= task.state_bytes(classes)
    assert written * 40 > task.state_bytes(classes) or spread == "few distinct"
