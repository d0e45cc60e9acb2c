"""Metrics of predicted classes, from three weights a class. The numbers are scikit-learn's with zero_division=0."""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np

from core.reports.segments import Floats, Runs

SAFE = (2.0**-60, 2.0**60)  # peaks of weights whose products are far from the ends of float64
KEPT = 2**16  # classes up to which the rates of each are kept
SMALL = 2.0**-900  # products from here on have lost no digits


class PrecisionRecallF1(NamedTuple):
    """Three averages over classes."""

    precision: float
    recall: float
    f1: float


def precision_recall_f1(table: Floats) -> Floats:
    """Precision, recall and F1 of each class (3, classes), of a `table` as Counts has it; 0 where 0 / 0.

        precision = correct / predicted    recall = correct / support    F1 = 2 correct / (support + predicted)

    Source: sklearn.metrics.precision_recall_fscore_support(average=None).
    """
    return _rates(_scaled(table))


class Counts:
    """What follows from `table`, float64 >= 0 (3, classes): the weight of the samples of each true class, its support;
    of each predicted class; of the samples where both are that class. A weight that is not finite makes all 0 here."""

    def __init__(self, table: Floats) -> None:
        self.table = _scaled(table)
        self.support, self.predicted, self.correct = self.table
        self.total = float(self.support.sum())
        self._each: Floats | None = None
        self._known = self.table is table or bool(np.isfinite(table).all())

    @property
    def each(self) -> Floats:
        """Precision, recall and F1 of each class: see precision_recall_f1. Made anew where there are more than KEPT."""
        if self.table.shape[1] > KEPT:
            return _rates(self.table)
        if self._each is None:
            self._each = _rates(self.table)
        return self._each

    @property
    def averages(self) -> dict[str, PrecisionRecallF1]:
        """Precision, recall and F1 averaged over the classes that are a target or a prediction.

        "micro" is of the summed weights, "macro" the plain mean over classes, "weighted" the mean by support. 0 where
        there is no such class, NaN where a weight is not finite.
        Source: sklearn.metrics.precision_recall_fscore_support(average=...).
        """
        return self._means[0]

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall over the classes that are a target, NaN where none is.

        Source: sklearn.metrics.balanced_accuracy_score, which leaves out classes that are only predicted.
        """
        return self._means[1]

    @cached_property
    def _means(self) -> tuple[dict[str, PrecisionRecallF1], float]:
        """The averages, and the balanced accuracy."""
        present = np.count_nonzero(self.support + self.predicted)
        if not present:
            none = PrecisionRecallF1(*([0.0 if self._known else math.nan] * 3))
            return {"micro": none, "macro": none, "weighted": none}, math.nan
        each, true = self.each, int(np.count_nonzero(self.support))
        total = each.sum(axis=1)
        macro = total / present
        # Without any support, where all recalls and F1 are 0, classes count alike.
        weighted = (each * self.support).sum(axis=1) / self.total if self.total else macro
        found = {"micro": _rates(self.table.sum(axis=1)), "macro": macro, "weighted": weighted}
        balanced = float(total[1]) / true if true else math.nan
        return {name: PrecisionRecallF1(*values.tolist()) for name, values in found.items()}, balanced

    @property
    def matthews_corrcoef(self) -> float:
        """Matthews' correlation of the true with the predicted classes, in [-1, 1].

            (c n - sum of s p) / sqrt((n^2 - sum of s^2) (n^2 - sum of p^2)),   n all weight, c the correct

        0 where every sample is of one class, or predicted as one, and without weight. Source: Gorodkin 2004;
        sklearn.metrics.matthews_corrcoef.
        """
        # n^2 - sum of s^2 as a sum of terms >= 0: it is then 0 exactly where one class holds everything.
        of_support, of_predicted, of_both = self._unlike
        if of_support <= 0 or of_predicted <= 0:
            return 0.0
        # c n - sum of s p, or the same from what is wrong: of two numbers that are nearly the same, the smaller two.
        right = float(self.correct.sum())
        if self._wrong < right:
            covariance = of_both - self._wrong * self.total
        else:
            covariance = right * self.total - float((self.support * self.predicted).sum())
        spread = of_support * of_predicted
        if spread > SMALL:  # one root, so that what is perfect is 1
            return min(max(covariance / math.sqrt(spread), -1.0), 1.0)
        return min(max(covariance / math.sqrt(of_support) / math.sqrt(of_predicted), -1.0), 1.0)

    @property
    def cohen_kappa(self) -> float:
        """Cohen's kappa: the agreement of true and predicted classes beyond that of chance, at most 1.

            1 - (n - c) / (n - sum of s p / n),   n all weight, c the correct

        NaN where chance agrees throughout (one class is every target and every prediction) and without weight. Source:
        Cohen 1960; sklearn.metrics.cohen_kappa_score, whose `replace_undefined_by` is NaN too.
        """
        by_chance = self._unlike[2]
        return 1.0 - self._wrong * self.total / by_chance if by_chance > 0 else math.nan

    @cached_property
    def _wrong(self) -> float:
        return float((self.support - self.correct).sum())

    @cached_property
    def _unlike(self) -> tuple[float, float, float]:
        """The weight of pairs of unlike classes: both true, both predicted, a true and a predicted one."""
        of_support, of_predicted = _others(self.support), _others(self.predicted)
        pairs = (self.support, of_support), (self.predicted, of_predicted), (self.support, of_predicted)
        true, said, both = (float((left * right).sum()) for left, right in pairs)
        return true, said, both


def _others(weights: Floats) -> Floats:
    """For each class the weight of all others. Only of a class that holds more than half would a difference lose the
    digits of the others."""
    found: Floats = weights.sum() - weights
    if weights.size:
        largest = int(weights.argmax())
        found[largest] = weights[:largest].sum() + weights[largest + 1 :].sum()
    return found


def _rates(table: Floats) -> Floats:
    support, predicted, correct = table
    whole: Floats = np.array([predicted, support, (support + predicted) / 2])
    np.divide(correct, whole, out=whole, where=whole > 0)  # what is 0 stays 0
    return whole


def _scaled(table: Floats) -> Floats:
    """The weights over one power of two, so that neither sums nor products overflow; no ratio changes."""
    peak = float(table.max(initial=0.0))
    if peak == 0 or SAFE[0] <= peak <= SAFE[1]:
        return table
    return np.array(Runs.of(np.zeros(table.shape[1], np.int64)).scaled(*table)[0])
