"""What a graph is given of a batch: the part of a block, padded so that an element's bits depend neither on its block
nor on its place in it. onnxruntime's elementwise kernels treat the last few elements of an array with other code, and
some row kernels treat a single row so.
"""

import numpy as np

from core.check import FLOAT32, FLOAT64, Batch
from core.declare import Kind, Tensor
from core.dtypes import INT64, numbers
from core.rules import Array
from core.tiles import Block
from core.variants import Variant

PAD_ELEMENTS = 64
PAD_ROWS = {FLOAT32: 4, FLOAT64: 2}  # rows that a 16-byte vector of one value a row takes


def feeds(batch: Batch, block: Block, *, as_sent: bool = False) -> dict[str, Array]:
    """The block's part of every array: contiguous, aligned, in the type that is computed in, padded with zeros; or
    `as_sent`, for a card, on the way to which it is all that it must be."""
    plan, measure, size = batch.plan, batch.plan.measure, block.stop - block.start
    padding = -size % (PAD_ROWS[plan.dtype] if measure.over_classes else PAD_ELEMENTS)
    parts = dict(batch.shared)
    for tensor in measure.by_sample:
        if tensor.name not in batch.arrays:
            continue
        array = batch.arrays[tensor.name]
        part = array[block.index].reshape((size, array.shape[-1]) if tensor.name in measure.rows else size)
        if as_sent:
            parts[tensor.name] = part
            continue
        dtype = plan.dtype if tensor.kind is Kind.FLOAT else INT64
        if not (part.dtype == dtype and part.flags.c_contiguous and part.flags.aligned):
            part = np.require(numbers(part), dtype, ["C", "A"])
        if padding:
            part = np.concatenate([part, np.zeros((padding, *part.shape[1:]), dtype)])
        parts[tensor.name] = part
    return parts


def zeros(variant: Variant, dtype: str, classes: int) -> dict[str, Array]:
    """A small batch of zeros for `variant`."""

    def feed(tensor: Tensor) -> Array:
        kind = INT64 if tensor.kind is Kind.INDEX else np.float64 if tensor.is_option else np.dtype(dtype)
        axes = [4] if tensor.by_sample else []
        return np.zeros(axes + ([classes] if variant.measure.over_classes and tensor.row_axis else []), kind)

    return {tensor.name: feed(tensor) for tensor in variant.inputs}
