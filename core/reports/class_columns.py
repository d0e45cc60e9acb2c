"""Columns of samples whose target is one of several classes, as ONNX graphs.

A graph's answer is right for every row without NaN. For a row with NaN (of logits also with +infinity, or with nothing
but -infinity) it has the loss NaN, and core.reports.class_reference says the rest: there NaN is the largest score, as
NumPy and PyTorch have it, and every float is NaN. Of equal scores the class with the lower index comes first.
"""

from typing import Any

from core.formulas import DOUBLE, equal_parts, log_softmax, row_sum, x_log_y

UINT8, INT8, INT32, INT64, BOOL = 2, 3, 6, 7, 9  # onnx.TensorProto's
LEAST = -1000.0  # its exponential is 0 in float64 too, where 0 * -infinity would be NaN
MOST_PARTS = 32  # of a row, in which its best is looked for
PART = 2048  # classes of a part whose products are added up in float32
MOST = 2**24  # classes; a card reduces int32 as float32
INDICES = frozenset({"predicted", "rank"})  # columns that are integers


def count(op: Any, flags: Any, like: Any) -> Any:
    """How many flags of each row are set, as int64 (samples,). On a CPU by a product of bytes with ones, which takes a
    third of the time of one of floats."""
    if op.device != "cpu":
        return op.Cast(row_sum(op, op.CastLike(flags, like)), to=INT64)
    ones = op.Expand(op.Cast(1, to=INT8), op.Concat(op.Shape(flags, start=1, end=2), [1], axis=0))
    counts = op.MatMulInteger(op.Cast(flags, to=UINT8), ones)
    return op.Cast(op.Squeeze(counts, [1]), to=INT64)


def places(op: Any, scores: Any) -> Any:
    """The index of each class as int32: (classes,), or for a card, where it is counted, (samples, classes)."""
    if op.device == "cpu":
        return op.Cast(op.Range(0, op.Squeeze(op.Shape(scores, start=1, end=2)), 1), to=INT32)
    positive = op.Greater(scores, 0.0)
    return op.Sub(op.CumSum(op.Cast(op.Or(positive, op.Not(positive)), to=INT32), 1), op.Cast(1, to=INT32))


class Best:
    """The `largest` of (samples, classes) scores, the lowest index `place` that it has, and the `second`, that of all
    other places, -infinity where there are none: (samples, 1) each.

    onnxruntime's ArgMax over a long axis takes as long as five products, so the best of each of some equal parts is
    looked for first.
    """

    def __init__(self, op: Any, scores: Any) -> None:
        low = op.CastLike(float("-inf"), scores)
        if op.device != "cpu":
            index = places(op, scores)
            self.largest = op.ReduceMax(scores, [1], keepdims=1)
            nowhere = op.Cast(MOST, to=INT32)
            place = op.ReduceMin(op.Where(op.Equal(scores, self.largest), index, nowhere), [1], keepdims=1)
            place = op.Where(op.Equal(place, nowhere), op.Cast(0, to=INT32), place)  # NaN equals nothing
            self.second = op.ReduceMax(op.Where(op.Equal(index, place), low, scores), [1], keepdims=1)
            self.place = op.Cast(place, to=INT64)
            return
        classes = op.Shape(scores, start=1, end=2)
        counts = list(range(1, MOST_PARTS + 1))
        parts = op.ReduceMax(op.Where(op.Equal(op.Mod(classes, counts), 0), counts, 1), keepdims=1)
        cut = op.Reshape(scores, op.Concat([0], parts, [-1], axis=0))
        bests = op.ReduceMax(cut, [2], keepdims=0)
        part = op.ArgMax(bests, axis=1, keepdims=1)
        own = op.GatherND(cut, part, batch_dims=1)
        place = op.ArgMax(own, axis=1, keepdims=1)
        self.largest = op.ReduceMax(bests, [1], keepdims=1)
        self.place = op.Add(op.Mul(part, op.Div(classes, parts)), place)
        lows = op.Expand(low, op.Shape(part))
        rest = [op.ScatterElements(values, at, lows, axis=1) for values, at in ((bests, part), (own, place))]
        self.second = op.Max(*(op.ReduceMax(values, [1], keepdims=1) for values in rest))


class Rows:
    """Scalar products of rows of (samples, classes), as (samples, 1). On a CPU a product of matrices, which needs no
    array of the products; of more than 2,048 classes in parts that are added up in float64."""

    def __init__(self, op: Any, like: Any) -> None:
        self.device = op.device
        if self.device == "cpu":
            classes = op.Shape(like, start=1, end=2)
            parts = equal_parts(op, classes, PART)
            self.shape = op.Concat([0], parts, [1], op.Div(classes, parts), axis=0)
            self.ones = op.Expand(op.Cast(1.0, to=DOUBLE), op.Concat(parts, [1], axis=0))

    def dots(self, op: Any, rows: Any, others: Any) -> Any:
        """The scalar product of each row with that of `others`."""
        if self.device != "cpu":
            return row_sum(op, op.Mul(rows, others), keepdims=1)
        turned = op.Transpose(op.Reshape(others, self.shape), perm=[0, 1, 3, 2])
        products = op.Squeeze(op.MatMul(op.Reshape(rows, self.shape), turned), [2, 3])
        return op.CastLike(op.MatMul(op.Cast(products, to=DOUBLE), self.ones), rows)


class _Columns:
    """The columns of (samples, classes) scores and (samples, 1) targets, each made by a method, as (samples, 1), the
    rank as (samples,): those of probabilities. `own`, `top` and `other` are of the target, of the best class, and of
    the best that is not the target."""

    def __init__(self, op: Any, scores: Any, target: Any) -> None:
        self.op, self.scores, self.target = op, scores, target
        self.own, self.best = op.GatherElements(scores, target, axis=1), Best(op, scores)
        self.is_best = op.Equal(self.best.place, target)
        self.rows = Rows(op, scores)
        self.begin()

    def begin(self) -> None:
        """Set `p`, (samples, classes), and `p_own`, `p_top` and `p_other`, (samples, 1)."""
        op = self.op
        self.p, self.p_own, self.p_top = self.scores, self.own, self.best.largest
        self.p_other = op.Max(op.Where(self.is_best, self.best.second, self.best.largest), 0.0)

    def loss(self) -> Any:
        return self.op.Sub(0.0, self.op.Log(self.own))

    def predicted(self) -> Any:
        return self.best.place

    def confidence(self) -> Any:
        return self.p_top

    def target_probability(self) -> Any:
        return self.p_own

    def rank(self) -> Any:
        """How many classes come before the target; on a CPU only looked at where some do."""
        op, scores, own, target = self.op, self.scores, self.own, self.target
        if op.device != "cpu":
            lower = op.Less(places(op, scores), op.Cast(target, to=INT32))
            return count(op, op.Or(op.Greater(scores, own), op.And(op.Equal(scores, own), lower)), scores)
        wrong = op.Reshape(op.NonZero(op.Reshape(op.Not(self.is_best), [-1])), [-1])
        scores, own, target = (op.Gather(values, wrong) for values in (scores, own, target))
        larger, equal = count(op, op.Greater(scores, own), scores), op.Equal(scores, own)

        def with_equal(op: Any) -> Any:
            lower = op.Less(places(op, scores), op.Cast(target, to=INT32))
            return op.Add(larger, count(op, op.And(equal, lower), scores))

        tied = op.Greater(op.ReduceMax(op.Concat([0], count(op, equal, scores), axis=0), keepdims=0), 1)
        found = op.either(tied, with_equal, lambda op: op.Identity(larger))
        return op.ScatterElements(op.Mul(op.Reshape(self.target, [-1]), 0), wrong, found)

    def margin(self) -> Any:
        return self.op.Sub(self.p_own, self.p_other)

    def entropy(self) -> Any:
        return self.op.Sub(0.0, row_sum(self.op, x_log_y(self.op, self.p, self.p), keepdims=1))

    def squared_probability(self) -> Any:
        return self.rows.dots(self.op, self.p, self.p)

    def log_normalizer(self) -> Any:
        return self.op.CastLike(self.op.Mul(self.target, 0), self.scores)


class _OfLogarithms(_Columns):
    """Those of what has logarithms."""

    def finish(self, logs: Any, own: Any, top: Any, other: Any) -> None:
        """What follows from the logarithms of all, of the target, of the best and of the best other."""
        op = self.op
        self.logs, self.p = logs, op.Exp(logs)
        self.log_own, self.log_top = own, top
        self.p_own, self.p_top, self.p_other = (op.Exp(log) for log in (own, top, other))

    def entropy(self) -> Any:
        """Only where some logarithm is -infinity, of which 0 times is NaN, are they all made finite, in a further pass:
        a tenth of the time of all columns."""
        op, logs, p, dots = self.op, self.logs, self.p, self.rows.dots
        plain = dots(op, logs, p) if op.device == "cpu" else None
        if plain is None:
            return op.Sub(0.0, dots(op, op.Max(logs, LEAST), p))
        masked = op.Cast(op.ReduceMax(op.Cast(op.IsNaN(plain), to=INT32), keepdims=0), to=BOOL)
        found = op.either(masked, lambda op: dots(op, op.Max(logs, LEAST), p), lambda op: op.Identity(plain))
        return op.Sub(0.0, found)


class _OfLogProbabilities(_OfLogarithms):
    """Those of logarithms of probabilities."""

    def begin(self) -> None:
        best = self.best
        self.finish(self.scores, self.own, best.largest, self.op.Where(self.is_best, best.second, best.largest))

    def loss(self) -> Any:
        entropy = self.entropy()  # NaN if anything is
        return self.op.Where(self.op.IsNaN(entropy), entropy, self.op.Sub(0.0, self.own))


class _OfLogits(_OfLogarithms):
    """Those of logits, with the same logarithms of probabilities as cross_entropy."""

    def begin(self) -> None:
        op, best = self.op, self.best
        logs = log_softmax(op, self.scores)
        own, top = (op.GatherElements(logs, place, axis=1) for place in (self.target, best.place))
        second = op.Add(op.Sub(best.second, best.largest), top)
        self.finish(logs, own, top, op.Where(self.is_best, second, top))

    def loss(self) -> Any:
        return self.op.Sub(0.0, self.log_own)

    def log_normalizer(self) -> Any:
        return self.op.Sub(self.best.largest, self.log_top)


KINDS = {"logits": _OfLogits, "log_probabilities": _OfLogProbabilities, "probabilities": _Columns}


def graph(op: Any, kind: str, outputs: tuple[str, ...], scores: Any, targets: Any, ignore_index: Any) -> Any:
    """The columns `outputs` of (samples, classes) scores of `kind` and (samples,) targets."""
    ignored = op.Equal(targets, ignore_index)
    columns = KINDS[kind](op, scores, op.Unsqueeze(op.Where(ignored, 0, targets), [1]))

    def masked(name: str) -> Any:
        values = op.Reshape(getattr(columns, name)(), [-1])
        return op.Where(ignored, -1 if name in INDICES else 0.0, values)

    return tuple(masked(name) for name in outputs)
