"""Metrics of counts are scikit-learn's, with and without weights, and whatever classes are absent."""

import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
)

from core.reports.counts import Counts, precision_recall_f1
from tests.core.reports.data import Array, class_cases

# What scikit-learn says of data that it calls badly posed; its numbers are compared all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:y_pred contains classes:UserWarning"),
    pytest.mark.filterwarnings("ignore:A single label was found:UserWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning"),
]
AVERAGES = ("micro", "macro", "weighted")


def of(*weights: Array) -> Counts:
    """Of the weights of each true class, of each predicted one, and of what is both."""
    return Counts(np.array(weights))


def test_each_class_is_scikit_learns() -> None:
    for data in class_cases(41, 100):
        expected = precision_recall_fscore_support(
            data.targets, data.predicted, labels=range(data.size), sample_weight=data.weights, zero_division=0.0
        )
        for found, wanted in zip(precision_recall_f1(np.array(data.counts())), expected, strict=False):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_averages_are_scikit_learns() -> None:
    for data in class_cases(42, 100):
        found = of(*data.counts()).averages
        for average in AVERAGES:
            expected = precision_recall_fscore_support(
                data.targets, data.predicted, average=average, sample_weight=data.weights, zero_division=0.0
            )
            assert found[average] == pytest.approx(expected[:3], rel=1e-12)


def test_agreements_are_scikit_learns() -> None:
    undefined = 0
    for data in class_cases(43, 300):
        given = {"y_pred": data.predicted, "sample_weight": data.weights}
        support, predicted, correct = data.counts()
        assert of(support, predicted, correct).balanced_accuracy == pytest.approx(
            balanced_accuracy_score(data.targets, **given), rel=1e-12
        )
        found = of(support, predicted, correct).matthews_corrcoef
        assert found == pytest.approx(matthews_corrcoef(data.targets, **given), abs=1e-12)
        expected = cohen_kappa_score(data.targets, data.predicted, sample_weight=data.weights)
        assert of(support, predicted, correct).cohen_kappa == pytest.approx(expected, abs=1e-12, nan_ok=True)
        undefined += math.isnan(expected)
    assert undefined > 5


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_nothing_counted(size: int) -> None:
    nothing = np.zeros(size)
    for values in precision_recall_f1(np.array([nothing] * 3)):
        np.testing.assert_array_equal(values, nothing)
    assert all(value == 0 for name in AVERAGES for value in of(nothing, nothing, nothing).averages[name])
    assert math.isnan(of(nothing, nothing, nothing).balanced_accuracy)
    assert of(nothing, nothing, nothing).matthews_corrcoef == 0.0
    assert math.isnan(of(nothing, nothing, nothing).cohen_kappa)


def test_predictions_without_targets() -> None:
    found = of(np.zeros(3), np.array([0.0, 2.0, 0.0]), np.zeros(3)).averages
    assert found == dict.fromkeys(AVERAGES, (0.0, 0.0, 0.0))


@pytest.mark.parametrize("weight", [0.1, 0.7, 3.0, 1e-300, 1e300])
def test_one_class_throughout_is_degenerate(weight: float) -> None:
    support, other = np.array([0.0, weight, 0.0]), np.array([weight / 3, weight / 3, weight / 3])
    assert of(support, support, support).matthews_corrcoef == 0.0
    assert of(support, other, np.minimum(support, other)).matthews_corrcoef == 0.0
    assert of(other, support, np.minimum(support, other)).matthews_corrcoef == 0.0
    assert math.isnan(of(support, support, support).cohen_kappa)
    assert of(support, other, np.minimum(support, other)).cohen_kappa == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("scale", [5e-324, 2.0**-1000, 2.0**-20, 2.0**1000])
def test_weights_of_any_size_neither_overflow_nor_vanish(scale: float) -> None:
    given: list[Array] = [np.array([3.0, 1.0, 0.0]), np.array([2.0, 1.0, 1.0]), np.array([2.0, 0.0, 0.0])]
    scaled = [values * scale for values in given]
    assert of(*scaled).averages == of(*given).averages
    assert of(*given).averages["micro"] == (0.5, 0.5, 0.5)
    assert of(*scaled).balanced_accuracy == of(*given).balanced_accuracy == pytest.approx(1 / 3)
    assert of(*scaled).matthews_corrcoef == of(*given).matthews_corrcoef
    assert of(*scaled).cohen_kappa == of(*given).cohen_kappa


@pytest.mark.parametrize("small", [1e-150, 1e-162, 1e-170, 1e-200, 1e-300])
def test_weights_that_are_far_apart_neither_overflow_nor_vanish(small: float) -> None:
    weights, wrong = np.array([1.0, small]), np.array([small, 1.0])
    assert of(weights, weights, weights).matthews_corrcoef == pytest.approx(1.0, abs=1e-12)
    assert of(weights, wrong, np.zeros(2)).matthews_corrcoef == pytest.approx(-1.0, abs=1e-12)
    assert of(weights, weights, weights).cohen_kappa == 1.0


def test_numbers_are_pythons() -> None:
    counts = of(np.array([2.0, 1.0]), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    found = counts.balanced_accuracy, counts.matthews_corrcoef, counts.cohen_kappa, *counts.averages["macro"]
    assert {type(value) for value in found} == {float}


def test_perfect_and_contrary_predictions_reach_the_ends() -> None:
    for weights in np.random.default_rng(44).random((50, 3)):
        assert of(weights, weights, weights).matthews_corrcoef == 1.0
        assert of(weights, weights, weights).cohen_kappa == 1.0
        swapped = weights[:2], weights[1::-1], np.zeros(2)
        assert of(*swapped).matthews_corrcoef == pytest.approx(-1.0, abs=1e-15)
        assert of(*swapped).matthews_corrcoef >= -1.0


@pytest.mark.parametrize("spoilt", [math.inf, math.nan])
def test_weights_that_are_not_finite_are_as_none(spoilt: float) -> None:
    weights = np.array([1.0, spoilt])
    assert math.isnan(of(weights, weights, weights).averages["macro"].f1)
    assert math.isnan(of(weights, weights, weights).balanced_accuracy)
    assert of(weights, weights, weights).matthews_corrcoef == 0.0
    assert math.isnan(of(weights, weights, weights).cohen_kappa)


def test_a_class_that_holds_nearly_everything_hides_nothing_of_the_others() -> None:
    """The sums are those of three samples; n^2 - sum of s^2 as it is written would be wrong by a tenth."""
    support, predicted, correct = np.array([1e15, 2.0]), np.array([1e15 - 1, 3.0]), np.array([1e15 - 2, 1.0])
    both = Fraction(10**15 + 2)
    of_support, of_predicted = 2 * Fraction(10**15) * 2, 2 * Fraction(10**15 - 1) * 3
    covariance = Fraction(10**15 - 1) * both - (Fraction(10**15) * Fraction(10**15 - 1) + 6)
    expected = float(covariance) / math.sqrt(of_support * of_predicted)
    assert of(support, predicted, correct).matthews_corrcoef == pytest.approx(expected, rel=1e-12)
