"""Whether the engine answers a case as PyTorch does."""

import sys
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.check import prepare
from core.engine import Engine
from core.errors import InvalidInput
from core.measures import find
from core.reduction import Result
from tests.oracle.cases import Case

# torch.testing.assert_close: (rtol, atol)
TOLERANCE = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}


def answer(engine: Engine, case: Case) -> Result | InvalidInput:
    """The engine's answer to `case`, or its refusal."""
    try:
        return engine.compute(find(case.measure), case.fields)
    except InvalidInput as refusal:
        return refusal


def difference(case: Case, found: Result | InvalidInput, per_sample: Any, loss: float | None, refused: str) -> str:
    """ "" where `found` is what PyTorch answers, else what differs."""
    if isinstance(found, InvalidInput):
        return "" if refused else f"refused, but PyTorch answers: {found}"
    if refused:
        return f"answered, but PyTorch refuses: {refused}"
    if found.outputs["per_sample"].shape != per_sample.shape:
        return f"shape {found.outputs['per_sample'].shape}, but PyTorch has {per_sample.shape}"
    rtol, atol = TOLERANCE[found.dtype.name]
    mine = found.outputs["per_sample"]
    if not close(mine, per_sample, rtol, atol) and not close(mine, per_sample, *scaled(case, rtol, atol)):
        return f"per_sample, first where not close: {_first_apart(mine, per_sample, rtol, atol)}"
    if found.loss is None:
        return "" if found.reduction == "none" else "no loss"
    if is_exception(case, found, per_sample, float(loss or 0.0)):
        return ""
    if _loss_is_close(found, loss, atol, rtol * np.abs(per_sample)):
        return ""
    if _loss_is_close(found, loss, atol, scaled(case, rtol, atol)[1]):
        return ""
    if close(np.asarray(found.loss), np.asarray(loss), rtol * _rounding_of_weights(case, found), atol):
        return ""
    return f"loss {found.loss}, but PyTorch has {loss}"


def _rounding_of_weights(case: Case, found: Result) -> float:
    """How much larger the targets' weights are in size than their sum, at least 1: where weights of both signs cancel,
    PyTorch's float32 sum of them is off by as much."""
    if found.reduction != "mean" or not find(case.measure).weighted or "weight" not in case.fields:
        return 1.0
    targets, weight = case.fields["targets"], np.abs(case.fields["weight"].astype(np.float64))
    sizes = weight[targets[targets != case.fields.get("ignore_index", -100)]]
    with np.errstate(all="ignore"):
        return float(np.sum(sizes) / np.abs(np.float64(found.totals["weight"])))


def _loss_is_close(found: Result, loss: float | None, atol: float, allowed: NDArray[Any]) -> bool:
    """Whether the loss is as close as the per-sample values may be apart, added up."""
    divisor = 1 if found.reduction == "sum" else found.totals["weight"]
    with np.errstate(all="ignore"):
        spread = np.abs(np.sum(allowed / np.float64(divisor), where=np.isfinite(allowed), dtype=np.float64))
    return close(np.asarray(found.loss), np.asarray(loss), 0.0, atol + float(spread))


def is_exception(case: Case, found: Result, per_sample: NDArray[Any], loss: float) -> bool:
    """The deliberate differences in the loss: see the page on PyTorch's semantics in docs."""
    mine, weight = float(found.loss or 0.0), found.totals["weight"]
    if found.reduction != "sum" and case.fields.get("label_smoothing", 0.0) > 0 and weight == 0:
        return bool(np.isnan(mine))
    if np.isfinite(loss) or not np.isfinite(weight) or (found.reduction != "sum" and weight == 0):
        return False
    values = per_sample.astype(np.float64).ravel()
    finite = [Fraction(value) for value in values[np.isfinite(values)].tolist()]
    size, largest = sum(map(abs, finite), Fraction()), Fraction(float(np.finfo(found.dtype).max))
    if size <= largest:
        return False
    # What PyTorch adds up may overflow on the way, to infinities of either sign, and those to NaN.
    divisor = Fraction(1 if found.reduction == "sum" else weight)
    total = sum(finite, Fraction())
    exact = total / divisor
    infinite = sum(values[~np.isfinite(values)].tolist())
    if infinite or np.isnan(infinite):
        return mine == infinite / float(divisor) or bool(np.isnan(mine) and np.isnan(infinite))
    if abs(exact) > largest or abs(total) > sys.float_info.max:  # the totals are float64
        return mine == (np.inf if exact > 0 else -np.inf)
    return bool(np.isfinite(mine)) and abs(Fraction(mine) - exact) <= size / abs(divisor) * Fraction(2, 10**6)


def scaled(case: Case, rtol: float, atol: float) -> tuple[float, NDArray[Any]]:
    """The tolerance in proportion to the terms and the weight of each sample: where terms of both signs cancel, or a
    huge weight meets a tiny loss, PyTorch's own error is as large. As (0, absolute tolerance of each sample)."""
    sizes = dict(case.fields)
    for name in {"weight", "targets"} & set(sizes) if case.measure == "soft_cross_entropy" else {"weight"} & set(sizes):
        sizes[name] = np.asarray(np.abs(sizes[name]))
    batch = prepare(find(case.measure), sizes, dtype="float64")
    flat = {name: array.reshape(-1, *array.shape[len(batch.plan.computed) :]) for name, array in batch.arrays.items()}
    options = {name: value.item() if value.ndim == 0 else value for name, value in batch.shared.items()}
    with np.errstate(all="ignore"):
        parts = batch.plan.measure.reference(**flat, **options)
        terms, own = np.abs(parts[0]), np.abs(flat.get("weight", np.float64(1)))
        if case.measure == "binary_cross_entropy_with_logits":
            x, t, positive = np.abs(flat["logits"]), flat["targets"], flat.get("pos_weight", 1.0)
            own = own * np.abs((positive - 1) * t + 1)
            terms = np.abs(flat.get("weight", 1.0)) * np.abs(1 - t) * x + own * (x + 1)
        elif case.measure == "soft_cross_entropy":
            smoothed = case.fields.get("label_smoothing", 0.0)
            soft = flat["targets"] * (1 - smoothed) + smoothed / flat["targets"].shape[1]
            own = np.sum(soft * options.get("weight", 1.0), axis=1)
        elif len(parts) > 1:
            smoothed = case.fields.get("label_smoothing", 0.0)
            own = parts[1] + (smoothed * np.mean(options["weight"]) if smoothed else 0.0)
        allowed = atol * np.maximum(1.0, own) + rtol * terms
    return 0.0, np.broadcast_to(allowed, (prod(batch.plan.samples),)).reshape(batch.plan.samples)


def close(mine: NDArray[Any], theirs: NDArray[Any], rtol: float, atol: float | NDArray[Any]) -> bool:
    """torch.testing.assert_close with equal_nan: the same NaN and infinities, and else |a - b| <= atol + rtol |b|."""
    a, b = mine.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= atol + rtol * np.abs(b)
    return bool(np.all(np.where(np.isfinite(a) & np.isfinite(b), near, (a == b) | (np.isnan(a) & np.isnan(b)))))


def _first_apart(mine: NDArray[Any], theirs: NDArray[Any], rtol: float, atol: float) -> str:
    for index in np.ndindex(mine.shape):
        if not close(mine[index], theirs[index], rtol, atol):
            return f"{index}: {mine[index]!r}, but PyTorch has {theirs[index]!r}"
    raise AssertionError
