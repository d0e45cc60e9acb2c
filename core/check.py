"""From a request's inputs to a Batch that a graph may see, or to faults that name what is wrong.

The order: names and types, shapes, sizes, dtype, values. Nothing wraps, truncates or broadcasts by accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.arguments import Arguments, parse
from core.declare import Kind, Measure
from core.dtypes import cast, name_of
from core.errors import InvalidInput, refuse
from core.rules import Array, IndexOf
from core.shapes import Shape, class_axis, layout, limit_elements, sample_shape

MAX_ELEMENTS = 2**30
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
OPTION_DTYPES = {Kind.FLOAT: FLOAT64, Kind.INDEX: np.dtype(np.int64)}  # options keep the precision that they came in


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
    arrays = {name: _narrowed(name, array, computed_in) for name, array in arguments.arrays.items()}
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
    typed = {t.name: name_of(arguments.arrays[t.name].dtype) for t in floats if t.name not in arguments.untyped}
    lists = ("float64" if "float64" in typed.values() else "float32") if typed else dtype
    required = [typed.get(tensor.name, lists) for tensor in floats if tensor.required]
    return FLOAT64 if "float64" in required else FLOAT32


def _narrowed(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """The array, in float32 if it is float64 and that is computed in; a finite number that is lost by it is refused."""
    return cast(name, array, "float32") if dtype is FLOAT32 and name_of(array.dtype) == "float64" else array


def _check_values(measure: Measure, arguments: Arguments, arrays: dict[str, Array], classes: int) -> None:
    """Test what was given; the defaults satisfy their rules."""
    options = arguments.options
    bound = {**arguments.choices, **options, "classes": classes}
    faults = []
    for tensor, rule in measure.rules:
        if tensor.name in arrays:
            faults.append(rule.check(tensor.name, arrays[tensor.name], bound))
        elif tensor.is_option and options[tensor.name] != tensor.default:
            faults.append(rule.check(tensor.name, np.asarray(options[tensor.name]), bound))
    if any(faults):
        raise InvalidInput(fault for fault in faults if fault)


def _left_out(measure: Measure, arguments: Arguments) -> frozenset[str]:
    """The neutral inputs that were not given, and the neutral options at their default."""
    arrays, options = arguments.arrays, arguments.options
    return frozenset(
        t.name for t in measure.neutral if t.name not in arrays and options.get(t.name, t.default) == t.default
    )


def _shared(
    measure: Measure, arguments: Arguments, arrays: dict[str, Array], dtype: np.dtype[Any], left_out: frozenset[str]
) -> dict[str, Array]:
    """The inputs that every block of samples sees whole: class weights and options."""
    shared = {t.name: np.ascontiguousarray(arrays[t.name], dtype) for t in measure.by_class if t.name in arrays}
    for option in measure.options:
        if option.name not in left_out:
            shared[option.name] = np.asarray(arguments.options[option.name], OPTION_DTYPES[option.kind])
    return shared


def _ignored(measure: Measure, arguments: Arguments) -> int:
    """How many indices equal the option that marks samples to skip."""
    return sum(
        int(np.count_nonzero(arguments.arrays[tensor.name] == arguments.options[rule.unless]))
        for tensor, rule in measure.rules
        if isinstance(rule, IndexOf)
    )
