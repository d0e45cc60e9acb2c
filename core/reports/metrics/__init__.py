"""The metrics, some in each file. This folder's own listing is the only list of them; each file says its ORDER in a
report."""

from importlib import import_module
from pathlib import Path

from core.reports.declare import Metric

_MODULES = [import_module(f"{__name__}.{path.stem}") for path in Path(__file__).parent.glob("[!_]*.py")]
METRICS: tuple[Metric, ...] = tuple(
    metric for module in sorted(_MODULES, key=lambda module: int(module.ORDER)) for metric in module.METRICS
)


def of_task(name: str) -> tuple[Metric, ...]:
    """The metrics that have an example of a task, which are those that the task has."""
    return tuple(metric for metric in METRICS if name in metric.examples)
