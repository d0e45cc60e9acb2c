"""Samples with NaN, infinities of both signs and the like, computed anew where a graph's answer is NaN.

A graph that kept NaN right in every output would take another pass over all elements; such samples are few.
"""

import numpy as np

from core.check import Batch
from core.declare import Kind
from core.dtypes import INT64, numbers
from core.rules import Array
from core.tiles import Block

AT_ONCE = 2**16  # elements, in float64


def mend(batch: Batch, block: Block, outputs: dict[str, Array]) -> None:
    """Compute anew, by the float64 reference of a measure that is `mended`, those samples of `block` whose first output
    is NaN. `outputs` are those of all samples, by name, and changed in place."""
    measure = batch.plan.measure
    if not measure.mended:
        return
    wrong = np.flatnonzero(np.isnan(outputs[measure.outputs[0]][block.start : block.stop]))
    step = max(1, AT_ONCE // batch.classes)
    for start in range(0, wrong.size, step):
        places = wrong[start : start + step]
        found = measure.reference(**_given(batch, block, places))
        for array, values in zip(outputs.values(), found, strict=True):
            with np.errstate(over="ignore"):
                array[block.start + places] = values.astype(array.dtype)


def _given(batch: Batch, block: Block, places: Array) -> dict[str, object]:
    """What a reference takes, of the samples of `block` at `places`."""
    plan = batch.plan
    given: dict[str, object] = {name: array[()] for name, array in batch.shared.items()}
    for tensor in plan.measure.by_sample:
        if tensor.name in batch.arrays:
            array = batch.arrays[tensor.name]
            row = array.shape[-1:] if tensor.name in plan.measure.rows else ()
            rows = numbers(array[block.index].reshape(block.stop - block.start, *row)[places])
            given[tensor.name] = rows.astype(np.float64 if tensor.kind is Kind.FLOAT else INT64)
    return given | dict(plan.variant.choices)
