"""How far confidence is from accuracy: bins of confidence, and the calibration errors over them.

A bin holds three sums over its samples, float64 (bins,): their weight, their weighted confidence, and the weight of
those that are correct.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.reports.segments import Floats, Integers, Runs


class CalibrationErrors(NamedTuple):
    """Expected, maximum and root mean square calibration error, each in [0, 1]."""

    ece: float
    mce: float
    rmsce: float


class Bins(NamedTuple):
    """The sums of each bin, float64 (bins,)."""

    weight: Floats
    confidence_sum: Floats
    correct_sum: Floats


def bin_of(confidence: NDArray[np.floating], bins: int) -> Integers:
    """Which of `bins` equal parts of [0, 1] each confidence (samples,), float32 or float64, falls in; -1 for NaN.

    Bin i is (i / bins, (i + 1) / bins], edges in float64, and 0 is in the first. Source:
    sklearn.calibration.calibration_curve(strategy="uniform").
    """
    found: Integers = edges(bins)[1:-1].searchsorted(confidence.astype(np.float64))
    missing = np.isnan(confidence)
    if missing.any():
        found[missing] = -1
    return found


@lru_cache(maxsize=64)
def edges(bins: int) -> Floats:
    """The edges of `bins` equal parts of [0, 1] (bins + 1,), read-only."""
    found = np.linspace(0.0, 1.0, bins + 1)
    found.flags.writeable = False
    return found


def errors(weight: Floats, confidence_sum: Floats, correct_sum: Floats) -> CalibrationErrors:
    """The errors over bins (bins,), from the distance between a bin's accuracy and its mean confidence.

        ECE = sum of share |accuracy - confidence|    MCE = max of |...|    RMSCE = sqrt(sum of share |...|^2)

    A bin without weight is left out; NaN where none has weight, or one that is not finite.
    Source: Guo et al. 2017 (ECE, MCE); Kumar et al. 2019 (RMSCE).
    """
    filled = weight > 0
    if not filled.any() or not np.isfinite(weight).all():
        return CalibrationErrors(math.nan, math.nan, math.nan)
    held = weight[filled]
    distances = np.abs(correct_sum[filled] / held - confidence_sum[filled] / held)
    # Two steps: the sum of weights could pass the largest number.
    shares = held / held.max()
    shares = shares / shares.sum()
    return CalibrationErrors(
        float((shares * distances).sum()),
        float(distances.max()),
        math.sqrt(float((shares * distances * distances).sum())),
    )


def mass_bins(weights: Floats, confidence_sums: Floats, correct_sums: Floats, bins: int) -> Bins:
    """The sums of `bins` bins of nearly equal weight, from those of each distinct confidence (keys,), ascending.

        bin of a key = floor(bins * (weight strictly below + half its own) / all weight)

    One key is never split, so samples of one confidence stay together, and a bin may be empty. NaN in all where there
    is no weight. Source: adaptive calibration error (Nixon et al. 2019), with whole keys.
    """
    (scaled,), _ = Runs.of(np.zeros(weights.size, np.int64)).scaled(weights)
    running = np.cumsum(scaled)
    total = float(running[-1]) if running.size else 0.0
    if total == 0.0:
        return Bins(*(np.full(bins, math.nan) for _ in range(3)))
    middle = running - scaled / 2
    of_key = np.minimum(np.floor(bins * middle / total), bins - 1).astype(np.int64)
    weight, confidence_sum, correct_sum = (
        np.bincount(of_key, sums, minlength=bins).astype(np.float64)
        for sums in (weights, confidence_sums, correct_sums)
    )
    return Bins(weight, confidence_sum, correct_sum)
