"""The members of a report beside its metrics: tables by class and bin, curves, histograms."""

import math
from typing import Any

import numpy as np

from core.reports import curves
from core.reports.calibration import edges
from core.reports.declare import Detail
from core.reports.metrics.calibration import bins
from core.reports.metrics.decisions import by_class
from core.reports.scores import by_row, of_scores
from core.reports.view import View
from core.rules import Array

MATRIX_CLASSES = 200  # up to which the whole confusion matrix is answered
TOP_CONFUSIONS = 50
CURVE_POINTS = 500
QUANTILES = np.array([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])
FINEST = -20  # the least power of two that a histogram of losses has an edge at


def _per_class(view: View) -> dict[str, Array]:
    support, predicted, _ = view.table("classes", 3)
    precision, recall, f1 = by_class(view).each
    found = {"support": support, "predicted": predicted, "precision": precision, "recall": recall, "f1": f1}
    for metric in ("auroc", "average_precision"):
        if metric in view.spec.metrics:
            found[metric] = by_row(view, metric)[0]
    return found


def _confusion(view: View) -> dict[str, Any]:
    part, classes = view.parts["confusions"], view.spec.classes
    true, predicted = (part.keys >> np.uint64(32)).astype(np.int64), (part.keys & np.uint64(2**32 - 1)).astype(np.int64)
    weight = part.values(0)
    if classes <= MATRIX_CLASSES:
        matrix = np.zeros((classes, classes))
        matrix[true, predicted] = weight
        return {"matrix": matrix}
    wrong = np.flatnonzero(true != predicted)
    most = wrong[np.argsort(-weight[wrong], kind="stable")[:TOP_CONFUSIONS]]  # keys ascend: ties by the classes
    names = ("target", "predicted", "weight")
    return {
        "top": [
            dict(zip(names, row, strict=True))
            for row in zip(true[most].tolist(), predicted[most].tolist(), weight[most].tolist(), strict=True)
        ]
    }


def _decisions(view: View) -> dict[str, Any]:
    tp, fp, fn, tn = view.table("decisions", 2)[0].tolist()
    return {"matrix": np.array([[tn, fp], [fn, tp]])}


def _calibration(view: View) -> dict[str, Array]:
    weight, confidence, right = bins(view)
    found: dict[str, Array] = {"weight": weight, "confidence": confidence / weight, "accuracy": right / weight}
    if view.spec.binning == "width":
        found = {"edges": edges(view.spec.bins).copy()} | found
    return found


def _curves(view: View) -> dict[str, Any]:
    found = of_scores(view)
    fpr, tpr, roc = curves.roc_points(found.positives, found.negatives, found.thresholds, CURVE_POINTS)
    precision, recall, pr = curves.pr_points(found.positives, found.negatives, found.thresholds, CURVE_POINTS)
    return {
        "roc": {"fpr": fpr, "tpr": tpr, "thresholds": roc},
        "pr": {"precision": precision, "recall": recall, "thresholds": pr},
    }


def _histogram(view: View) -> dict[str, Any]:
    part = view.parts["losses"]
    weight, (low, high) = part.values(0), part.edges(probability=False)
    return {"loss": {**_octaves(weight, low), "quantiles": _quantiles(weight, low, high)}}


def _octaves(weight: Array, low: Array) -> dict[str, Array]:
    """The weight of the finite losses between powers of two, which are edges of every key."""
    there = np.isfinite(low)
    finite, weight = low[there], weight[there]
    if not finite.size:
        return {"edges": np.zeros(0), "weights": np.zeros(0)}
    top = math.frexp(max(finite[-1], 2.0**FINEST))[1]  # keys ascend
    edges = np.ldexp(1.0, np.arange(FINEST, top + 1))
    place = edges[:-1].searchsorted(finite, side="right")
    weights = np.bincount(place, weight, len(edges))
    filled = weights.nonzero()[0]
    first = int(filled[0]) if len(filled) else 0
    lower = np.concatenate([[min(0.0, finite[0])], edges])
    return {"edges": lower[first:], "weights": weights[first:]}


def _quantiles(weight: Array, low: Array, high: Array) -> list[dict[str, Any]]:
    """For each share the least loss that so much of the weight has at most; it lies within the interval."""
    reached = np.cumsum(weight)
    if not reached.size or not reached[-1] > 0:
        return []
    places = reached.searchsorted(QUANTILES * reached[-1])
    places = np.minimum(np.maximum(places, (weight > 0).argmax()), len(weight) - 1)
    return [
        {"share": share, "value": most, "interval": [least, most]}
        for share, least, most in zip(QUANTILES.tolist(), low[places].tolist(), high[places].tolist(), strict=True)
    ]


BY_CLASS = Detail(
    "per_class",
    "Support, what was predicted, precision, recall and F1 of each class (label); more on request.",
    _per_class,
    lambda spec: "per_class" in spec.averages,
)
CONFUSION = Detail(
    "confusion",
    f"The confusion matrix, rows true, of up to {MATRIX_CLASSES} classes; else the {TOP_CONFUSIONS} most frequent.",
    _confusion,
    lambda spec: spec.confusion,
)
DECISIONS = Detail("confusion", "The confusion matrix, rows true: [[TN, FP], [FN, TP]].", _decisions)
CALIBRATION = Detail("calibration", "Of each bin its weight, mean confidence and accuracy.", _calibration)
CURVES = Detail(
    "curves", f"ROC and precision-recall curves, of at most {CURVE_POINTS} points, corners always among them.", _curves
)
LOSS_HISTOGRAM = Detail(
    "histogram",
    "The weight of the losses between powers of two, and quantiles, each with the interval that it lies in.",
    _histogram,
)
