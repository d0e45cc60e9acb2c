"""The measures, one file each. This folder's own listing is the only list of them."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from core.declare import Measure
from core.errors import UnknownMeasure

MEASURES: dict[str, Measure] = {
    path.stem: import_module(f"{__name__}.{path.stem}").MEASURE
    for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
}


def find(name: str, among: Mapping[str, Measure] = MEASURES) -> Measure:
    """The measure called `name`; UnknownMeasure names those that there are."""
    if name not in among:
        raise UnknownMeasure(f"there is no loss called {name[:64]!r}: there are {', '.join(among)}")
    return among[name]
