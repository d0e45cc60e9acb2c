"""From a request's inputs to a Batch that a graph may see, or to faults that name what is wrong.

The order: names and types, shapes, sizes, dtype, values. Nothing wraps, truncates or broadcasts by accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.arguments import Arguments, parse
from core.declare import Kind, Measure
from core.dtypes import cast
from core.errors import InvalidInput, refuse
from core.rules import Array, IndexOf
from core.shapes import Shape, class_axis, layout, limit_elements, sample_shape

MAX_ELEMENTS = 2**30


@dataclass(frozen=True, slots=True)
class Batch:
    """Checked inputs, laid out for the graph.

    `computed` is the shape of the samples as they are computed, `samples` that of the per-sample values as they are
    answered; both have the same size and order. `arrays` have the shape `computed`, or `computed` and the classes;
    `shared` are the same for every sample. What was left out is in neither.
    """

    measure: Measure
    dtype: np.dtype[Any]
    samples: Shape
    computed: Shape
    arrays: dict[str, Array]
    shared: dict[str, Array]
    arguments: Arguments
    left_out: frozenset[str]
    batch_size: int
    ignored: int


def prepare(
    measure: Measure, given: Mapping[str, Any], *, dtype: str = "float32", max_elements: int = MAX_ELEMENTS
) -> Batch:
    """Check `given`, inputs, options and choices by name, against the declaration of `measure`.

    Arrays are NumPy arrays, or core.arguments.Untyped, whose floats are read as the dtype of the typed arrays beside
    them, else as `dtype` ("float32" or "float64"). Raises InvalidInput.
    """
    arguments = parse(measure, given)
    main = arguments.arrays[measure.main.name]
    _refuse_shapeless(measure, arguments)
    axis = class_axis(measure, main, arguments.choices.get("class_axis", 1)) if measure.over_classes else 0
    samples = sample_shape(measure, arguments.arrays, axis)
    limit_elements(arguments.arrays, samples, max_elements)
    computed_in = _dtype(measure, arguments, dtype)
    arrays = {name: _narrowed(name, arguments, computed_in) for name in arguments.arrays}
    _check_values(measure, arguments, arrays, main.shape[axis] if measure.over_classes else 0)

    left_out = _left_out(measure, arguments)
    computed, laid_out = layout(measure, arrays, axis, samples)
    return Batch(
        measure=measure,
        dtype=computed_in,
        samples=samples,
        computed=computed,
        arrays=laid_out,
        shared=_shared(measure, arguments, arrays, computed_in, left_out),
        arguments=arguments,
        left_out=left_out,
        batch_size=main.shape[0] if main.ndim else 1,
        ignored=_ignored(measure, arguments),
    )


def _refuse_shapeless(measure: Measure, arguments: Arguments) -> None:
    name = measure.main.name
    if measure.over_classes and name in arguments.untyped and arguments.arrays[name].shape == (0,):
        advice = "send an empty batch as base64 or binary, with its shape"
        raise refuse(name, f"{name} is an empty list, which says no number of classes: {advice}")


def _dtype(measure: Measure, arguments: Arguments, dtype: str) -> np.dtype[Any]:
    """What is computed in: the required float inputs promoted; weights follow."""
    floats = [tensor for tensor in measure.tensors if tensor.kind is Kind.FLOAT and tensor.name in arguments.arrays]
    typed = {t.name: arguments.arrays[t.name].dtype.name for t in floats if t.name not in arguments.untyped}
    lists = ("float64" if "float64" in typed.values() else "float32") if typed else dtype
    required = [typed.get(tensor.name, lists) for tensor in floats if tensor.required]
    return np.dtype(np.float64 if "float64" in required else np.float32)


def _narrowed(name: str, arguments: Arguments, dtype: np.dtype[Any]) -> Array:
    """The array, in float32 if it is float64 and that is computed in; a finite number that is lost by it is refused."""
    array = arguments.arrays[name]
    return cast(name, array, "float32") if array.dtype.name == "float64" and dtype == np.float32 else array


def _check_values(measure: Measure, arguments: Arguments, arrays: dict[str, Array], classes: int) -> None:
    values = arrays | {name: np.asarray(value) for name, value in arguments.options.items()}
    bound = {**arguments.choices, **arguments.options, "classes": classes}
    found = [
        rule.check(tensor.name, values[tensor.name], bound)
        for tensor in measure.inputs
        if tensor.name in values
        for rule in tensor.rules
    ]
    faults = [fault for fault in found if fault]
    if faults:
        raise InvalidInput(faults)


def _left_out(measure: Measure, arguments: Arguments) -> frozenset[str]:
    """The neutral inputs that were not given, and the neutral options at their default."""
    given = set(arguments.arrays) | {o.name for o in measure.options if arguments.options[o.name] != o.default}
    return frozenset(tensor.name for tensor in measure.inputs if tensor.neutral and tensor.name not in given)


def _shared(
    measure: Measure, arguments: Arguments, arrays: dict[str, Array], dtype: np.dtype[Any], left_out: frozenset[str]
) -> dict[str, Array]:
    """The inputs that every block of samples sees whole: class weights and options."""
    whole = {
        t.name: np.ascontiguousarray(arrays[t.name], dtype)
        for t in measure.tensors
        if not t.by_sample and t.name in arrays
    }
    kinds = {Kind.FLOAT: np.float64, Kind.INDEX: np.int64}
    options = {o.name: np.asarray(arguments.options[o.name], kinds[o.kind]) for o in measure.options}
    return {name: value for name, value in (whole | options).items() if name not in left_out}


def _ignored(measure: Measure, arguments: Arguments) -> int:
    """How many indices equal the option that marks samples to skip."""
    return sum(
        int(np.count_nonzero(arguments.arrays[tensor.name] == arguments.options[rule.unless]))
        for tensor in measure.tensors
        for rule in tensor.rules
        if isinstance(rule, IndexOf)
    )
