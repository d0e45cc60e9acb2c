"""Shapes: what each input's must be, and the layout in which all of them are computed.

A measure over classes sees (samples, classes), an elementwise one (samples,). The layout is made of views: a class
axis in the middle is moved, and a small array is broadcast, without a copy.
"""

from math import prod

import numpy as np

from core.declare import Fit, Measure, Tensor
from core.errors import Fault, InvalidInput, refuse
from core.rules import Array

Shape = tuple[int, ...]


def class_axis(measure: Measure, main: Array, wanted: int) -> int:
    """The class axis of the first input, counted from the front: 0 for one unbatched sample, else `wanted`."""
    name, axes, dims = measure.main.name, main.ndim, measure.main.dims
    most = axes if ... in dims else len(dims)
    if len(dims) > 2 and ... not in dims and axes != most:  # ("batch", "tokens", "classes")
        raise refuse(name, f"{name} has shape {main.shape}, but must have the {most} axes {', '.join(map(str, dims))}")
    if not 1 <= axes <= most:
        many = "one axis or more" if most == axes else f"1 to {most} axes"
        what = measure.main.row_axis
        raise refuse(name, f"{name} has shape {main.shape}, but must have {many}, one of them the {what}")
    if axes == 1:
        return 0
    if not -axes <= wanted < axes:
        raise refuse("class_axis", f"class_axis is {wanted}, but must be in [{-axes}, {axes}): {name} has {axes} axes")
    return wanted % axes


def sample_shape(measure: Measure, arrays: dict[str, Array], axis: int) -> Shape:
    """The shape of the per-sample values, once every input's shape is checked. Raises InvalidInput."""
    main = arrays[measure.main.name]
    if measure.over_classes:
        samples = main.shape[:axis] + main.shape[axis + 1 :]
        faults = [_over_classes(measure, tensor, arrays, axis, samples) for tensor in measure.tensors[1:]]
    else:
        samples = main.shape
        faults = [_elementwise(measure, tensor, arrays) for tensor in measure.tensors[1:]]
    if any(faults):
        raise InvalidInput(fault for fault in faults if fault)
    both = [arrays[tensor.name].shape for tensor in measure.tensors if tensor.fit is Fit.WITH]
    return np.broadcast_shapes(samples, *both) if both else samples


def _over_classes(
    measure: Measure, tensor: Tensor, arrays: dict[str, Array], axis: int, samples: Shape
) -> Fault | None:
    if tensor.name not in arrays:
        return None
    main, found = arrays[measure.main.name].shape, arrays[tensor.name].shape
    by_class = tensor.dims == ("classes",)
    want: Shape = (main[axis],) if by_class else main if tensor.row_axis else samples
    if found == want:
        return None
    one_sample = want == () and found == (1,) and len(main) == 1
    if one_sample and not (found == main and tensor.hint):  # PyTorch reads (1,) beside (1,) as soft
        return None
    why = f"one value for each class of {measure.main.name}" if by_class else f"that of {measure.main.name}"
    if want is samples:
        why += f", {main}, without its class axis {axis}"
    return Fault((tensor.name,), f"{tensor.name} has shape {found}, but must have shape {want}: {why}{tensor.advice}")


def _elementwise(measure: Measure, tensor: Tensor, arrays: dict[str, Array]) -> Fault | None:
    if tensor.name not in arrays:
        return None
    main, found = arrays[measure.main.name].shape, arrays[tensor.name].shape
    own, other = (1,) * (len(main) - len(found)) + found, (1,) * (len(found) - len(main)) + main
    fits = {
        Fit.SAME: found == main,
        Fit.INTO: len(found) <= len(main) and all(a in (1, b) for a, b in zip(own, main, strict=True)),
        Fit.WITH: all(a == b or 1 in (a, b) for a, b in zip(own, other, strict=True)),
    }
    if fits[tensor.fit]:
        return None
    must = {
        Fit.SAME: f"must have that of {measure.main.name}, {main}",
        Fit.INTO: f"must broadcast to that of {measure.main.name}, {main}, without enlarging it",
        Fit.WITH: f"must broadcast with that of {measure.main.name}, {main}",
    }
    return Fault((tensor.name,), f"{tensor.name} has shape {found}, but {must[tensor.fit]}")


def limit_elements(arrays: dict[str, Array], samples: Shape, most: int) -> None:
    """Refuse more than `most` elements in an input, or in what the inputs broadcast to."""
    sizes = {name: prod(array.shape) for name, array in arrays.items()} | {"": prod(samples)}
    for name, size in sizes.items():
        if size > most:
            subject = f"{name} has" if name else f"the inputs broadcast to {samples}, which has"
            where = (name,) if name else ()
            raise InvalidInput([Fault(where, f"{subject} {size} elements, but at most {most} are allowed")])


def layout(measure: Measure, arrays: dict[str, Array], axis: int, samples: Shape) -> tuple[Shape, dict[str, Array]]:
    """The arrays that have a value or row for each sample, as views of shape `computed` or (`computed`, classes)."""
    own = {tensor.name: arrays[tensor.name] for tensor in measure.by_sample if tensor.name in arrays}
    if measure.over_classes:
        main = arrays[measure.main.name].shape
        outer, classes, inner = prod(main[:axis]), main[axis], prod(main[axis + 1 :])
        if inner == 1:
            rows: Shape = (outer, classes)
            return (outer,), {n: a.reshape(rows if n in measure.rows else outer) for n, a in own.items()}
        middle = (outer, classes, inner)
        return (outer, inner), {
            name: array.reshape(middle).swapaxes(1, 2) if name in measure.rows else array.reshape(outer, inner)
            for name, array in own.items()
        }
    if all(array.shape == samples for array in own.values()):
        return (prod(samples),), {name: array.reshape(-1) for name, array in own.items()}
    return samples, {name: np.broadcast_to(array, samples) for name, array in own.items()}
