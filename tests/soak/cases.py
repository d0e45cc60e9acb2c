"""Loaded by schemathesis, see schemas.py: how many cases each operation has really run is printed at the end, and
hypothesis is not told which cases were accepted: for those it would keep shrinking, most of the time of a long run,
instead of drawing new ones.
"""

import atexit
from collections import Counter
from importlib import import_module
from typing import Any

counts: Counter[str] = Counter()


def after_call(context: Any, case: Any, response: Any) -> None:
    """Count a case whose answer has come."""
    counts[case.operation.label] += 1


def tell() -> None:
    """Print the counts."""
    for label, count in sorted(counts.items()):
        print(f"{count} cases: {label}")


def untold(observation: float, *, label: str = "") -> float:
    """Stands for hypothesis.target."""
    return observation


vars(import_module("hypothesis"))["target"] = untold
import_module("schemathesis").hook(after_call)  # which the packages of the tests do not have
atexit.register(tell)
