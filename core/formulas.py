"""Pieces that several formulas share, as ONNX (first argument `op`, the builder) and as NumPy.

Every piece keeps PyTorch's NaN and infinity pattern, and on a CPU gives each element the same bits wherever it stands.
`op.device` says what the graph is for: what follows from a shape is computed by the CPU, so that graphs for a card
hold nothing of the kind.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DOUBLE = 11  # onnx.TensorProto.DOUBLE
ARTANH = (2.0, 0.66666322, 0.40024595, 0.27965158, 0.28157778)  # of 2 artanh(s) / s by s**2, for s <= 1/3


def log_softmax(op: Any, scores: Any) -> Any:
    """log softmax over axis 1, as (x - max) - log(sum(exp(x - max))), which is exact for scores of any size.

    onnxruntime's float64 LogSoftmax on CPU loses NaN and +infinity, so float64 is spelled out.
    """
    if scores.dtype.name == "FLOAT":
        return op.LogSoftmax(scores, axis=1)
    shifted = op.Sub(scores, op.ReduceMax(scores, [1], keepdims=1))
    return op.Sub(shifted, op.Log(row_sum(op, op.Exp(shifted), keepdims=1)))


def log1p(op: Any, value: Any) -> Any:
    """log(1 + value), which ONNX lacks, to a few units in the last place, for value > -1 (and -infinity at -1).

    log(1 + v) of the rounded sum u, plus its first-order correction (v - (u - 1)) / u.
    """
    one_plus = op.Add(value, 1.0)
    lost = op.Sub(value, op.Sub(one_plus, 1.0))
    return op.Add(op.Log(one_plus), op.Div(lost, op.Max(one_plus, 1e-30)))


def log1p_of_unit(op: Any, value: Any) -> Any:
    """log(1 + v) for 0 <= v <= 1, as 2 artanh(s) with s = v / (2 + v).

    onnxruntime's Log takes as long as twenty products, so float32 has an odd polynomial of s instead: the one that
    interpolates artanh in Chebyshev points, off by 4e-9 at most. A loss from logits takes 2.0 ns an element for 3.2.
    """
    if value.dtype.name != "FLOAT":
        return log1p(op, value)
    ratio = op.Div(value, op.Add(value, 2.0))
    square = op.Mul(ratio, ratio)
    polynomial = op.Add(op.Mul(square, ARTANH[-1]), ARTANH[-2])
    for coefficient in ARTANH[-3::-1]:
        polynomial = op.Add(op.Mul(polynomial, square), coefficient)
    return op.Mul(ratio, polynomial)


def log_sigmoid(op: Any, logits: Any) -> Any:
    """log(1 / (1 + exp(-x))) = min(x, 0) - log1p(exp(-|x|))."""
    return op.Sub(op.Min(logits, 0.0), log1p_of_unit(op, op.Exp(op.Neg(op.Abs(logits)))))


def x_log_y(op: Any, x: Any, y: Any) -> Any:
    """x * log(y), and 0 where x is 0."""
    return op.Where(op.Equal(x, 0.0), 0.0, op.Mul(x, op.Log(y)))


def row_sum(op: Any, rows: Any, keepdims: int = 0) -> Any:
    """The sum over axis 1 of (samples, classes), as (samples,), or (samples, 1) with `keepdims`; added up in float64.

    onnxruntime adds a row up in vectors from the first aligned address on, so rows that begin at another alignment
    would be added up in another order. Zeros that fill each row to whole cache lines make all of them begin alike.
    float32 rows are added up in float32 parts first: a quarter of the time, and as exact but for the last digit.
    """
    if op.device != "cpu":
        return op.CastLike(op.ReduceSum(op.Cast(rows, to=DOUBLE), [1], keepdims=keepdims), rows)
    parts = part_sums(op, rows) if rows.dtype.name == "FLOAT" else rows
    missing = op.Mod(op.Neg(op.Shape(parts, start=1, end=2)), [16])
    whole = op.Pad(parts, op.Concat([0, 0, 0], missing, axis=0))
    return op.CastLike(op.ReduceSum(op.Cast(whole, to=DOUBLE), [1], keepdims=keepdims), rows)


def part_sums(op: Any, rows: Any) -> Any:
    """The sums of equal parts of each row, as (samples, parts): as many as divide the classes, of 128 classes or more.

    A float32 sum of all of a large vocabulary would leave PyTorch's tolerance. A product with ones adds a part up in
    the same order wherever it begins, as long as there are whole groups of four rows.
    """
    classes = op.Shape(rows, start=1, end=2)
    parts = equal_parts(op, classes, 256)
    ones = op.Expand(op.CastLike(1.0, rows), op.Concat(op.Div(classes, parts), [1], axis=0))
    return op.Squeeze(op.MatMul(op.Reshape(rows, op.Concat([0], parts, [-1], axis=0)), ones), [2])


def equal_parts(op: Any, classes: Any, least: int) -> Any:
    """Into how many parts of as many classes each a row of `classes`, (1,), is cut: the most up to 32 that it divides
    into, of about `least` or more. (1,) too; for a CPU."""
    counts = list(range(1, 33))
    fits = op.And(
        op.Equal(op.Mod(classes, counts), 0), op.LessOrEqual([least * (count - 1) for count in counts], classes)
    )
    return op.ReduceMax(op.Where(fits, counts, 1), keepdims=1)


def smoothing(op: Any, logits: Any, label_smoothing: Any) -> tuple[Any, Any]:
    """What label smoothing keeps of the target, 1 - e, and what each of the C classes gets, e / C, as logits' type."""
    classes = class_count(op, logits)
    kept, share = op.Sub(1.0, label_smoothing), op.Div(label_smoothing, classes)
    return op.CastLike(kept, logits), op.CastLike(share, logits)


def class_count(op: Any, rows: Any) -> Any:
    """The size of axis 1, as a float64 scalar; for a card it is counted."""
    if op.device == "cpu":
        return op.Cast(op.Squeeze(op.Shape(rows, start=1, end=2)), to=DOUBLE)
    positive = op.Greater(op.Slice(rows, [0], [1], [0]), 0.0)
    return op.ReduceSum(op.Cast(op.Or(positive, op.Not(positive)), to=DOUBLE), keepdims=0)


def picked_loss(op: Any, log_p: Any, targets: Any, ignore_index: Any, weight: Any) -> tuple[Any, Any, Any]:
    """-weight[target] * log_p[target] of each row, the row's weight (None without weights), and whether it is ignored.

    Ignored rows look at class 0, so that no index is out of range; the caller masks them.
    """
    ignored = op.Equal(targets, ignore_index)
    safe = op.Where(ignored, 0, targets)
    loss = op.Neg(op.Squeeze(op.GatherElements(log_p, op.Unsqueeze(safe, [1]), axis=1), [1]))
    if weight is None:
        return loss, None, ignored
    own = op.Gather(weight, safe)
    return op.Mul(own, loss), op.Where(ignored, 0.0, own), ignored


def log_softmax_reference(scores: Array) -> Array:
    """log softmax over axis 1 in float64."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def x_log_y_reference(x: Array, y: Array) -> Array:
    """x * log(y), and 0 where x is 0, in float64."""
    return np.where(x == 0, 0.0, x * np.log(y))


def picked_loss_reference(
    log_p: Array, targets: Array, ignore_index: int, weight: Array | None
) -> tuple[Array, Array | None, Array]:
    """What picked_loss gives, in float64."""
    ignored = targets == ignore_index
    safe = np.where(ignored, 0, targets)
    loss = -np.take_along_axis(log_p, safe[:, None], axis=1)[:, 0]
    if weight is None:
        return loss, None, ignored
    return weight[safe] * loss, np.where(ignored, 0.0, weight[safe]), ignored
