"""Unsigned integers in the order of float32 scores: their bits, turned round where the sign is set.

A probability near 1 has no fine bits of its own, so above 1/2 those of 1 - p are taken, which is exact there: what is
cut off of a key costs the same share of p at one end as of 1 - p at the other.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint32]
Floats = NDArray[np.float64]
_SIGN = np.uint32(2**31)
_LEAST, _MOST = np.uint32(0x007FFFFF), np.uint32(0xFF800000)  # the keys of the infinities
_HALF = np.uint32(np.float32(0.5).view(np.uint32))


def keys(scores: NDArray[Any]) -> Keys:
    """The key of each of `scores`, float32 and not NaN; that of -0.0 is that of 0.0."""
    bits = (scores + np.float32(0.0)).view(np.uint32)
    negative = bits.view(np.int32) >> 31  # all ones, or all zeros
    return bits ^ (negative.view(np.uint32) | _SIGN)


def scores(keys: Keys) -> Floats:
    """The scores of whole keys, float64. Keys beyond those of the infinities, which no score has, are theirs too."""
    keys = np.minimum(np.maximum(keys, _LEAST), _MOST)
    positive = keys.view(np.int32) >> 31  # all ones, or all zeros
    bits = keys ^ (~positive.view(np.uint32) | _SIGN)
    return bits.view(np.float32).astype(np.float64)


def probability_keys(probabilities: NDArray[Any]) -> Keys:
    """The key of each of `probabilities`, float32 in [0, 1]."""
    upper = probabilities > np.float32(0.5)
    near = np.where(upper, np.float32(1.0) - probabilities, probabilities + np.float32(0.0)).astype(np.float32)
    bits = near.view(np.uint32)
    return np.where(upper, 2 * _HALF - bits, bits).astype(np.uint32)


def probabilities(keys: Keys) -> Floats:
    """The probabilities of whole keys, float64."""
    upper = keys > _HALF
    near = np.where(upper, 2 * _HALF - np.minimum(keys, 2 * _HALF), keys).astype(np.uint32).view(np.float32)
    return np.where(upper, 1.0 - near.astype(np.float64), near.astype(np.float64))
