"""How well scores rank positives above negatives, from the weight of either class at each distinct score.

The arrays: `positives` and `negatives` (keys,), float64 >= 0, the weight of the class at each distinct score, scores
ascending. Without sample weights they are counts, and every sum below is exact up to 2^53. A key of no weight changes
nothing. What is not defined is NaN; a weight that is not finite makes everything NaN.
"""

import math

import numpy as np
from numpy.typing import NDArray

from core.reports.segments import Floats, Runs

# Below this many effective samples of a class (one, up to rounding) a spread is not defined.
ONE_SAMPLE = 1.0 + 1e-9


def auroc(positives: Floats, negatives: Floats) -> float:
    """The area under the ROC curve: the chance that a positive has the higher score, a tie counting half.

        sum over keys of p[i] * (sum of n[j] for j < i, + n[i] / 2) / (P * N)

    In [0, 1], NaN without positives or without negatives. Source: Hanley and McNeil 1982 (the Mann-Whitney statistic);
    sklearn.metrics.roc_auc_score.
    """
    return float(auroc_by_row(_one_row(positives), positives, negatives, 1)[0][0])


def auroc_bound(positives: Floats, negatives: Floats) -> float:
    """How far `auroc` can be from that of the scores themselves where a key holds several of them.

        sum over keys of p[i] * n[i] / 2 / (P * N)

    Only pairs within a key are not ordered, and each counts half: wrong by a half at the most. 0 where not defined.
    """
    return float(auroc_by_row(_one_row(positives), positives, negatives, 1)[1][0])


def auroc_by_row(rows: NDArray[np.integer], positives: Floats, negatives: Floats, size: int) -> tuple[Floats, Floats]:
    """`auroc` (size,) and `auroc_bound` (size,) of many histograms at once.

    `rows` (keys,), ascending integers in [0, size), says whose each key is; keys ascend within a row. A row that has no
    key is NaN, with bound 0.
    """
    runs = Runs.of(rows)
    (positives,), _ = runs.scaled(positives)
    (negatives,), _ = runs.scaled(negatives)
    pairs = runs.total(positives) * runs.total(negatives)
    ordered = runs.total(positives * (runs.running(negatives) - negatives / 2))
    areas, bounds = np.full(size, math.nan), np.zeros(size)
    defined = pairs > 0
    labels = runs.labels[defined]
    areas[labels] = np.clip(ordered[defined] / pairs[defined], 0.0, 1.0)
    bounds[labels] = runs.total(positives * negatives)[defined] / 2 / pairs[defined]
    return areas, bounds


def auroc_variance(positives: Floats, negatives: Floats, squared_positives: Floats, squared_negatives: Floats) -> float:
    """DeLong's variance of `auroc`; `squared_...` (keys,) are the sums of squared weights at each key.

    A sample's placement is the share of the other class on its right side, a tie counting half; `auroc` is the mean
    placement of either class. With d the placements less that mean, each class adds

        sum of w^2 d^2 / (sum of w)^2 * m / (m - 1),   m = (sum of w)^2 / sum of w^2

    which without weights is DeLong's own: the sample variance of the placements over their number. One weight for all
    changes nothing. NaN where a class has no weight or only one effective sample.
    Source: DeLong, DeLong and Clarke-Pearson 1988; the weights are those of the sandwich estimator.
    """
    area = auroc(positives, negatives)
    if math.isnan(area):
        return math.nan
    of_positives = _share_below(negatives)
    of_negatives = 1.0 - _share_below(positives)
    return _variance_of_mean(of_positives - area, positives, squared_positives) + _variance_of_mean(
        of_negatives - area, negatives, squared_negatives
    )


def average_precision(positives: Floats, negatives: Floats) -> float:
    """The mean precision over the positives, at the threshold that lets each in.

        sum over keys of p[i] / P * (sum of p[j] for j >= i) / (sum of p[j] + n[j] for j >= i)

    In [0, 1]; 0 without positives, NaN without any weight. Source: sklearn.metrics.average_precision_score.
    """
    return float(average_precision_by_row(_one_row(positives), positives, negatives, 1)[0])


def average_precision_by_row(rows: NDArray[np.integer], positives: Floats, negatives: Floats, size: int) -> Floats:
    """`average_precision` (size,) of many histograms at once; `rows` as for `auroc_by_row`."""
    runs = Runs.of(rows[::-1])
    (positives, negatives), _ = runs.scaled(positives[::-1], negatives[::-1])
    found = runs.running(positives)
    returned = found + runs.running(negatives)
    precision = np.divide(found, returned, out=np.zeros_like(found), where=returned > 0)
    total = runs.total(positives)
    has_some = total > 0
    values = np.divide(runs.total(positives * precision), total, out=np.zeros_like(total), where=has_some)
    averages = np.full(size, math.nan)
    known = has_some | (runs.total(negatives) > 0)
    averages[runs.labels[known]] = values[known]
    return averages


def ks(positives: Floats, negatives: Floats) -> float:
    """The largest distance between the two classes' distributions of scores: max of |TPR - FPR| over thresholds.

    In [0, 1], NaN without positives or without negatives. Source: Kolmogorov and Smirnov; scipy.stats.ks_2samp.
    """
    below_positives, below_negatives = _share_up_to(positives), _share_up_to(negatives)
    if below_positives is None or below_negatives is None:
        return math.nan
    return float(np.abs(below_positives - below_negatives).max())


def best_f1(positives: Floats, negatives: Floats, thresholds: NDArray[np.floating]) -> tuple[float, float]:
    """The best F1 of "positive where score >= threshold", and the lowest of `thresholds` (keys,) that reaches it.

        F1 = 2 TP / (TP + FP + P)

    Thresholds are the keys' scores, ascending; a key of no weight is none. Without positives F1 is 0 at every
    threshold; without any weight both are NaN. Source: the largest F1 along sklearn.metrics.precision_recall_curve.
    """
    runs = Runs.of(_one_row(positives))
    (positives, negatives), _ = runs.scaled(positives, negatives)
    kept = (positives > 0) | (negatives > 0)
    if not kept.any():
        return math.nan, math.nan
    found = np.cumsum(positives[kept][::-1])[::-1]
    returned = found + np.cumsum(negatives[kept][::-1])[::-1]
    scores = 2 * found / (returned + found[0])
    best = int(np.argmax(scores))
    return float(scores[best]), float(thresholds[kept][best])


def _one_row(keys: Floats) -> NDArray[np.int64]:
    return np.zeros(keys.size, np.int64)


def _share_up_to(weights: Floats) -> Floats | None:
    """The share of the weight at or below each key, None where there is no weight."""
    (weights,), _ = Runs.of(_one_row(weights)).scaled(weights)
    sums = np.cumsum(weights)
    return sums / sums[-1] if sums.size and sums[-1] > 0 else None


def _share_below(weights: Floats) -> Floats:
    """The share of the weight below each key, its own counting half; `weights` holds some."""
    (weights,), _ = Runs.of(_one_row(weights)).scaled(weights)
    sums = np.cumsum(weights)
    shares: Floats = (sums - weights / 2) / sums[-1]
    return shares


def _variance_of_mean(deviations: Floats, weights: Floats, squared_weights: Floats) -> float:
    (weights,), powers = Runs.of(_one_row(weights)).scaled(weights)
    squares = np.ldexp(squared_weights, -2 * int(powers[0]))
    total, of_squares = float(weights.sum()), float(squares.sum())
    effective = total * total / of_squares if of_squares > 0 else math.nan
    if not effective > ONE_SAMPLE:
        return math.nan
    return float((squares * deviations * deviations).sum()) / (total * total) * effective / (effective - 1.0)
