"""Confidence intervals of means and of ratios, from sums alone.

Under weights w a sample counts by (sum of w)^2 / (sum of w^2), Kish's effective number: the number itself where all
weights are equal. An interval that is not defined is (NaN, NaN).
"""

import math
from functools import lru_cache
from statistics import NormalDist

Interval = tuple[float, float]
UNDEFINED: Interval = (math.nan, math.nan)
# One effective sample, up to rounding.
ONE_SAMPLE = 1.0 + 1e-9


@lru_cache(maxsize=64)
def normal_quantile(confidence: float) -> float:
    """How many standard errors either side of the value hold `confidence`, in (0, 1), of a normal distribution."""
    # The lower tail: 1 - tail would round where the confidence is near 1.
    return -NormalDist().inv_cdf((1.0 - confidence) / 2.0)


def effective_number(weight: float, squared_weight: float) -> float:
    """(sum of w)^2 / (sum of w^2), NaN unless both are positive and finite. Source: Kish 1965."""
    if not (0.0 < weight < math.inf and 0.0 < squared_weight < math.inf):
        return math.nan
    return weight / squared_weight * weight


def mean_interval(
    weight: float,
    weighted_sum: float,
    squared_weight: float,
    sq_weighted_sum: float,
    sq_weighted_squares: float,
    confidence: float,
) -> Interval:
    """The normal interval of the weighted mean of x, from the sums of w, w x, w^2, w^2 x and w^2 x^2.

        mean -+ z sqrt(sum of w^2 (x - mean)^2 / (sum of w)^2 * n / (n - 1)),   n the effective number

    which is mean -+ z s / sqrt(n) without weights. NaN for one effective sample or fewer, and for sums that are not
    finite. Source: the sandwich estimator of a mean (Cochran 1977, section 6; White 1980).
    """
    number = effective_number(weight, squared_weight)
    if not number > ONE_SAMPLE:
        return UNDEFINED
    mean = weighted_sum / weight
    spread = sq_weighted_squares - 2.0 * mean * sq_weighted_sum + mean * mean * squared_weight
    # The squares cancel where all x are alike, and rounding may leave them below 0.
    variance = max(spread, 0.0) / weight / weight * (number / (number - 1.0)) if math.isfinite(spread) else math.nan
    half = normal_quantile(confidence) * math.sqrt(variance)
    return mean - half, mean + half


def wilson(successes: float, weight: float, squared_weight: float, confidence: float) -> Interval:
    """Wilson's score interval of the ratio of weights `successes` / `weight`, in [0, 1].

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   n the effective number

    Its lower end is exactly 0 at p = 0 and its upper end exactly 1 at p = 1. NaN without weight.
    Source: Wilson 1927; scipy.stats.binomtest(...).proportion_ci(method="wilson").
    """
    number = effective_number(weight, squared_weight)
    ratio = successes / weight if number > 0.0 else math.nan
    if not math.isfinite(ratio):
        return UNDEFINED
    ratio = min(max(ratio, 0.0), 1.0)
    quantile = normal_quantile(confidence)
    share = quantile * quantile / number
    middle = (ratio + share / 2.0) / (1.0 + share)
    half = math.sqrt(share * (ratio * (1.0 - ratio) + share / 4.0)) / (1.0 + share)
    low = max(middle - half, 0.0) if ratio > 0.0 else 0.0
    high = min(middle + half, 1.0) if ratio < 1.0 else 1.0
    return low, high
