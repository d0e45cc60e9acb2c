"""Metrics of predicted classes, from three weights a class.

The arrays, float64 >= 0 (classes,): `support`, the weight of the samples of each true class; `predicted`, of each
predicted class; `correct`, of the samples where both are that class. A weight that is not finite makes all of them 0
here. The numbers are scikit-learn's with zero_division=0.
"""

import math
from typing import NamedTuple

import numpy as np

from core.reports.segments import Floats, Runs

SAFE = (2.0**-60, 2.0**60)  # peaks of weights whose products are far from the ends of float64


class PrecisionRecallF1(NamedTuple):
    """Three averages over classes."""

    precision: float
    recall: float
    f1: float


def precision_recall_f1(support: Floats, predicted: Floats, correct: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class (classes,), 0 where 0 / 0.

        precision = correct / predicted    recall = correct / support    F1 = 2 correct / (support + predicted)

    Source: sklearn.metrics.precision_recall_fscore_support(average=None).
    """
    support, predicted, correct = _scaled(support, predicted, correct)
    return _ratio(correct, predicted), _ratio(correct, support), _ratio(correct, (support + predicted) / 2)


def averages(support: Floats, predicted: Floats, correct: Floats) -> dict[str, PrecisionRecallF1]:
    """Precision, recall and F1 averaged over the classes that are a target or a prediction.

    "micro" is of the summed weights, "macro" the plain mean over classes, "weighted" the mean by support. 0 where
    there is no such class, NaN where a weight is not finite.
    Source: sklearn.metrics.precision_recall_fscore_support(average=...).
    """
    known = bool(np.isfinite([support, predicted]).all())
    support, predicted, correct = _scaled(support, predicted, correct)
    present = (support > 0) | (predicted > 0)
    if not present.any():
        none = PrecisionRecallF1(*([0.0 if known else math.nan] * 3))
        return {"micro": none, "macro": none, "weighted": none}
    each = precision_recall_f1(support[present], predicted[present], correct[present])
    whole = precision_recall_f1(*(weights.sum(keepdims=True) for weights in (support, predicted, correct)))
    shares = support[present] if support.any() else np.ones(int(present.sum()))
    return {
        "micro": PrecisionRecallF1(*(float(values[0]) for values in whole)),
        "macro": PrecisionRecallF1(*(float(values.mean()) for values in each)),
        "weighted": PrecisionRecallF1(*(float((values * shares).sum() / shares.sum()) for values in each)),
    }


def balanced_accuracy(support: Floats, correct: Floats) -> float:
    """The mean recall over the classes that are a target, NaN where none is.

    Source: sklearn.metrics.balanced_accuracy_score, which leaves out classes that are only predicted.
    """
    support, correct = _scaled(support, correct)
    present = support > 0
    return float((correct[present] / support[present]).mean()) if present.any() else math.nan


def matthews_corrcoef(support: Floats, predicted: Floats, correct: Floats) -> float:
    """Matthews' correlation of the true with the predicted classes, in [-1, 1].

        (c n - sum of s p) / sqrt((n^2 - sum of s^2) (n^2 - sum of p^2)),   n all weight, c the correct

    0 where every sample is of one class, or predicted as one, and without weight. Source: Gorodkin 2004;
    sklearn.metrics.matthews_corrcoef.
    """
    support, predicted, correct = _scaled(support, predicted, correct)
    # n^2 - sum of s^2 as a sum of terms >= 0: it is then 0 exactly where one class holds everything.
    of_support = _unlike(support, support)
    of_predicted = _unlike(predicted, predicted)
    if of_support <= 0 or of_predicted <= 0:
        return 0.0
    # c n - sum of s p, from what is wrong: where one class holds nearly everything, those two are nearly the same.
    covariance = _unlike(support, predicted) - float((support - correct).sum()) * float(support.sum())
    return min(max(covariance / math.sqrt(of_support) / math.sqrt(of_predicted), -1.0), 1.0)


def cohen_kappa(support: Floats, predicted: Floats, correct: Floats) -> float:
    """Cohen's kappa: the agreement of true and predicted classes beyond that of chance, at most 1.

        1 - (n - c) / (n - sum of s p / n),   n all weight, c the correct

    NaN where chance agrees throughout (one class is every target and every prediction) and without weight. Source:
    Cohen 1960; sklearn.metrics.cohen_kappa_score, whose `replace_undefined_by` is NaN too.
    """
    support, predicted, correct = _scaled(support, predicted, correct)
    total = float(support.sum())
    by_chance = _unlike(support, predicted)
    if by_chance <= 0:
        return math.nan
    wrong = float((support - correct).sum())
    return 1.0 - wrong * total / by_chance


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _unlike(left: Floats, right: Floats) -> float:
    """The weight of pairs of unlike classes: the sum of left[i] right[j] over i != j."""
    # Added up from either end: the sum less a class that holds nearly all of it would lose the digits of the others.
    before, after = np.cumsum(right), np.cumsum(right[::-1])[::-1]
    others = np.append(0.0, before[:-1]) + np.append(after[1:], 0.0)
    return float((left * others).sum())


def _scaled(*weights: Floats) -> list[Floats]:
    """The weights over one power of two, so that neither sums nor products overflow; no ratio changes."""
    if SAFE[0] <= max(float(weight.max(initial=0.0)) for weight in weights) <= SAFE[1]:
        return list(weights)
    return Runs.of(np.zeros(weights[0].size, np.int64)).scaled(*weights)[0]
