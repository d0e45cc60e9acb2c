"""A state as its metrics see it: the sums of its parts as floats, and the usual ways to a number from them."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.reports.intervals import mean_interval, wilson
from core.reports.spec import Spec

Made = TypeVar("Made")
NONE = (math.nan, math.nan)
Floats = NDArray[np.float64]


class Value(NamedTuple):
    """A metric's value, with an interval that holds the true one with the confidence asked for; `method` says how that
    was found, "none" where there is none. `bound`, if there is one, is how far the value may be from that of the scores
    themselves."""

    value: float
    interval: tuple[float, float] = NONE
    method: str = "none"
    bound: float | None = None


def ratio(part: float, whole: float) -> float:
    """part / whole, and by 0 what floats say: infinite, or NaN for 0 / 0."""
    return part / whole if whole else part * math.inf


class View:
    """The parts of one state (or of one group of it) by name, and its spec."""

    def __init__(self, spec: Spec, parts: Mapping[str, Any]) -> None:
        self.spec, self.parts = spec, parts
        self._made: dict[str, Any] = {}
        self._sums: dict[str, Floats] = {}

    def once(self, name: str, make: Callable[["View"], Made]) -> Made:
        """What `make` makes of this view, made once: several metrics are read from it."""
        if name not in self._made:
            self._made[name] = make(self)
        found: Made = self._made[name]
        return found

    def sums(self, name: str) -> Floats:
        """The sums of a part as floats: see ExactSums.values."""
        if name not in self._sums:
            self._sums[name] = self.parts[name].values()
        return self._sums[name]

    def table(self, name: str, rows: int) -> Floats:
        """The sums of a part as `rows` rows."""
        return self.sums(name).reshape(rows, -1)

    @property
    def weight(self) -> float:
        """The sum of the weights of the samples that count."""
        return float(self.sums("weight")[0])

    @property
    def squared_weight(self) -> float:
        """The sum of the squares of those."""
        return float(self.sums("weight")[1])

    def mean(self, name: str, weight: str = "weight", place: int = 0) -> Value:
        """The weighted mean of a part that core.reports.build.moments made, or of the one at `place` if there are
        several in it, with the weights of the part `weight`."""
        total, squared = self.sums(weight)[:2].tolist()
        first, second, third = self.sums(name)[3 * place : 3 * place + 3].tolist()
        interval = mean_interval(total, first, squared, second, third, self.spec.confidence)
        return Value(ratio(first, total), interval, "normal")

    def share(self, successes: float, weight: float | None = None, squared: float | None = None) -> Value:
        """`successes` of `weight`, that of all samples if it is not said, with Wilson's interval."""
        total = self.weight if weight is None else weight
        squares = self.squared_weight if squared is None else squared
        return Value(ratio(successes, total), wilson(successes, total, squares, self.spec.confidence), "Wilson")


def mapped(value: Value, function: Callable[[Floats], Floats]) -> Value:
    """An increasing `function` of a value and of its interval."""
    found, low, high = function(np.array([value.value, *value.interval])).tolist()
    return Value(found, (low, high), value.method)
