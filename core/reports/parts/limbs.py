"""Sums as limbs of 32 bits: int64 (limbs, sums), the least first. Of carried ones all but the last lie in [0, 2**32),
and the last, which has the sign, in [-2**31, 2**31)."""

import numpy as np
from numpy.typing import NDArray

MASK = np.int64(2**32 - 1)
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def carried(limbs: Integers) -> Integers:
    """The same sums, of limbs that may have up to 62 bits and any sign. More than one limb are carried in place, so
    that they must be nobody else's."""
    for place in range(len(limbs) - 1):
        limbs[place + 1] += limbs[place] >> 32
        limbs[place] &= MASK
    if limbs.size and np.maximum.reduce(np.abs(limbs[-1])) >= 2**31:
        return np.concatenate([limbs[:-1], limbs[-1:] & MASK, limbs[-1:] >> 32])
    return limbs


def says_nothing(words: Integers, stop: int) -> bool:
    """Whether the last of the limbs up to `stop` only repeats the sign of the one before it (that of 0, if it is the
    only one)."""
    below = (words[stop - 2] >> 31) * MASK if stop > 1 else np.zeros_like(words[0])
    return bool((words[stop - 1] == below).all())


def rounded(limbs: Integers, exponent: int) -> Floats:
    """Each sum of carried limbs times 2**exponent, rounded once, by Python's integers."""
    content, width = limbs.T.astype("<u4").tobytes(), 4 * len(limbs)
    each = (content[start : start + width] for start in range(0, len(content), width))
    totals = [int.from_bytes(words, "little", signed=True) << max(exponent, 0) for words in each]
    unit = 1 << max(-exponent, 0)
    try:
        return np.array([total / unit for total in totals])  # the division of two ints rounds correctly
    except OverflowError:
        return np.array([_quotient(total, unit) for total in totals])


def _quotient(total: int, unit: int) -> float:
    try:
        return total / unit
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")


def nearly(limbs: Integers, exponent: int) -> Floats:
    """Each sum of carried limbs times 2**exponent, off by two units in the last place at most: from the smallest limb
    up, of the sums' sizes, so that nothing cancels."""
    negative = limbs[-1] < 0
    found = np.zeros(limbs.shape[1])
    with np.errstate(over="ignore"):
        for place, limb in enumerate(carried(np.where(negative, -limbs, limbs))):
            found = found + np.ldexp(limb.astype(np.float64), 32 * place + exponent)
    return np.where(negative, -found, found)
