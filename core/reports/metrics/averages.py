"""Precision, recall and F1 of several classes or labels, averaged in the four usual ways."""

import math
from collections.abc import Callable

import numpy as np

from core.reports.declare import Metric
from core.reports.metrics.decisions import by_class
from core.reports.references import Data
from core.reports.spec import Spec
from core.reports.view import Value, View
from core.rules import Array

KINDS = ("precision", "recall", "f1")
_WORDS = {
    "precision": ("Share of what is predicted of a class that is of it", r"\frac{n_{cc}}{n_{\cdot c}}"),
    "recall": ("Share of what is of a class that is predicted so", r"\frac{n_{cc}}{n_{c\cdot}}"),
    "f1": ("Harmonic mean of precision and recall of a class", r"\frac{2 n_{cc}}{n_{c\cdot} + n_{\cdot c}}"),
}
_HOW = {
    "micro": ("of all classes counted together", r"\text{of } \sum_c n_{cc}, \sum_c n_{c\cdot}, \sum_c n_{\cdot c}: "),
    "macro": (
        "mean over the classes that are true or predicted with some weight (all labels, for multilabel)",
        r"\frac{1}{|K|}\sum_{c \in K} ",
    ),
    "weighted": ("mean over the classes by how often they are true", r"\sum_c \frac{n_{c\cdot}}{n} "),
    "samples": ("mean over the samples, of their labels", r"\frac{1}{N}\sum_i \text{of the labels of } i: "),
}
# Of each task's example: precision, recall and F1.
_EXAMPLES = {
    "micro": {
        "multiclass": (0.6, 0.6, 0.6),
        "multilabel": (0.7142857142857143, 0.8333333333333334, 0.7692307692307693),
    },
    "macro": {
        "multiclass": (0.6666666666666666, 0.6666666666666666, 0.6666666666666666),
        "multilabel": (0.7222222222222222, 0.8888888888888888, 0.7777777777777777),
    },
    "weighted": {"multiclass": (0.6, 0.6, 0.6), "multilabel": (0.75, 0.8333333333333334, 0.7777777777777777)},
    "samples": {"multilabel": (0.7916666666666666, 0.875, 0.7833333333333333)},
}


def _value(kind: str, average: str) -> Callable[[View], Value]:
    def value(view: View) -> Value:
        if average == "samples":
            return view.mean(f"samples_{kind}")
        counts, place = by_class(view), KINDS.index(kind)
        if average == "macro" and "element_weight" in view.parts:  # of every label, there or not
            each = counts.each[place]
            return Value(float(each.mean()) if each.size else math.nan)
        return Value(counts.averages[average][place])

    return value


def rates(support: Array, predicted: Array, correct: Array) -> Array:
    """Precision, recall and F1, 0 for 0 / 0, along the last axis: (3, ...)."""
    with np.errstate(all="ignore"):
        found = np.array([correct / predicted, correct / support, 2 * correct / (support + predicted)])
    return np.where(np.isfinite(found), found, 0.0)


def _reference(kind: str, average: str) -> Callable[[Data], float]:
    place = KINDS.index(kind)

    def reference(data: Data) -> float:
        if data.targets.ndim == 1:
            true, said = (np.eye(data.p.shape[1])[indices] for indices in (data.targets, data.predicted))
        else:
            true, said = data.targets * data.there, data.predicted * data.there
        both = true * said
        if average == "samples":
            return data.mean(rates(true.sum(axis=1), said.sum(axis=1), both.sum(axis=1))[place])
        counts = [(values * data.weight[:, None]).sum(axis=0) for values in (true, said, both)]
        if average == "micro":
            return float(rates(*(count.sum() for count in counts))[place])
        each = rates(*counts)[place]
        if average == "weighted":
            return float((each * counts[0]).sum() / counts[0].sum()) if counts[0].sum() else 0.0
        there = (counts[0] + counts[1] > 0) | (data.targets.ndim == 2)
        return float(each[there].mean()) if there.any() else 0.0

    return reference


def _kept(average: str) -> Callable[[Spec], bool]:
    return lambda spec: average in spec.averages


ORDER = 4
METRICS = tuple(
    Metric(
        name=f"{kind}_{average}",
        doc=f"{_WORDS[kind][0]}: {how}; 0 for 0 / 0.",
        formula=formula + _WORDS[kind][1],
        low=0.0,
        high=1.0,
        needs=(f"samples_{kind}", "weight") if average == "samples" else ("classes", "element_weight"),
        value=_value(kind, average),
        reference=_reference(kind, average),
        examples={task: values[KINDS.index(kind)] for task, values in _EXAMPLES[average].items()},
        source=f'sklearn.metrics.{kind}_score(average="{average}")',
        kept=_kept(average),
    )
    for average, (how, formula) in _HOW.items()
    for kind in KINDS
)
