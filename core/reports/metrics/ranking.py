"""How well scores order the samples, whatever the threshold: from the weights by the key of the score."""

import math
from collections.abc import Callable

import numpy as np

from core.reports import ranking
from core.reports.declare import Metric
from core.reports.intervals import normal_quantile
from core.reports.references import Data, mean
from core.reports.scores import by_row, of_scores
from core.reports.spec import Spec
from core.reports.threshold import threshold_of
from core.reports.view import Value, View
from core.rules import Array


def _auroc(view: View) -> Value:
    found = of_scores(view)
    value, bound = ranking.auroc(found.positives, found.negatives), found.bound
    variance = ranking.auroc_variance(found.positives, found.negatives, *found.squares)
    half = normal_quantile(view.spec.confidence) * math.sqrt(variance) + bound
    return Value(
        value, (max(0.0, value - half), min(1.0, value + half)) if half >= 0 else (math.nan, math.nan), "DeLong", bound
    )


def _average_precision(view: View) -> Value:
    found = of_scores(view)
    return Value(ranking.average_precision(found.positives, found.negatives))


def _ks(view: View) -> Value:
    found = of_scores(view)
    return Value(ranking.ks(found.positives, found.negatives))


def _best(place: int) -> Callable[[View], Value]:
    def value(view: View) -> Value:
        found = of_scores(view)
        best = ranking.best_f1(found.positives, found.negatives, found.thresholds)
        return Value(threshold_of(best[1], view.spec.scores) if place else best[0])

    return value


def _pairs(scores: Array, positive: Array, weight: Array) -> float:
    """The share of pairs of a positive and a negative sample that are in order; ties count half."""
    first, second = scores[positive], scores[~positive]
    weights = np.outer(weight[positive], weight[~positive])
    if not weights.sum() > 0:
        return math.nan
    order = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    return float((order * weights).sum() / weights.sum())


def _precision_steps(scores: Array, positive: Array, weight: Array) -> list[tuple[float, float, float]]:
    """The threshold, precision and recall of every score, descending."""
    total = weight[positive].sum()
    found = []
    for threshold in np.unique(scores)[::-1]:
        said = scores >= threshold
        hits = weight[said & positive].sum()
        found.append(
            (float(threshold), hits / weight[said].sum() if weight[said].sum() else 0.0, hits / total if total else 0.0)
        )
    return found


def _steps_sum(scores: Array, positive: Array, weight: Array) -> float:
    if not weight.sum() > 0:
        return math.nan
    found, reached = 0.0, 0.0
    for _, precision, recall in _precision_steps(scores, positive, weight):
        found, reached = found + (recall - reached) * precision, recall
    return found


def _ks_reference(data: Data) -> float:
    positive = data.targets == 1
    shares = [
        [
            data.weight[(data.scores >= threshold) & side].sum() / data.weight[side].sum()
            for side in (positive, ~positive)
        ]
        for threshold in np.unique(data.scores)
        if positive.any() and not positive.all()
    ]
    return float(max(abs(high - low) for high, low in shares)) if shares else math.nan


def _best_reference(data: Data, place: int) -> float:
    positive, scores, weight = data.targets == 1, data.scores, data.weight
    if not weight.sum() > 0:
        return math.nan
    scored = []
    for threshold in np.unique(scores[weight > 0]):
        said = scores >= threshold
        hits = weight[said & positive].sum()
        scored.append((float(2 * hits / (weight[said].sum() + weight[positive].sum())), -float(threshold)))
    f1, negated = max(scored)
    score = -negated
    if "logits" in data.fields:
        return (f1, float(1 / (1 + np.exp(-score))))[place]
    return (f1, float(np.exp(score)) if "log_probabilities" in data.fields else score)[place]


def _rows(metric: str, weighted: bool) -> Callable[[View], Value]:
    """The mean over the classes or labels for which it is defined."""

    def value(view: View) -> Value:
        values, support, bound = by_row(view, metric)
        there = ~np.isnan(values)
        weight = np.where(there, support if weighted else 1.0, 0.0)
        if not weight.sum() > 0:
            return Value(math.nan)
        found, off = (float(np.where(there, one, 0) @ weight / weight.sum()) for one in (values, bound))
        return Value(found, bound=off if metric == "auroc" else None)

    return value


def _rows_reference(metric: Callable[..., float], weighted: bool) -> Callable[[Data], float]:
    def reference(data: Data) -> float:
        found, weights = [], []
        for row in range(data.p.shape[1]):
            if data.targets.ndim == 2:
                there, positive, scores = data.there[:, row], data.targets[:, row] == 1, data.scores[:, row]
            else:
                there, positive, scores = np.ones(len(data.targets), bool), data.targets == row, data.log_p[:, row]
            weight = data.weight[there]
            if np.isnan(_pairs(scores[there], positive[there], weight)):
                continue
            found.append(metric(scores[there], positive[there], weight))
            weights.append(weight[positive[there]].sum() if weighted else 1.0)
        return mean(np.array(found), np.array(weights)) if found else math.nan

    return reference


def _asked(name: str) -> Callable[[Spec], bool]:
    return lambda spec: name in spec.metrics


ORDER = 6
METRICS = (
    Metric(
        name="auroc",
        doc="How likely a positive sample is ranked above a negative one; ties count half. NaN if either is missing.",
        formula=r"P(s^+ > s^-) + \tfrac{1}{2} P(s^+ = s^-)",
        low=0.0,
        high=1.0,
        needs=("scores",),
        value=_auroc,
        reference=lambda data: _pairs(data.scores, data.targets == 1, data.weight),
        examples={"binary": 0.8888888888888888},
        source="sklearn.metrics.roc_auc_score; DeLong et al. 1988",
    ),
    Metric(
        name="average_precision",
        doc="Precision averaged over the steps of recall; 0 where nothing is positive, NaN where nothing is at all.",
        formula=r"\sum_n (R_n - R_{n-1}) P_n",
        low=0.0,
        high=1.0,
        needs=("scores",),
        value=_average_precision,
        reference=lambda data: _steps_sum(data.scores, data.targets == 1, data.weight),
        examples={"binary": 0.9166666666666666},
        source="sklearn.metrics.average_precision_score",
    ),
    Metric(
        name="ks",
        doc="Kolmogorov-Smirnov statistic: the largest distance between the shares of positives and of negatives above"
        " a threshold.",
        formula=r"\max_\tau |\operatorname{TPR}(\tau) - \operatorname{FPR}(\tau)|",
        low=0.0,
        high=1.0,
        needs=("scores",),
        value=_ks,
        reference=_ks_reference,
        examples={"binary": 0.6666666666666667},
        source="scipy.stats.ks_2samp",
    ),
    Metric(
        name="best_f1",
        doc="The largest F1 of any threshold.",
        formula=r"\max_\tau F_1(\tau)",
        low=0.0,
        high=1.0,
        needs=("scores",),
        value=_best(0),
        reference=lambda data: _best_reference(data, 0),
        examples={"binary": 0.8571428571428571},
        source="sklearn.metrics.precision_recall_curve",
    ),
    Metric(
        name="best_f1_threshold",
        doc="The lowest probability from which on a sample is to be said positive for that F1.",
        formula=r"\operatorname{argmax}_\tau F_1(\tau)",
        low=0.0,
        high=1.0,
        needs=("scores",),
        value=_best(1),
        reference=lambda data: _best_reference(data, 1),
        examples={"binary": 0.3775406687981454},
        source="sklearn.metrics.precision_recall_curve",
    ),
    Metric(
        name="auroc_macro",
        doc="Mean AUROC of each class against the others (of each label), of those for which it is defined.",
        formula=r"\frac{1}{|K|}\sum_{c \in K} \operatorname{AUROC}_c",
        low=0.0,
        high=1.0,
        needs=("scores_by_class",),
        value=_rows("auroc", weighted=False),
        reference=_rows_reference(_pairs, weighted=False),
        examples={"multiclass": 0.611111111111111, "multilabel": 0.8888888888888888},
        source='sklearn.metrics.roc_auc_score(multi_class="ovr", average="macro")',
        kept=_asked("auroc"),
    ),
    Metric(
        name="auroc_weighted",
        doc="The same, by how often a class is true.",
        formula=r"\sum_{c \in K} \frac{n_c}{\sum_{k \in K} n_k} \operatorname{AUROC}_c",
        low=0.0,
        high=1.0,
        needs=("scores_by_class",),
        value=_rows("auroc", weighted=True),
        reference=_rows_reference(_pairs, weighted=True),
        examples={"multiclass": 0.5333333333333333},
        source='sklearn.metrics.roc_auc_score(multi_class="ovr", average="weighted")',
        kept=_asked("auroc"),
    ),
    Metric(
        name="average_precision_macro",
        doc="Mean average precision of the labels for which an AUROC is defined.",
        formula=r"\frac{1}{|K|}\sum_{c \in K} \operatorname{AP}_c",
        low=0.0,
        high=1.0,
        needs=("scores_by_class",),
        value=_rows("average_precision", weighted=False),
        reference=_rows_reference(_steps_sum, weighted=False),
        examples={"multilabel": 0.9722222222222222},
        source='sklearn.metrics.average_precision_score(average="macro")',
        kept=_asked("average_precision"),
    ),
)
