"""Sums without rounding.

A finite float64 is a whole number of 2**-1074, so the exact sum of any number of them is an integer. Integer addition
is associative and commutative: shards, tiles and threads cannot change an ExactSum, and `value` rounds it once.

A chunk of values is added up with vector arithmetic that provably rounds nothing (error-free extraction: Rump, Ogita
and Oishi, "Accurate floating-point summation", 2008). A large constant is added to each value: what is left of it is a
whole number of steps, in the last bits of the float64, and those are added up as integers. What was cut off is split
again until it is zero; float32 values within a factor of four million of each other are done at once.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNIT_BITS = 1074  # 2**-1074 is the smallest float64 above zero
_UNIT = 1 << _UNIT_BITS
_CHUNK_BITS = 17  # large steps, so that threads seldom wait for each other between them
_RUN_BITS = 15  # of a chunk are added up in one word
FEW_VALUES = 1 << _RUN_BITS  # that exact_by takes at most
_MANTISSA_BITS = 52
_WORD = 1 << 64
_LARGE = 2.0**900  # values from here on are scaled down first, so that nothing overflows
_SCALE_BITS = 200
_FAR = 2.0**40  # rows whose largest values are farther apart than this would take many steps together
_FEW = 500  # below about this many values math.fsum of a list is quicker than the vectors


@dataclass(slots=True)  # not frozen: a report makes dozens, which would take twice as long
class ExactSum:
    """The exact sum of float values: `total` units of 2**-1074, and how many values were not finite."""

    total: int = 0
    nan: int = 0
    positive_infinity: int = 0
    negative_infinity: int = 0

    @classmethod
    def of(cls, values: NDArray[Any]) -> "ExactSum":
        """The sum of float32 or float64 `values` of any shape."""
        flat = values.reshape(-1)
        state = cls()
        for start in range(0, flat.size, 1 << _CHUNK_BITS):
            state += cls._of_chunk(flat[start : start + (1 << _CHUNK_BITS)])
        return state

    @classmethod
    def _of_chunk(cls, chunk: NDArray[Any]) -> "ExactSum":
        low, high = _range(chunk)
        if low > -math.inf and high < math.inf:
            return cls(_units(chunk, low, high))
        finite = chunk[np.isfinite(chunk)]
        return cls(
            _units(finite, *_range(finite)) if finite.size else 0,
            int(np.count_nonzero(np.isnan(chunk))),
            int(np.count_nonzero(chunk == np.inf)),
            int(np.count_nonzero(chunk == -np.inf)),
        )

    def __add__(self, other: "ExactSum") -> "ExactSum":
        return ExactSum(
            self.total + other.total,
            self.nan + other.nan,
            self.positive_infinity + other.positive_infinity,
            self.negative_infinity + other.negative_infinity,
        )

    @property
    def value(self) -> float:
        """The sum, rounded once to float64; infinite where it is too large for one."""
        if self.nan or (self.positive_infinity and self.negative_infinity):
            return math.nan
        if self.positive_infinity or self.negative_infinity:
            return math.inf if self.positive_infinity else -math.inf
        try:
            return self.total / _UNIT  # the division of two ints rounds correctly
        except OverflowError:
            return math.inf if self.total > 0 else -math.inf


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """The least and the largest value; NaN if there is one."""
    return float(values.min()), float(values.max())


def _units(values: NDArray[Any], low: float, high: float) -> int:
    """The exact sum of a chunk of finite values, which lie in [low, high], in units of 2**-1074."""
    if max(-low, high) >= _LARGE:
        large = np.abs(values) >= _LARGE
        scaled, small = values[large] * 2.0**-_SCALE_BITS, np.where(large, 0.0, values)
        return (_units(scaled, *_range(scaled)) << _SCALE_BITS) + _units(small, *_range(small))
    total, digits = 0, np.finfo(values.dtype).nmant + 1
    while low or high:
        # |value| < 2**exponent. All value + anchor lie within a factor of two of the anchor, so that their last bits
        # count steps of 2**(binade - 52): at most 2**47 of them for each value, 2**62 for a run.
        exponent = math.frexp(max(-low, high))[1]
        binade = max(exponent + _RUN_BITS - 10, -1022)
        anchor = np.float64(math.ldexp(1.5, binade))
        raised = values + anchor
        total += _steps(raised.view(np.int64), int(anchor.view(np.int64))) << (binade - _MANTISSA_BITS + _UNIT_BITS)
        least = max(low, -high)  # the smallest magnitude, where all have one sign
        if least > 0 and math.frexp(least)[1] - digits >= binade - _MANTISSA_BITS:
            break  # every last digit was whole steps: without a look at what was cut off in half the time
        raised -= anchor
        values = values - raised
        low, high = _range(values)
    return total


def _steps(words: NDArray[np.int64], zero: int) -> int:
    """The sum of `words` less `zero` each. In a run of 2**15 the sum of the words wraps around; that of the steps,
    below 2**62 in size, does not."""
    runs = np.add.reduceat(words, np.arange(0, words.size, 1 << _RUN_BITS)).tolist()
    whole, rest = divmod(words.size, 1 << _RUN_BITS)
    sizes = [1 << _RUN_BITS] * whole + [rest] * (rest > 0)
    return sum(_unwrapped(run - size * zero) for run, size in zip(runs, sizes, strict=True))


def _unwrapped(steps: int) -> int:
    """What has wrapped around to `steps`."""
    return (steps + _WORD // 2) % _WORD - _WORD // 2


def _sizes(rows: NDArray[np.float64]) -> list[float]:
    """The largest size in each of `rows`, 0 if it has no values; NaN if one is."""
    sizes: list[float] = np.maximum.reduce(np.abs(rows), axis=1, initial=0.0).tolist()
    return sizes


def exact_rows(rows: NDArray[np.float64]) -> list[ExactSum]:
    """The sum of each of `rows` (rows, values), float64: of short finite ones of about one size all at once, since for
    few values each call of NumPy's takes longer than what it does."""
    sizes, count = _sizes(rows), rows.shape[1]
    some = [size for size in sizes if size]
    apart = max(some, default=0.0) > _FAR * min(some, default=0.0)
    if count > 1 << _RUN_BITS or apart or not all(size < _LARGE for size in some):
        return [ExactSum.of(row) for row in rows]
    totals, places = [0] * len(rows), list(range(len(rows)))
    while left := [number for number, size in enumerate(sizes) if size]:  # as in _units
        if len(left) < len(rows):
            rows, places = rows[left], [places[number] for number in left]
        binade = max(math.frexp(max(sizes))[1] + _RUN_BITS - 10, -1022)
        anchor = np.float64(math.ldexp(1.5, binade))
        raised = rows + anchor
        zero, shift = count * int(anchor.view(np.int64)), binade - _MANTISSA_BITS + _UNIT_BITS
        for place, word in zip(places, np.add.reduce(raised.view(np.int64), axis=1).tolist(), strict=True):
            totals[place] += _unwrapped(word - zero) << shift
        raised -= anchor
        rows = rows - raised
        sizes = _sizes(rows)
    return [ExactSum(total) for total in totals]


def exact_by(index: NDArray[np.int64], values: NDArray[np.float64], size: int) -> list[ExactSum]:
    """For each of `size` entries the sum of those `values`, float64, at most FEW_VALUES, whose `index` it is."""
    peak = float(np.abs(values).max(initial=0.0))
    if not peak < _LARGE:
        return [ExactSum.of(values[index == entry]) for entry in range(size)]
    totals = [0] * size
    while peak:  # as in _units, with steps so large that even sums of them are floats without rounding
        binade = max(math.frexp(peak)[1] + _RUN_BITS - 1, -1022)
        anchor = math.ldexp(1.5, binade)
        steps = (values + anchor) - anchor
        unit = binade - _MANTISSA_BITS
        for entry, step in enumerate(np.bincount(index, steps, size).tolist()):
            totals[entry] += int(math.ldexp(step, -unit)) << (unit + _UNIT_BITS)
        values = values - steps
        peak = float(np.abs(values).max())
    return [ExactSum(total) for total in totals]


def exact_sum(values: NDArray[Any]) -> float:
    """The correctly rounded float64 sum of float32 or float64 `values`: the same for any order of them."""
    if values.size < _FEW:
        try:
            return math.fsum(values.reshape(-1).tolist())
        except (OverflowError, ValueError):  # a partial sum too large, or infinities of both signs
            pass
    return ExactSum.of(values).value
