"""Bins are scikit-learn's, and the errors those of their papers."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from core.reports.calibration import bin_of, errors, mass_bins
from tests.core.reports.data import Array


def filled(confidence: Array, correct: Array, weights: Array, bins: int) -> tuple[Array, Array, Array]:
    where = bin_of(confidence, bins)
    terms = (weights, weights * confidence, weights * correct)
    weight, confidence_sum, correct_sum = (np.bincount(where, term, bins) for term in terms)
    return weight, confidence_sum, correct_sum


def guo(confidence: Array, correct: Array, weights: Array, bins: int) -> tuple[float, float, float]:
    """ECE, MCE and RMSCE, bin by bin from the samples."""
    gaps, shares = [], []
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if index == 0:
            inside |= confidence == 0
        if inside.any():
            held = weights[inside]
            gaps.append(abs(np.average(correct[inside], weights=held) - np.average(confidence[inside], weights=held)))
            shares.append(held.sum() / weights.sum())
    each, share = np.array(gaps), np.array(shares)
    return float(share @ each), float(each.max()), math.sqrt(float(share @ each**2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [1, 2, 3, 10, 15, 100])
def test_bins_are_scikit_learns(bins: int, dtype: type) -> None:
    rng = np.random.default_rng(51)
    edges = np.linspace(0, 1, bins + 1)
    values = np.concatenate((rng.random(2000), edges, np.nextafter(edges[1:], 0), np.nextafter(edges[:-1], 1)))
    confidence: Array = np.clip(values.astype(dtype), 0, 1)
    correct = rng.random(confidence.size) < confidence
    accuracy, mean = calibration_curve(correct, confidence.astype(np.float64), n_bins=bins)
    weight, confidence_sum, correct_sum = filled(confidence.astype(np.float64), correct, np.ones(correct.size), bins)
    np.testing.assert_allclose(correct_sum[weight > 0] / weight[weight > 0], accuracy, rtol=1e-12)
    np.testing.assert_allclose(confidence_sum[weight > 0] / weight[weight > 0], mean, rtol=1e-12)
    np.testing.assert_array_equal(bin_of(confidence, bins), bin_of(confidence.astype(np.float64), bins))


def test_an_edge_belongs_to_the_bin_below_and_the_ends_to_theirs() -> None:
    confidence = np.array([0.0, 0.1, np.nextafter(0.1, 1), 0.5, 1.0, math.nan])
    found = bin_of(confidence, 10)
    assert found.tolist() == [0, 0, 1, 4, 9, -1]
    assert found.dtype == np.int64
    # float32's 0.1 is above 0.1, and its 0.7 below 0.7.
    assert bin_of(np.array([0.1, 0.7, 1.0], np.float32), 10).tolist() == [1, 6, 9]
    assert bin_of(np.zeros(0), 10).size == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_guos(weighted: bool) -> None:
    rng = np.random.default_rng(52)
    for size in (1, 2, 10, 500):
        for bins in (1, 10, 15):
            values: Array = rng.random(size) ** rng.choice([0.1, 1.0])
            confidence = np.append(values, [0.0, 1.0])
            correct = (rng.random(confidence.size) < 0.7).astype(np.float64)
            weights = rng.random(confidence.size) + 0.1 if weighted else np.ones(confidence.size)
            found = errors(*filled(confidence, correct, weights, bins))
            assert found == pytest.approx(guo(confidence, correct, weights, bins), abs=1e-12)


@pytest.mark.parametrize("scale", [2.0**-1020, 1.0, 1.5 * 2.0**1022])
def test_errors_by_hand(scale: float) -> None:
    # Gaps 0.25, 0.5 and an empty bin; shares 1 / 3 and 2 / 3.
    weight, confidence_sum, correct_sum = np.array([[1.0, 0.0, 2.0], [0.25, 0.0, 2.0], [0.0, 0.0, 1.0]]) * scale
    found = errors(weight, confidence_sum, correct_sum)
    assert found == pytest.approx((5 / 12, 0.5, math.sqrt((0.0625 + 2 * 0.25) / 3)), rel=1e-12)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [math.nan, math.nan], [math.inf, 1.0]])
def test_errors_of_nothing_are_not_defined(weights: list[float]) -> None:
    weight = np.array(weights)
    assert all(math.isnan(value) for value in errors(weight, weight, weight))


def test_mass_bins_hold_nearly_equal_weight() -> None:
    rng = np.random.default_rng(53)
    confidence = np.sort(rng.random(1003))
    correct = (rng.random(1003) < confidence).astype(np.float64)
    bins = mass_bins(np.ones(1003), confidence, correct, 15)
    assert bins.weight.sum() == 1003
    assert np.abs(bins.weight - 1003 / 15).max() < 1
    # Each bin holds the samples that follow those of the bin before it.
    ends = np.cumsum(bins.weight).astype(int)
    np.testing.assert_allclose(np.cumsum(bins.confidence_sum), np.cumsum(confidence)[ends - 1], rtol=1e-12)
    np.testing.assert_array_equal(np.cumsum(bins.correct_sum), np.cumsum(correct)[ends - 1])


def test_mass_bins_follow_the_rule_and_keep_ties_together() -> None:
    rng = np.random.default_rng(54)
    for size in (1, 2, 5, 40):
        for bins in (1, 2, 7):
            weights = rng.integers(0, 9, size) / 4.0
            weights[0] = 1.0
            expected = np.zeros(bins)
            for key in range(size):
                middle = weights[:key].sum() + weights[key] / 2
                expected[min(bins - 1, int(bins * middle / weights.sum()))] += weights[key]
            np.testing.assert_array_equal(mass_bins(weights, weights, weights, bins).weight, expected)
    # The key of 8 is in the middle of all weight.
    assert mass_bins(np.array([1.0, 8.0, 1.0]), np.zeros(3), np.zeros(3), 3).weight.tolist() == [1.0, 8.0, 1.0]


def test_mass_too_small_to_tell_is_in_the_last_bin() -> None:
    assert mass_bins(np.array([1.0, 1e-30]), np.zeros(2), np.array([0.0, 1.0]), 4).correct_sum.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("scale", [5e-324, 2.0**-1000, 2.0**1022])
def test_mass_bins_take_weights_of_any_size(scale: float) -> None:
    weights = np.array([1.0, 1.0, 1.0, 1.0]) * scale
    assert mass_bins(weights, weights, weights, 2).weight.tolist() == [2.0 * scale, 2.0 * scale]


@pytest.mark.parametrize("weights", [[], [0.0], [math.inf, 1.0], [math.nan]])
def test_mass_bins_of_nothing_are_not_defined(weights: list[float]) -> None:
    sums = np.array(weights)
    found = mass_bins(sums, sums, sums, 4)
    for values in found:
        np.testing.assert_array_equal(values, np.full(4, np.nan))
    assert math.isnan(errors(*found).ece)


def test_a_share_that_is_the_edge_of_a_mass_bin_is_in_the_upper_one() -> None:
    """1 / 49 rounds down, and 49 times that is below 1."""
    weights = np.array([2.0, *np.ones(47)])
    assert mass_bins(weights, weights, weights, 49).weight[:2].tolist() == [0.0, 2.0]
