"""Random good requests for any measure, made from its declaration alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arguments import Untyped
from core.declare import Example, Kind, Measure, Tensor
from core.rules import Between, Distribution

Array = NDArray[Any]
Rng = np.random.Generator


def array(tensor: Tensor, rng: Rng, shape: tuple[int, ...], classes: int, dtype: str) -> Array:
    """Values that satisfy the rules of `tensor`."""
    if tensor.kind is Kind.INDEX:
        return rng.integers(0, classes, shape)
    kinds = {type(rule) for rule in tensor.rules}
    if Distribution in kinds:
        return rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(dtype)
    if Between in kinds or tensor.name == "targets" or not tensor.required:
        return rng.random(shape).astype(dtype)
    return (rng.normal(size=shape) * 3).astype(dtype)


def request(
    measure: Measure, rng: Rng, samples: int = 6, classes: int = 5, dtype: str = "float32", optional: bool = True
) -> dict[str, Any]:
    """A batch of `samples`, in the layout (samples, classes) or (samples,), with every optional array or none."""
    sizes = {"batch": samples, "classes": classes}
    fields = {}
    for tensor in measure.tensors:
        if tensor.required or optional:
            shape = (samples,) if tensor.dims == (...,) else tuple(sizes[d] for d in tensor.dims if isinstance(d, str))
            fields[tensor.name] = array(tensor, rng, shape, classes, dtype)
    return fields


def by_sample(measure: Measure) -> list[str]:
    """The names of the arrays that have a value or a row for each sample."""
    return [tensor.name for tensor in measure.tensors if tensor.by_sample]


def of_example(measure: Measure, example: Example) -> dict[str, Any]:
    """The fields of a worked example, as a JSON body would bring them."""
    kinds = {tensor.name: np.float64 if tensor.kind is Kind.FLOAT else np.int64 for tensor in measure.tensors}
    return {
        name: Untyped(np.asarray(value, kinds[name])) if name in kinds else value
        for name, value in example.fields.items()
    }
