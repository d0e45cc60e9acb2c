"""From per-sample values to a loss and to totals that merge: exact sums, none, mean, sum and batchmean."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.check import Batch
from core.exact import ExactSum, exact_sum
from core.rules import Array

_SAFE = 1e38  # what any type that is computed in can hold


@dataclass(slots=True)
class Result:
    """What a measure answers.

    `outputs` are the per-sample arrays by name, in the shape PyTorch gives them. `loss` has the type that was
    computed in, and is None for reduction "none"; `reduced` is the same reduction of the further outputs. `totals`
    are the float64 `sum` and `weight`, correctly rounded, with loss(mean) = sum / weight, the integers `count` and
    `ignored`, and `sum_NAME` of each further output; of a measure that is not reduced only the integers.
    """

    outputs: dict[str, Array]
    reduction: str
    loss: np.floating[Any] | None
    reduced: dict[str, np.floating[Any]]
    totals: dict[str, float | int]
    dtype: np.dtype[Any]
    device: str = "cpu"  # that computed the per-sample values


@dataclass(slots=True)
class Values:
    """What the graph gave for a batch: flat arrays by the names of its outputs. `sums` are those of them that were
    added up already, block by block, each by the thread that computed it: halves 0.9 ms of a million elements."""

    arrays: dict[str, Array]
    sums: dict[str, ExactSum] = field(default_factory=dict)
    device: str = "cpu"  # that computed them

    def sum(self, name: str) -> float:
        """The sum of one output, rounded once."""
        return self.sums[name].value if name in self.sums else exact_sum(self.arrays[name])


def reduce(batch: Batch, values: Values) -> Result:
    """Reduce what the graph gave for `batch`."""
    plan, measure, arrays = batch.plan, batch.plan.measure, values.arrays
    outputs = {name: arrays[name].reshape(plan.samples) for name in measure.outputs}
    count = outputs[measure.outputs[0]].size - batch.ignored
    if not measure.is_reduced:
        counts: dict[str, float | int] = {"count": count, "ignored": batch.ignored}
        return Result(outputs, "none", None, {}, counts, plan.dtype, values.device)
    reduction = plan.choices["reduction"]
    weight = values.sum("sample_weight") if "sample_weight" in arrays else float(count)
    if reduction == "batchmean":
        weight = float(plan.batch_size)
    sums = {name: values.sum(name) for name in measure.outputs}
    undefined = weight == 0 and bool(plan.options.get(measure.zero_weight_nan))

    def reduced(total: float) -> np.floating[Any]:
        return _rounded(total if reduction == "sum" else math.nan if undefined else _ratio(total, weight), plan.dtype)

    further = measure.outputs[1:] if reduction != "none" else ()
    return Result(
        outputs=outputs,
        reduction=reduction,
        loss=None if reduction == "none" else reduced(sums["per_sample"]),
        reduced={name: reduced(sums[name]) for name in further},
        totals={
            "sum": sums["per_sample"],
            "weight": weight,
            "count": count,
            "ignored": batch.ignored,
            **{f"sum_{name}": sums[name] for name in measure.outputs[1:]},
        },
        dtype=plan.dtype,
        device=values.device,
    )


def _ratio(total: float, weight: float) -> float:
    """total / weight, and by 0 what floats say: infinite, or NaN for 0 / 0. Quicker than NumPy's under errstate."""
    if weight:
        return total / weight
    return total * math.copysign(math.inf, weight)


def _rounded(value: float, dtype: np.dtype[Any]) -> np.floating[Any]:
    """`value` in the type that was computed in; infinite where it is too large for that."""
    scalar: np.floating[Any]
    if abs(value) < _SAFE:
        scalar = dtype.type(value)
        return scalar
    with np.errstate(over="ignore"):  # 1 us
        scalar = dtype.type(value)
    return scalar
