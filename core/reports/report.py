"""The report of a state as a plain document: Python's scalars, lists and dicts, and NumPy arrays."""

from functools import lru_cache
from typing import Any

import numpy as np

from core.reports.declare import Metric, Task
from core.reports.parts.ids import text_or_int
from core.reports.spec import Spec
from core.reports.state import Parts, State
from core.reports.view import NONE, Value, View


def report(state: State) -> dict[str, Any]:
    """Everything that the task of `state` has, of all samples and, under `groups`, of each group.

    Undefined numbers are NaN. Counts are integers, weights float64.
    """
    with np.errstate(all="ignore"):
        found = {"task": state.task.name, **_of_parts(state, state.whole)}
        if state.spec.grouped:
            found["groups"] = {label: _of_parts(state, parts) for label, parts in sorted(state.groups.items())}
    return found


def _of_parts(state: State, parts: Parts) -> dict[str, Any]:
    view, task = View(state.spec, parts), state.task
    size, ignored, odd, _ = (int(count) for count in view.sums("counts"))
    return {
        "samples": size,
        "ignored": ignored,
        "non_finite": odd,
        "weight": view.weight,
        "metrics": _metrics(view, task),
        **{detail.name: detail.of(view) for detail in task.details if detail.kept(view.spec)},
        "worst": _worst(task, parts["worst"]),
    }


def _metrics(view: View, task: Task) -> dict[str, Any]:
    return {name: _said(metric, metric.value(view, *more)) for name, metric, more in _named(task, view.spec)}


@lru_cache(maxsize=64)
def _named(task: Task, spec: Spec) -> list[tuple[str, Metric, tuple[int, ...]]]:
    """Every number that there is under `spec`: its name, its metric, and what that takes beside a view."""
    return [(name, metric, more) for metric in task.metrics for name, more in metric.names(spec).items()]


def _said(metric: Metric, value: Value) -> dict[str, Any]:
    """A value, with its interval within the range of the metric."""
    low, high = value.interval if value.value == value.value else NONE
    if metric.low <= value.value <= metric.high:
        low, high = max(low, metric.low), min(high, metric.high)  # NaN stays, as it stands first
    method = value.method if low == low or high == high else "none"
    found: dict[str, Any] = {"value": value.value, "interval": [low, high], "method": method}
    return found if value.bound is None else found | {"bound": value.bound}


def _worst(task: Task, part: Any) -> list[dict[str, Any]]:
    return [
        {"id": text_or_int(entry.id), "loss": entry.loss, **dict(zip(task.worst, entry.extras, strict=True))}
        for entry in part.entries
    ]
