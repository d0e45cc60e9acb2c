"""Many sums without rounding: a superaccumulator for each of several entries (Kulisch 1981), in vectors.

Every finite float64 is a whole number of 2**-1152. A sum is such a number in limbs of 32 bits; as integers, limbs add
up in any order to the same. Counts begin at a limb of their own, the 36th, so that they take one or two.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import BadState
from core.exact import FEW_VALUES, ExactSum, exact_by
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.limbs import MASK, Integers, carried, nearly, rounded, says_nothing
from core.rules import Array

ONE = 36  # the limb at which 2**0 begins
UNIT_BITS = 32 * ONE
MOST_LIMBS = 80
MOST_ODD = 2**53  # values that are not finite; merging a thousand states of so many does not overflow
EXACT_UNITS = 1074  # of core.exact
FEW_SUMS = 64  # up to which core.exact.exact_by adds few values up
ROUNDED_SINGLY = 4096  # sums up to which each is rounded by Python
_PARTS = 2**28  # values added up before the limbs are carried: below 2**60 each, then


@dataclass(eq=False, slots=True)  # not frozen, as core.exact.ExactSum
class ExactSums:
    """`size` exact sums: `limbs` (limbs, size) from the limb `low` on, and how many of the values of each were NaN,
    infinite and minus infinite, as `odd` (3, size), None if none were. The limbs are carried: see
    core.reports.parts.limbs."""

    size: int
    low: int
    limbs: Integers
    odd: Integers | None = None

    @classmethod
    def zeros(cls, size: int) -> "ExactSums":
        """Sums of nothing."""
        return cls(size, ONE, np.zeros((0, size), np.int64))

    @classmethod
    def of_counts(cls, counts: Array) -> "ExactSums":
        """`counts`, integers below 2**62 in size."""
        return cls(len(counts), ONE, carried(counts.astype(np.int64)[None]))

    @classmethod
    def of(cls, values: Array, index: Array | None, size: int) -> "ExactSums":
        """Sums of float32 or float64 `values` (n,): each is added to the sum that `index` (n,) says, or all of them to
        the only one."""
        if index is None:
            return cls.of_totals([ExactSum.of(values)])
        if len(values) <= FEW_VALUES and 0 < size <= FEW_SUMS:
            return cls.of_totals(exact_by(index, values.astype(np.float64), size))
        found = cls.zeros(size)
        for start in range(0, len(values), _PARTS):
            found += cls._of_some(values[start : start + _PARTS], index[start : start + _PARTS], size)
        return found

    @classmethod
    def of_totals(cls, totals: list[ExactSum]) -> "ExactSums":
        """Each of `totals`."""
        units, bits = [total.total << (UNIT_BITS - EXACT_UNITS) for total in totals], 0
        for unit in units:
            bits |= unit
        low = max((bits & -bits).bit_length() - 1, 0) // 32  # the limbs below the last 1 of any are left out
        units = [unit >> (32 * low) for unit in units]
        words = max(map(int.bit_length, units), default=0) // 32 + 1
        content = b"".join([unit.to_bytes(4 * words, "little", signed=True) for unit in units])
        limbs = np.frombuffer(content, "<i4").reshape(len(totals), words).T.astype(np.int64)
        limbs[:-1] &= MASK  # the last has the sign
        kinds = [(total.nan, total.positive_infinity, total.negative_infinity) for total in totals]
        odd = np.array(kinds, np.int64).T if any(map(any, kinds)) else None
        return cls(len(totals), low, limbs, odd)

    @classmethod
    def _of_some(cls, values: Array, index: Array, size: int) -> "ExactSums":
        values, odd = values.astype(np.float64), None
        finite = np.isfinite(values)
        if not finite.all():
            kinds = np.isnan(values), values == np.inf, values == -np.inf
            odd = np.array([np.bincount(index[kind], minlength=size) for kind in kinds], np.int64)
            values, index = values[finite], index[finite]
        if not len(values) or not values.any():
            return cls(size, ONE, np.zeros((0, size), np.int64), odd)
        mantissa, exponent = np.frexp(values)
        places = exponent.astype(np.int64) - 53 + UNIT_BITS
        whole = np.ldexp(np.abs(mantissa), 53).astype(np.int64)
        limb, shift = places >> 5, places & 31
        lower = (whole & MASK) << shift
        upper = ((whole >> 32) << shift) + (lower >> 32)
        sign = np.where(values < 0, np.int64(-1), np.int64(1))
        low, high = int(limb.min()), int(limb.max()) + 3
        limbs = np.zeros((high - low) * size, np.int64)
        flat = (limb - low) * size + index
        for step, part in enumerate((lower & MASK, upper & MASK, upper >> 32)):
            np.add.at(limbs, flat + step * size, sign * part)
        return cls(size, low, carried(limbs.reshape(-1, size)), odd)

    @classmethod
    def joined(cls, several: "list[ExactSums]") -> "ExactSums":
        """The sums of each of `several`, one after another."""
        size, (low, high) = sum(one.size for one in several), _span(several)
        limbs = np.zeros((high - low, size), np.int64)
        odd = None if all(one.odd is None for one in several) else np.zeros((3, size), np.int64)
        start = 0
        for one in several:
            limbs[one.low - low : one.low - low + len(one.limbs), start : start + one.size] = one.limbs
            if odd is not None and one.odd is not None:
                odd[:, start : start + one.size] = one.odd
            start += one.size
        lower = (one for one in several if one.low + len(one.limbs) < high)
        if any(len(one.limbs) and one.limbs[-1].min(initial=0) < 0 for one in lower):
            limbs = carried(limbs)  # what was the last limb of some is none any more
        return cls(size, low, limbs, odd)

    def __add__(self, other: "ExactSums") -> "ExactSums":
        low, high = _span([self, other])
        limbs = np.zeros((high - low, self.size), np.int64)
        for one in (self, other):
            limbs[one.low - low : one.low - low + len(one.limbs)] += one.limbs
        odd = other.odd if self.odd is None else self.odd if other.odd is None else self.odd + other.odd
        return ExactSums(self.size, low, carried(limbs), odd)

    def placed(self, size: int, positions: Array) -> "ExactSums":
        """Each sum at one of `positions`, all different, among `size`; the others are 0."""
        limbs, odd = np.zeros((len(self.limbs), size), np.int64), None
        limbs[:, positions] = self.limbs
        if self.odd is not None:
            odd = np.zeros((3, size), np.int64)
            odd[:, positions] = self.odd
        return ExactSums(size, self.low, limbs, odd)

    def grouped(self, starts: Array) -> "ExactSums":
        """The sums of the runs of neighbours that begin at `starts`, ascending from 0."""
        odd = None if self.odd is None else np.add.reduceat(self.odd, starts, axis=1)
        return ExactSums(len(starts), self.low, carried(np.add.reduceat(self.limbs, starts, axis=1)), odd)

    def part(self, start: int, stop: int) -> "ExactSums":
        """The sums from `start` up to `stop`."""
        odd = None if self.odd is None or not self.odd[:, start:stop].any() else self.odd[:, start:stop]
        return ExactSums(stop - start, self.low, self.limbs[:, start:stop], odd)

    def values(self) -> NDArray[np.float64]:
        """Each sum as a float64: rounded once, up to ROUNDED_SINGLY of them or where two limbs hold them; else off by
        two units in the last place at most. NaN and infinities as floats add up."""
        if not len(self.limbs):
            found = np.zeros(self.size)
        elif len(self.limbs) <= 2:
            whole = self.limbs[0] if len(self.limbs) == 1 else (self.limbs[1] << 32) + self.limbs[0]
            found = whole.astype(np.float64)
            if self.low != ONE:  # which rounds nothing more, as sums are whole numbers of the least float
                with np.errstate(over="ignore"):
                    found = np.ldexp(found, 32 * (self.low - ONE))
        elif self.size <= ROUNDED_SINGLY:
            found = rounded(self.limbs, 32 * (self.low - ONE))
        else:
            found = nearly(self.limbs, 32 * (self.low - ONE))
        if self.odd is None:
            return found
        nan, positive, negative = self.odd > 0
        found = np.where(positive, np.inf, np.where(negative, -np.inf, found))
        return np.where(nan | (positive & negative), np.nan, found)

    def are_weights(self) -> bool:
        """Whether none is negative or NaN, as sums of weights are."""
        positive = not len(self.limbs) or bool((self.limbs[-1] >= 0).all())
        return positive and (self.odd is None or not self.odd[[0, 2]].any())

    def are_counts(self) -> bool:
        """Whether each is a whole number below 2**63, as counts are."""
        within = not len(self.limbs) or (self.low >= ONE and self.low + len(self.limbs) <= ONE + 2)
        return within and self.odd is None and self.are_weights()

    def write(self, writer: Writer) -> None:
        """The limbs in two's complement, 4 bytes each, without those at both ends that say nothing."""
        low, words = self._trimmed()
        writer.u32(low)
        writer.u32(len(words))
        writer.array(words, "<u4")
        writer.u8(self.odd is not None)
        if self.odd is not None:
            writer.array(self.odd, "<i8")

    def _trimmed(self) -> tuple[int, NDArray[np.uint32]]:
        words, low = self.limbs, self.low
        if len(words):
            # After this, two's complement has room for the sign.
            words = np.concatenate([words[:-1], words[-1:] & MASK, words[-1:] >> 32 & MASK])
        first, stop = 0, len(words)
        while stop and says_nothing(words, stop):
            stop -= 1
        while first < stop and not words[first].any():
            first += 1
        if first == stop:
            return 0, np.zeros((0, self.size), np.uint32)
        return low + first, words[first:stop].astype(np.uint32)

    @classmethod
    def read(cls, reader: Reader, size: int) -> "ExactSums":
        """What `write` wrote. Raises BadState."""
        low, count = reader.u32(), reader.u32()
        if low + count > MOST_LIMBS or (not count and low):
            raise BadState(f"the state has sums of {count} limbs from the limb {low} on, but they end at {MOST_LIMBS}")
        limbs = reader.array("<u4", count * size).astype(np.int64).reshape(count, size)
        if count:
            limbs[-1] -= (limbs[-1] >> 31) << 32
        odd = reader.array("<i8", 3 * size).reshape(3, size) if reader.flag() else None
        if odd is not None and (not odd.any() or odd.min() < 0 or odd.max() > MOST_ODD):
            raise BadState("the state's counts of non-finite values cannot be")
        found = cls(size, low if count else ONE, limbs, odd)
        if count and (size == 0 or found._trimmed()[1].shape != (count, size) or found._trimmed()[0] != low):
            raise BadState("the state's sums have limbs that say nothing")
        return found


def _span(several: list[ExactSums]) -> tuple[int, int]:
    """From which limb on, and up to which, any of them has some."""
    ends = [(one.low, one.low + len(one.limbs)) for one in several if len(one.limbs)] or [(ONE, ONE)]
    return min(low for low, _ in ends), max(high for _, high in ends)
