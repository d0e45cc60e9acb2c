"""How often the predicted class is the true one, and how far that is from chance."""

import math
from collections.abc import Callable

import numpy as np

from core.reports.counts import Counts
from core.reports.declare import Metric
from core.reports.references import Data
from core.reports.view import Value, View, ratio
from core.rules import Array


def confusion(data: Data) -> Array:
    """The confusion matrix, rows true: what the references count from."""
    size = max(data.p.shape[1] if data.p.ndim == 2 else 2, 2)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (data.targets, data.predicted), data.weight)
    return matrix


def by_class(view: View) -> Counts:
    """What follows from the weights of each class."""
    return view.once("counts", lambda view: Counts(_table(view)))


def _table(view: View) -> Array:
    """The weight of the samples of each class, of those predicted to be of it, and of those that are both."""
    if "classes" in view.parts:
        return view.table("classes", 3)
    tp, fp, fn, tn = view.table("decisions", 2)[0].tolist()
    return np.array([[tn + fp, tp + fn], [tn + fn, tp + fp], [tn, tp]])


def _accuracy(view: View) -> Value:
    if "element_weight" in view.parts:
        return view.mean("right", "element_weight")
    return view.share(float(_table(view)[2].sum()))


def _top_k(view: View, k: int) -> Value:
    place = view.spec.top_k.index(k)
    if "element_weight" in view.parts:
        return view.mean("top_k", "element_weight", place)
    return view.share(float(view.sums("top_k")[place]))


def _top_k_reference(data: Data, k: int) -> float:
    if not len(data.targets):
        return math.nan
    order = np.argsort(-data.scores, axis=1, kind="stable")[:, :k]
    return data.mean((order == data.targets[:, None]).any(axis=1))


def _balanced(data: Data) -> float:
    matrix = confusion(data)
    there = matrix.sum(axis=1) > 0
    return float((matrix.diagonal()[there] / matrix.sum(axis=1)[there]).mean()) if there.any() else math.nan


def _unlike(left: Array, right: Array) -> float:
    """The weight of the pairs of unlike classes: as a sum, since a difference loses the digits of rare classes."""
    pairs = np.outer(left, right)
    np.fill_diagonal(pairs, 0)
    return float(pairs.sum())


def _disagreement(data: Data) -> tuple[float, Array, Array]:
    """The weight of what is predicted wrong, and of each true and each predicted class, as shares."""
    matrix = confusion(data)
    matrix = matrix / matrix.sum() if matrix.sum() else matrix
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    np.fill_diagonal(matrix, 0)
    return float(matrix.sum()), true, predicted


def _matthews(data: Data) -> float:
    wrong, true, predicted = _disagreement(data)
    spread = math.sqrt(_unlike(true, true)) * math.sqrt(_unlike(predicted, predicted))
    return (_unlike(true, predicted) - wrong) / spread if spread else 0.0


def _kappa(data: Data) -> float:
    wrong, true, predicted = _disagreement(data)
    by_chance = _unlike(true, predicted)
    return 1 - wrong / by_chance if by_chance else math.nan


def _rate(hits: int, misses: int) -> Callable[[View], Value]:
    """hits / (hits + misses) of the decisions (0 tp, 1 fp, 2 fn, 3 tn); 0 for 0 / 0."""

    def value(view: View) -> Value:
        counts, squares = view.table("decisions", 2)
        weight = float(counts[hits] + counts[misses])
        if not weight:
            return Value(0.0)
        return view.share(float(counts[hits]), weight, float(squares[hits] + squares[misses]))

    return value


def _f1(view: View) -> Value:
    tp, fp, fn, _ = view.table("decisions", 2)[0]
    return Value(ratio(2 * tp, 2 * tp + fp + fn) if tp + fp + fn else 0.0)


def _rate_reference(hits: tuple[int, int], misses: tuple[int, int]) -> Callable[[Data], float]:
    def reference(data: Data) -> float:
        matrix = confusion(data)
        whole = matrix[hits] + matrix[misses]
        return float(matrix[hits] / whole) if whole else 0.0

    return reference


def _f1_reference(data: Data) -> float:
    matrix = confusion(data)
    whole = 2 * matrix[1, 1] + matrix[0, 1] + matrix[1, 0]
    return float(2 * matrix[1, 1] / whole) if whole else 0.0


ORDER = 2
METRICS = (
    Metric(
        name="accuracy",
        doc="Share of the samples (tokens) whose predicted class is the true one; of equal scores, the first.",
        formula=r"\frac{\sum_i w_i [\hat{t}_i = t_i]}{\sum_i w_i}",
        low=0.0,
        high=1.0,
        needs=("classes", "decisions", "right", "weight", "element_weight"),
        value=_accuracy,
        reference=lambda data: data.mean(data.predicted == data.targets),
        examples={"multiclass": 0.6, "binary": 0.6666666666666666, "tokens": 0.6},
        source="sklearn.metrics.accuracy_score",
    ),
    Metric(
        name="top_k_accuracy",
        doc="Share of the samples (tokens) whose true class is among the k best; of equal scores the first is best.",
        formula=r"\frac{\sum_i w_i [\operatorname{rank}_i(t_i) < k]}{\sum_i w_i}",
        low=0.0,
        high=1.0,
        needs=("top_k", "weight", "element_weight"),
        value=_top_k,
        reference=_top_k_reference,
        examples={"multiclass": (0.6, 0.8), "tokens": (0.6, 0.8)},
        source="sklearn.metrics.top_k_accuracy_score, but for ties",
        over=lambda spec: spec.top_k,
    ),
    Metric(
        name="balanced_accuracy",
        doc="Mean recall of the classes that there are.",
        formula=r"\frac{1}{|K|} \sum_{c \in K} \frac{n_{cc}}{n_{c\cdot}}",
        low=0.0,
        high=1.0,
        needs=("classes", "decisions"),
        value=lambda view: Value(by_class(view).balanced_accuracy),
        reference=_balanced,
        examples={"multiclass": 0.6666666666666666, "binary": 0.6666666666666666},
        source="sklearn.metrics.balanced_accuracy_score",
    ),
    Metric(
        name="matthews_corrcoef",
        doc="Correlation of true and predicted classes; 0 where either is always the same.",
        formula=(
            r"\frac{n \sum_c n_{cc} - \sum_c n_{c\cdot} n_{\cdot c}}"
            r"{\sqrt{(n^2 - \sum_c n_{\cdot c}^2)(n^2 - \sum_c n_{c\cdot}^2)}}"
        ),
        low=-1.0,
        high=1.0,
        needs=("classes", "decisions"),
        value=lambda view: Value(by_class(view).matthews_corrcoef),
        reference=_matthews,
        examples={"multiclass": 0.375, "binary": 0.3333333333333333},
        source="sklearn.metrics.matthews_corrcoef",
    ),
    Metric(
        name="cohen_kappa",
        doc="Agreement of true and predicted classes beyond that of chance.",
        formula=r"\frac{p_o - p_e}{1 - p_e}",
        low=-1.0,
        high=1.0,
        needs=("classes", "decisions"),
        value=lambda view: Value(by_class(view).cohen_kappa),
        reference=_kappa,
        examples={"multiclass": 0.375},
        source="sklearn.metrics.cohen_kappa_score",
    ),
    Metric(
        name="precision",
        doc="Share of the samples predicted positive that are; 0 where none is.",
        formula=r"\frac{TP}{TP + FP}",
        low=0.0,
        high=1.0,
        needs=("decisions",),
        value=_rate(0, 1),
        reference=_rate_reference((1, 1), (0, 1)),
        examples={"binary": 0.6666666666666666},
        source="sklearn.metrics.precision_score",
    ),
    Metric(
        name="recall",
        doc="Share of the positive samples that are predicted so; 0 where there is none.",
        formula=r"\frac{TP}{TP + FN}",
        low=0.0,
        high=1.0,
        needs=("decisions",),
        value=_rate(0, 2),
        reference=_rate_reference((1, 1), (1, 0)),
        examples={"binary": 0.6666666666666666},
        source="sklearn.metrics.recall_score",
    ),
    Metric(
        name="f1",
        doc="Harmonic mean of precision and recall; 0 where neither has anything to count.",
        formula=r"\frac{2\,TP}{2\,TP + FP + FN}",
        low=0.0,
        high=1.0,
        needs=("decisions",),
        value=_f1,
        reference=_f1_reference,
        examples={"binary": 0.6666666666666666},
        source="sklearn.metrics.f1_score",
    ),
    Metric(
        name="specificity",
        doc="Share of the negative samples that are predicted so; 0 where there is none.",
        formula=r"\frac{TN}{TN + FP}",
        low=0.0,
        high=1.0,
        needs=("decisions",),
        value=_rate(3, 1),
        reference=_rate_reference((0, 0), (0, 1)),
        examples={"binary": 0.6666666666666666},
        source="sklearn.metrics.recall_score of the negative class",
    ),
)
