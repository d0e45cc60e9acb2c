"""Intervals are SciPy's, or their formula over raw samples."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest, norm, sem

from core.reports.intervals import effective_number, mean_interval, normal_quantile, wilson
from tests.core.reports.data import Array


def sums(values: Array, weights: Array) -> tuple[float, float, float, float, float]:
    squares = weights * weights
    terms = (weights, weights * values, squares, squares * values, squares * values * values)
    weight, first, second, third, fourth = (math.fsum(term) for term in terms)
    return weight, first, second, third, fourth


@pytest.mark.parametrize("confidence", [1e-9, 0.5, 0.9, 0.95, 0.999999, 1 - 2**-53])
def test_normal_quantile_is_scipys(confidence: float) -> None:
    assert normal_quantile(confidence) == pytest.approx(norm.ppf(0.5 + confidence / 2), rel=1e-6, abs=1e-9) or (
        confidence > 0.9999999
        and normal_quantile(confidence) == pytest.approx(norm.isf((1 - confidence) / 2), rel=1e-9)
    )


def test_mean_interval_is_the_mean_and_standard_error() -> None:
    rng = np.random.default_rng(31)
    for size in (2, 3, 10, 1000):
        for confidence in (0.5, 0.95, 0.999):
            values = rng.gamma(1.0, size=size) * 10.0 ** rng.integers(-5, 5)
            expected = norm.interval(confidence, values.mean(), sem(values))
            assert mean_interval(*sums(values, np.ones(size)), confidence) == pytest.approx(expected, rel=1e-9)


def test_mean_interval_under_weights_is_the_sandwich() -> None:
    rng = np.random.default_rng(32)
    for size in (2, 3, 10, 1000):
        values, weights = rng.normal(size=size), rng.random(size) * 10.0 ** rng.integers(-2, 2, size)
        mean = np.average(values, weights=weights)
        number = weights.sum() ** 2 / (weights**2).sum()
        variance = (weights**2 * (values - mean) ** 2).sum() / weights.sum() ** 2 * number / (number - 1)
        half = NormalDist().inv_cdf(0.95) * math.sqrt(variance)
        expected = (mean - half, mean + half)
        assert mean_interval(*sums(values, weights), 0.9) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-140, 7.0, 1e140])
def test_one_weight_for_all_changes_no_interval(scale: float) -> None:
    values = np.array([0.5, 1.0, 4.0])
    expected = mean_interval(*sums(values, np.ones(3)), 0.95)
    assert mean_interval(*sums(values, np.full(3, scale)), 0.95) == pytest.approx(expected, rel=1e-12)
    expected = wilson(2.0, 3.0, 3.0, 0.95)
    assert wilson(2.0 * scale, 3.0 * scale, 3.0 * scale * scale, 0.95) == pytest.approx(expected, rel=1e-12)


def test_mean_of_equal_values_has_no_width() -> None:
    for value in np.random.default_rng(33).normal(size=200) * 1e3:
        low, high = mean_interval(*sums(np.full(7, value), np.ones(7)), 0.95)
        # What the squares leave when they cancel is 1e-16 of them.
        assert low == pytest.approx(value, rel=1e-7)
        assert high == pytest.approx(value, rel=1e-7)
    assert mean_interval(3.0, 3.0, 3.0, 3.0, 3.0 - 1e-15, 0.95) == (1.0, 1.0)


@pytest.mark.parametrize(
    "given",
    [
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (1.0, 2.0, 1.0, 2.0, 4.0),
        (1.1, 1.1, 1.21, 1.21, 1.21),
        (2.0, math.nan, 2.0, 1.0, 1.0),
        (2.0, math.inf, 2.0, math.inf, math.inf),
        (2.0, 1e300, 2.0, 1e300, math.inf),
        (2.0, 1e200, 2.0, 1e200, 1e300),
        (2.0, 0.0, 2.0, 0.0, math.inf),
        (math.inf, 1.0, 2.0, 1.0, 1.0),
        (1e-200, 1e-200, 0.0, 0.0, 0.0),
        (math.nan, 1.0, 1.0, 1.0, 1.0),
        (-2.0, 1.0, 2.0, 1.0, 1.0),
    ],
)
def test_undefined_means_have_no_interval(given: tuple[float, float, float, float, float]) -> None:
    low, high = mean_interval(*given, 0.95)
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("trials", [1, 2, 7, 1000])
def test_wilson_is_scipys(trials: int, confidence: float) -> None:
    for successes in sorted({0, 1, trials // 3, trials - 1, trials}):
        expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
        found = wilson(float(successes), float(trials), float(trials), confidence)
        assert found == pytest.approx((expected.low, expected.high), rel=1e-10, abs=1e-15)


def test_wilson_under_weights_counts_effective_samples() -> None:
    weights = np.array([1.0, 2.0, 3.0, 0.5])
    number = effective_number(weights.sum(), (weights**2).sum())
    assert number == pytest.approx(6.5**2 / 14.25)
    ratio, quantile = 3.5 / 6.5, norm.ppf(0.975)
    middle = (ratio + quantile**2 / (2 * number)) / (1 + quantile**2 / number)
    half = quantile / (1 + quantile**2 / number)
    half *= math.sqrt(ratio * (1 - ratio) / number + quantile**2 / (4 * number**2))
    assert wilson(3.5, 6.5, 14.25, 0.95) == pytest.approx((middle - half, middle + half), rel=1e-12)


def test_wilson_has_exact_ends() -> None:
    for number in (1.0, 3.0, 1e3, 1e9, 1e17, 1e250):
        assert wilson(0.0, number, number, 0.95)[0] == 0.0
        assert wilson(number, number, number, 0.95)[1] == 1.0
        assert 0.0 < wilson(0.0, number, number, 0.95)[1] < 1.0
    # Sums that were rounded one by one may pass each other.
    assert wilson(1.0 + 1e-15, 1.0, 1.0, 0.95)[1] == 1.0
    assert wilson(1e17 + 16, 1e17, 1e17, 0.95)[1] == 1.0
    assert wilson(-1e-17, 1.0, 1.0, 0.95)[0] == 0.0


@pytest.mark.parametrize("given", [(0.0, 0.0, 0.0), (math.nan, 1.0, 1.0), (1.0, math.inf, math.inf), (1.0, 1.0, 0.0)])
def test_wilson_of_nothing_is_not_defined(given: tuple[float, float, float]) -> None:
    low, high = wilson(*given, 0.95)
    assert math.isnan(low)
    assert math.isnan(high)
