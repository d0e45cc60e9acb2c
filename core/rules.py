"""What the values of an input must satisfy. A rule tests values, words its own error, and knows how to be broken.

Rules run on whole arrays before any graph sees them: a vectorised test first, and only where that fails
the search for the first entry that is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import Fault, at

Array = NDArray[Any]
_ROWS = 2**14  # distributions that are added up at a time: one of a single float16 has a sum of four times its size
Bound = Mapping[str, Any]  # the sizes and options of this request: "classes", "ignore_index", "normalize" ...


class Rule(Protocol):
    """What every rule can do."""

    def says(self, bound: Bound) -> str:
        """What a value must be, as an error puts it; without a request, `bound` is empty."""

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        """The first fault of `values`, or None."""

    def broken(self, values: Array) -> Array:
        """A copy of good `values` with an entry that breaks the rule."""


def show(value: float | int) -> str:
    """A number as an error shows it, with JSON's names of what JSON has no numbers for."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def first(wrong: Array) -> tuple[int, ...]:
    """The index of the first True. np.nonzero would make those of all: 256 bytes each where there are 32 axes."""
    return place_in(wrong.shape, int(wrong.argmax()))


def place_in(shape: tuple[int, ...], place: int) -> tuple[int, ...]:
    """The index of the entry that stands at `place` in an array of `shape`, counted flat."""
    return tuple(int(index) for index in np.unravel_index(place, shape)) if shape else ()


def _spoilt(values: Array, value: float) -> Array:
    spoilt = np.array(values)
    spoilt[(0,) * spoilt.ndim] = value
    return spoilt


@dataclass(frozen=True, slots=True)
class Between:
    """Every value lies in [low, high]; NaN does not."""

    low: float
    high: float

    def says(self, bound: Bound) -> str:
        return f"between {self.low} and {self.high}"

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        if values.size == 0 or (values.min() >= self.low and values.max() <= self.high):
            return None
        index = first(~((values >= self.low) & (values <= self.high)))
        return Fault(
            (name, *index), f"{at(name, index)} is {show(values[index].item())}, but must be {self.says(bound)}"
        )

    def broken(self, values: Array) -> Array:
        return _spoilt(values, self.high + 1)


@dataclass(frozen=True, slots=True)
class IndexOf:
    """Every value is an index into the named dimension, or equals the option `unless`. `size` is that of a dimension
    which is the same in every request."""

    dim: str
    unless: str
    size: int = 0

    def says(self, bound: Bound) -> str:
        skipped = f"or {self.unless} {bound.get(self.unless, '')}".rstrip()
        if self.size:
            return f"{', '.join(map(str, range(self.size)))} {skipped}"
        return f"a class index in [0, {bound.get(self.dim, f'number of {self.dim}')}) {skipped}"

    def _size(self, bound: Bound) -> int:
        return self.size or int(bound[self.dim])

    def all_within(self, values: Array, bound: Bound) -> bool:
        """Whether every value is an index, and none is the option: in one pass, as a negative number without its sign
        is a large one. False too where that is not to be had so quickly."""
        size = self._size(bound)
        if values.dtype != np.int64 or not values.size or 0 <= bound[self.unless] < size:
            return False
        return bool(values.view(np.uint64).max() < size)

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        size = self._size(bound)
        if values.size == 0 or (values.min() >= 0 and values.max() < size):
            return None
        wrong = ((values < 0) | (values >= size)) & (values != bound[self.unless])
        if not wrong.any():
            return None
        index = first(wrong)
        found = int(values[index])
        return Fault((name, *index), f"{at(name, index)} is {found}, but must be {self.says(bound)}")

    def broken(self, values: Array) -> Array:
        return _spoilt(values, np.iinfo(values.dtype).max)


@dataclass(frozen=True, slots=True)
class LogOfProbability:
    """Every value is at most 0, but for `tolerance`; NaN is let through."""

    tolerance: float

    def says(self, bound: Bound) -> str:
        return f"the logarithm of a probability: at most 0, within {self.tolerance}"

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        if values.size == 0 or values.max() <= self.tolerance:
            return None
        wrong = values > self.tolerance
        if not wrong.any():
            return None
        index = first(wrong)
        found = show(values[index].item())
        return Fault((name, *index), f"{at(name, index)} is {found}, but must be {self.says(bound)}")

    def broken(self, values: Array) -> Array:
        return _spoilt(values, 1.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Every row along the axis of the classes is >= 0 and sums to 1 within `tolerance`; where the choice `unless` is
    set the row only has to have a finite sum above 0, since it is then divided by it."""

    tolerance: float
    unless: str = ""

    def says(self, bound: Bound) -> str:
        if bound.get(self.unless):
            return "a distribution: entries >= 0 with a finite sum above 0"
        return f"a distribution: entries >= 0 that sum to 1 within {self.tolerance}"

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        if values.size and not values.min() >= 0:
            index = first(~(values >= 0))
            found = show(values[index].item())
            return Fault((name, *index), f"{at(name, index)} is {found}, but {name} must be {self.says(bound)}")
        values = np.moveaxis(values, bound.get("axis", -1), -1)
        if values.shape[-1] == 0 and np.prod(values.shape[:-1], dtype=object):
            return Fault((name,), f"{name} has no classes, but must be {self.says(bound)}")
        rows = values.reshape(-1, values.shape[-1]) if values.size else values[:0]
        for start in range(0, len(rows), _ROWS):
            with np.errstate(over="ignore"):
                sums = rows[start : start + _ROWS].sum(axis=-1, dtype=np.float64)
            good = (sums > 0) & (sums < np.inf) if bound.get(self.unless) else np.abs(sums - 1) <= self.tolerance
            if not np.all(good):
                place = int(good.argmin())
                index = place_in(values.shape[:-1], start + place)
                detail = f"{at(name, index)} sums to {show(sums[place].item())}, but must be {self.says(bound)}"
                return Fault((name, *index), detail)
        return None

    def broken(self, values: Array) -> Array:
        return _spoilt(values, -1.0)


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Every value is finite and not below `low`."""

    low: float

    def says(self, bound: Bound) -> str:
        return f"finite and at least {self.low}"

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        if values.size == 0 or (values.min() >= self.low and values.max() < np.inf):
            return None
        index = first(~((values >= self.low) & (values < np.inf)))
        return Fault(
            (name, *index), f"{at(name, index)} is {show(values[index].item())}, but must be {self.says(bound)}"
        )

    def broken(self, values: Array) -> Array:
        return _spoilt(values, self.low - 1)


@dataclass(frozen=True, slots=True)
class Inside:
    """Every value lies strictly between `low` and `high`."""

    low: float
    high: float

    def says(self, bound: Bound) -> str:
        return f"above {self.low} and below {self.high}"

    def check(self, name: str, values: Array, bound: Bound) -> Fault | None:
        wrong = ~((values > self.low) & (values < self.high))
        if not wrong.any():
            return None
        index = first(wrong)
        return Fault(
            (name, *index), f"{at(name, index)} is {show(values[index].item())}, but must be {self.says(bound)}"
        )

    def broken(self, values: Array) -> Array:
        return _spoilt(values, self.high)
