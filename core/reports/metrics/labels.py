"""Metrics of samples that have any number of labels."""

import math
from collections.abc import Callable

import numpy as np

from core.reports.declare import Metric
from core.reports.references import Data
from core.reports.spec import Spec
from core.reports.view import Value, View


def _asked(name: str) -> Callable[[Spec], bool]:
    return lambda spec: name in spec.metrics


def _subset(view: View) -> Value:
    return view.share(float(view.sums("subset")[0]))


def _wrong(data: Data) -> float:
    weight = data.weight[:, None] * data.there
    wrong = (data.targets != data.predicted) * weight
    return float(wrong.sum() / weight.sum()) if weight.sum() else math.nan


def _ranking_loss(data: Data) -> float:
    found = np.zeros(len(data.targets))
    for place, (scores, targets, there) in enumerate(zip(data.scores, data.targets, data.there, strict=True)):
        first, second = scores[there & (targets == 1)], scores[there & (targets == 0)]
        if len(first) and len(second):
            found[place] = (first[:, None] <= second).mean()
    return data.mean(found)


def _coverage(data: Data) -> float:
    found = np.zeros(len(data.targets))
    for place, (scores, targets, there) in enumerate(zip(data.scores, data.targets, data.there, strict=True)):
        relevant = scores[there & (targets == 1)]
        if len(relevant):
            found[place] = (scores[there] >= relevant.min()).sum()
    return data.mean(found)


ORDER = 3
METRICS = (
    Metric(
        name="subset_accuracy",
        doc="Share of the samples of which every label that counts is right.",
        formula=r"\frac{\sum_i w_i [\hat{y}_i = y_i]}{\sum_i w_i}",
        low=0.0,
        high=1.0,
        needs=("subset", "weight"),
        value=_subset,
        reference=lambda data: data.mean(((data.targets == data.predicted) | ~data.there).all(axis=1)),
        examples={"multilabel": 0.25},
        source="sklearn.metrics.accuracy_score",
    ),
    Metric(
        name="hamming_loss",
        doc="Share of the labels that are wrong, of all that count.",
        formula=r"\frac{\sum_i w_i \sum_k [\hat{y}_{ik} \ne y_{ik}]}{\sum_i w_i L_i}",
        low=0.0,
        high=1.0,
        needs=("hamming_loss", "element_weight"),
        value=lambda view: view.mean("hamming_loss", "element_weight"),
        reference=_wrong,
        examples={"multilabel": 0.25},
        source="sklearn.metrics.hamming_loss",
    ),
    Metric(
        name="ranking_loss",
        doc="Mean share of the pairs of a true and a false label of a sample that are not in order; ties are not.",
        formula=r"\frac{1}{N}\sum_i \frac{|\{(k, l): s_{ik} \le s_{il}, y_{ik} = 1, y_{il} = 0\}|}{|y_i^+||y_i^-|}",
        low=0.0,
        high=1.0,
        needs=("ranking_loss", "weight"),
        value=lambda view: view.mean("ranking_loss"),
        reference=_ranking_loss,
        examples={"multilabel": 0.125},
        source="sklearn.metrics.label_ranking_loss",
        kept=_asked("ranking_loss"),
    ),
    Metric(
        name="coverage_error",
        doc="Mean number of labels from the best one down to the last true one.",
        formula=r"\frac{1}{N}\sum_i \max_{k: y_{ik} = 1} |\{l: s_{il} \ge s_{ik}\}|",
        low=0.0,
        high=math.inf,
        needs=("coverage_error", "weight"),
        value=lambda view: view.mean("coverage_error"),
        reference=_coverage,
        examples={"multilabel": 1.75},
        source="sklearn.metrics.coverage_error",
        kept=_asked("coverage_error"),
    ),
)
