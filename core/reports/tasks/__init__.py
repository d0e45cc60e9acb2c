"""The tasks, one file each. This folder's own listing is the only list of them."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from core.errors import UnknownMeasure
from core.reports.declare import Task

TASKS: dict[str, Task] = {
    path.stem: import_module(f"{__name__}.{path.stem}").TASK for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
}


def find(name: str, among: Mapping[str, Task] = TASKS) -> Task:
    """The task called `name`; UnknownMeasure names those that there are."""
    if name not in among:
        raise UnknownMeasure(f"there is no report on {name[:64]!r}: there are {', '.join(among)}")
    return among[name]
