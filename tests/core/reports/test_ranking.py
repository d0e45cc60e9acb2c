"""Ranking metrics are scikit-learn's, SciPy's and, for the variance, those of all pairs of raw scores."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from core.reports.ranking import (
    auroc,
    auroc_bound,
    auroc_by_row,
    auroc_variance,
    average_precision,
    average_precision_by_row,
    best_f1,
    ks,
)
from tests.core.reports.data import Array, Binary, binary_cases, histogram

NONE = np.zeros(0)


def test_auroc_and_average_precision_are_scikit_learns() -> None:
    for data in binary_cases(1, 200):
        held = histogram(data)
        given = {"sample_weight": data.weights}
        expected = roc_auc_score(data.targets, data.scores, **given)
        assert auroc(held.positives, held.negatives) == pytest.approx(expected, abs=1e-12)
        expected = average_precision_score(data.targets, data.scores, **given)
        assert average_precision(held.positives, held.negatives) == pytest.approx(expected, abs=1e-12)


def test_counts_give_the_nearest_float_to_the_true_auroc() -> None:
    for data in binary_cases(2, 50, weighted=False):
        above = data.scores[data.targets == 1][:, None] - data.scores[data.targets == 0][None, :]
        wins = Fraction(int((above > 0).sum() * 2 + (above == 0).sum()), 2 * above.size)
        held = histogram(data)
        assert auroc(held.positives, held.negatives) == wins.numerator / wins.denominator


@pytest.mark.parametrize(
    ("positives", "negatives"), [([], []), ([1.0, 2.0], [0.0, 0.0]), ([0.0], [3.0]), ([0.0], [0.0])]
)
def test_one_class_has_no_ranking(positives: list[float], negatives: list[float]) -> None:
    one = np.array(positives), np.array(negatives)
    assert math.isnan(auroc(*one))
    assert auroc_bound(*one) == 0.0
    assert math.isnan(auroc_variance(*one, *one))
    assert math.isnan(ks(*one))


def test_average_precision_of_one_class() -> None:
    assert average_precision(np.array([0.0, 0.0]), np.array([1.0, 2.0])) == 0.0
    assert average_precision(np.array([1.0, 2.0]), np.array([0.0, 0.0])) == 1.0
    assert math.isnan(average_precision(NONE, NONE))
    assert math.isnan(average_precision(np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize("scale", [5e-324, 2.0**-1000, 2.0**1000])
def test_weights_of_any_size_neither_overflow_nor_vanish(scale: float) -> None:
    positives, negatives = np.array([1.0, 0.0, 1.0]) * scale, np.array([0.0, 1.0, 1.0]) * scale
    assert auroc(positives, negatives) == 0.375
    assert auroc_bound(positives, negatives) == 0.125
    assert average_precision(positives, negatives) == pytest.approx((0.5 + 0.5) / 2)
    assert ks(positives, negatives) == 0.5
    assert best_f1(positives, negatives, np.arange(3.0)) == (2 / 3, 0.0)


@pytest.mark.parametrize("spoilt", [math.inf, math.nan])
def test_weights_that_are_not_finite_are_not_defined(spoilt: float) -> None:
    positives, negatives = np.array([1.0, spoilt]), np.array([1.0, 2.0])
    assert math.isnan(auroc(positives, negatives))
    assert math.isnan(auroc_variance(positives, negatives, positives, negatives))
    assert math.isnan(auroc_variance(negatives, negatives, positives, negatives))
    assert math.isnan(average_precision(positives, negatives))
    assert math.isnan(ks(positives, negatives))
    assert math.isnan(best_f1(positives, negatives, np.arange(2.0))[0])


def test_bound_holds_the_auroc_of_the_scores() -> None:
    wrong = 0.0
    for data in binary_cases(3, 100):
        exact, coarse = histogram(data), histogram(data._replace(scores=np.round(np.clip(data.scores, -9, 9))))
        bound = auroc_bound(coarse.positives, coarse.negatives)
        exact_bound = auroc_bound(exact.positives, exact.negatives)
        distance = abs(auroc(exact.positives, exact.negatives) - auroc(coarse.positives, coarse.negatives))
        assert distance <= bound + exact_bound + 1e-12
        wrong = max(wrong, distance)
    assert wrong > 0.01
    assert auroc_bound(np.array([1.0, 3.0]), np.array([2.0, 4.0])) == (1 * 2 + 3 * 4) / 2 / (4 * 6)


def placements(data: Binary) -> tuple[Array, Array]:
    """DeLong's structural components of the positives and of the negatives, from all pairs of scores."""
    mine, other = data.scores[data.targets == 1][:, None], data.scores[data.targets == 0][None, :]
    wins = (mine > other) + 0.5 * (mine == other)
    of_negatives, of_positives = data.weights[data.targets == 0], data.weights[data.targets == 1]
    return wins @ of_negatives / of_negatives.sum(), of_positives @ wins / of_positives.sum()


def test_variance_of_counts_is_delongs() -> None:
    compared = 0
    for data in binary_cases(4, 100, weighted=False):
        held = histogram(data)
        found = auroc_variance(*held[1:])
        if min(data.targets.sum(), (1 - data.targets).sum()) < 2:
            assert math.isnan(found)
            continue
        of_positives, of_negatives = placements(data)
        expected = of_positives.var(ddof=1) / of_positives.size + of_negatives.var(ddof=1) / of_negatives.size
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)
        compared += 1
    assert compared > 30


def test_variance_under_weights_is_the_sandwich() -> None:
    compared = 0
    for data in binary_cases(5, 100, weighted=True):
        expected = 0.0
        for target, placed in zip((1, 0), placements(data), strict=True):
            weights = data.weights[data.targets == target]
            number = weights.sum() ** 2 / (weights**2).sum()
            deviations = placed - np.average(placed, weights=weights)
            part = (weights**2 * deviations**2).sum() / weights.sum() ** 2
            expected += part * number / (number - 1) if number > 1 + 1e-9 else math.nan
        found = auroc_variance(*histogram(data)[1:])
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-15, nan_ok=True)
        compared += not math.isnan(expected)
    assert compared > 30


def test_one_sample_has_no_variance_though_its_square_was_rounded() -> None:
    one, two = np.array([0.1, 0.0, 0.0]), np.array([0.0, 1.0, 1.0])
    assert 0.1 * 0.1 / 0.01 > 1
    assert math.isnan(auroc_variance(one, two, np.array([0.01, 0.0, 0.0]), two))
    assert math.isnan(auroc_variance(two, two, two, np.full(3, math.inf)))


def test_rounding_passes_no_end() -> None:
    rng = np.random.default_rng(12)
    for size in rng.integers(1, 50, 300):
        lower, upper = np.append(rng.random(size), np.zeros(size)), np.append(np.zeros(size), rng.random(size))
        assert 1.0 - 1e-15 < auroc(upper, lower) <= 1.0
        assert 1.0 - 1e-15 < average_precision(upper, lower) <= 1.0
        assert auroc(lower, upper) == 0.0


def test_one_weight_for_all_changes_no_variance() -> None:
    for data in binary_cases(6, 20, weighted=False):
        doubled = data._replace(weights=data.weights * 1e150)
        found = auroc_variance(*histogram(doubled)[1:])
        assert found == pytest.approx(auroc_variance(*histogram(data)[1:]), rel=1e-9, nan_ok=True)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # of its p-value
def test_ks_is_scipys() -> None:
    for data in binary_cases(7, 100, weighted=False):
        held = histogram(data)
        expected = ks_2samp(data.scores[data.targets == 1], data.scores[data.targets == 0], method="asymp").statistic
        assert ks(held.positives, held.negatives) == pytest.approx(expected, abs=1e-12)


def test_ks_under_whole_weights_is_that_of_repeated_samples() -> None:
    for data in binary_cases(8, 30, weighted=False):
        times = np.random.default_rng(data.scores.size).integers(1, 4, data.scores.size)
        weighted, repeated = (
            histogram(data._replace(weights=times)),
            histogram(Binary(*(np.repeat(a, times) for a in data))),
        )
        assert ks(weighted.positives, weighted.negatives) == ks(repeated.positives, repeated.negatives)


def test_best_f1_is_the_best_of_scikit_learns_curve() -> None:
    for data in binary_cases(9, 200):
        held = histogram(data)
        found, threshold = best_f1(held.positives, held.negatives, held.keys)
        precision, recall, thresholds = precision_recall_curve(data.targets, data.scores, sample_weight=data.weights)
        total = precision + recall
        scores = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
        assert found == pytest.approx(scores.max(), abs=1e-12)
        # The lowest that reaches it; the curve's own formula rounds, so that equals differ in their last bits.
        assert threshold == thresholds[int(np.argmax(scores >= scores.max() - 1e-12))]


def test_best_f1_takes_the_lowest_of_equal_thresholds() -> None:
    # At 3.0: TP 1, FP 0. At 1.0: TP 2, FP 2. Both are F1 2 / 3. The key at 0.5 has no weight.
    positives, negatives = np.array([0.0, 0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 2.0, 0.0])
    assert best_f1(positives, negatives, np.array([0.0, 0.5, 1.0, 2.0, 3.0])) == (2 / 3, 1.0)
    assert best_f1(np.zeros(3), np.ones(3), np.arange(3.0)) == (0.0, 0.0)
    nothing = best_f1(NONE, NONE, NONE)
    assert math.isnan(nothing[0])
    assert math.isnan(nothing[1])


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_ranked_as_if_alone(weighted: bool) -> None:
    for seed in range(10):
        cases = [histogram(data) for data in binary_cases(100 + seed, 12, weighted=weighted)]
        rng = np.random.default_rng(seed)
        scales = 10.0 ** rng.integers(-200, 200, len(cases)) if weighted else np.ones(len(cases))
        places = np.sort(rng.permutation(20)[: len(cases)])
        rows = np.repeat(places, [held.keys.size for held in cases])
        positives = np.concatenate([held.positives * scale for held, scale in zip(cases, scales, strict=True)])
        negatives = np.concatenate([held.negatives * scale for held, scale in zip(cases, scales, strict=True)])
        areas, bounds = auroc_by_row(rows, positives, negatives, 20)
        averages = average_precision_by_row(rows, positives, negatives, 20)
        alone = [(auroc(held.positives, held.negatives), auroc_bound(held.positives, held.negatives)) for held in cases]
        found = np.stack((areas[places], bounds[places]), axis=1)
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-13 if weighted else 0)
        expected = [average_precision(held.positives, held.negatives) for held in cases]
        np.testing.assert_allclose(averages[places], expected, rtol=0, atol=1e-13 if weighted else 0)
        absent = np.setdiff1d(np.arange(20), places)
        assert np.isnan(areas[absent]).all()
        assert np.isnan(averages[absent]).all()
        assert (bounds[absent] == 0).all()


def test_a_row_that_is_not_defined_spoils_no_other() -> None:
    rows = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    positives = np.array([1.0, 1.0, np.inf, 1.0, 0.0, 1.0, 0.0, 0.0])
    negatives = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, np.nan])
    areas, bounds = auroc_by_row(rows, positives, negatives, 4)
    np.testing.assert_array_equal(areas, [np.nan, np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(bounds, np.zeros(4))
    np.testing.assert_array_equal(average_precision_by_row(rows, positives, negatives, 4), [1.0, np.nan, 1.0, np.nan])


def test_small_rows_keep_their_digits_behind_many_large_ones() -> None:
    rng = np.random.default_rng(11)
    rows, keys = 400, 500
    positives, negatives = rng.random((2, rows, keys)) * 10.0 ** rng.integers(-3, 1, (2, rows, keys))
    areas, _ = auroc_by_row(np.repeat(np.arange(rows), keys), positives.ravel(), negatives.ravel(), rows)
    alone = [auroc(positives[row], negatives[row]) for row in range(rows)]
    np.testing.assert_allclose(areas, alone, rtol=0, atol=4e-15)


def test_no_rows_at_all() -> None:
    areas, bounds = auroc_by_row(np.zeros(0, np.int64), NONE, NONE, 3)
    assert np.isnan(areas).all()
    assert bounds.tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(average_precision_by_row(np.zeros(0, np.int64), NONE, NONE, 3)).all()
