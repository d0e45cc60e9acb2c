"""Sums without rounding.

A finite float64 is a whole number of 2**-1074, so the exact sum of any number of them is an integer. Integer addition
is associative and commutative: shards, tiles and threads cannot change an ExactSum, and `value` rounds it once.

A chunk of values is added up with float64 vector arithmetic that provably rounds nothing (error-free extraction:
Rump, Ogita and Oishi, "Accurate floating-point summation", 2008): adding and taking away a large constant splits each
value into a multiple of a coarse grid, whose sum fits 53 bits, and a rest, which is split again until it is zero.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNIT_BITS = 1074  # 2**-1074 is the smallest float64 above zero
_UNIT = 1 << _UNIT_BITS
_CHUNK_BITS = 16
_LARGE = 2.0**900  # values from here on are scaled down first, so that nothing overflows
_SCALE_BITS = 200
_FEW = 1000  # below about this many values math.fsum of a list is quicker than the vectors


@dataclass(frozen=True, slots=True)
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
            state += cls._of_chunk(flat[start : start + (1 << _CHUNK_BITS)].astype(np.float64))
        return state

    @classmethod
    def _of_chunk(cls, chunk: NDArray[np.float64]) -> "ExactSum":
        finite = np.isfinite(chunk)
        if finite.all():
            return cls(_units(chunk))
        return cls(
            _units(chunk[finite]),
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


def _units(values: NDArray[np.float64]) -> int:
    """The exact sum of at most 2**16 finite values, in units of 2**-1074."""
    total = 0
    while values.size:
        largest = float(np.abs(values).max())
        if largest == 0.0:
            break
        if largest >= _LARGE:
            large = np.abs(values) >= _LARGE
            total += _units(values[large] * 2.0**-_SCALE_BITS) << _SCALE_BITS
            values = values[~large]
            continue
        # |value| < 2**exponent. The grid is the spacing of floats at `anchor`, 2**(exponent + 16 - 53): at most 2**16
        # multiples of it, each at most 2**exponent, have a sum of at most 2**53 grid steps. Nothing is rounded.
        exponent = math.frexp(largest)[1]
        anchor = math.ldexp(1.5, exponent + _CHUNK_BITS - 1)
        coarse = (values + anchor) - anchor
        numerator, denominator = float(coarse.sum()).as_integer_ratio()
        total += numerator << (_UNIT_BITS + 1 - denominator.bit_length())
        values = values - coarse
    return total


def exact_sum(values: NDArray[Any]) -> float:
    """The correctly rounded float64 sum of float32 or float64 `values`: the same for any order of them."""
    if values.size < _FEW:
        try:
            return math.fsum(values.reshape(-1).tolist())
        except (OverflowError, ValueError):  # a partial sum too large, or infinities of both signs
            pass
    return ExactSum.of(values).value
