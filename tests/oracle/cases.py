"""Random requests to every measure that PyTorch has: shapes, options, dtypes and extremes, good and bad ones.

A case is a measure's name and the fields of a request as NumPy arrays and scalars. The same seed gives the same cases.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rng = np.random.Generator
SPECIAL = (np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30, 0.0, -0.0, 1e4, -1e4)
BATCHES = (0, 1, 2, 3, 5, 8, 17, 64)
CLASSES = (1, 2, 3, 5, 10, 16, 33)


@dataclass
class Case:
    """One request."""

    measure: str
    fields: dict[str, Any] = field(default_factory=dict)


def _float(rng: Rng) -> str:
    return str(rng.choice(["float32", "float32", "float64", "float16"]))


def _scores(rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    values = rng.normal(size=shape) * rng.choice([1.0, 1.0, 5.0, 50.0, 1e3])
    if rng.random() < 0.3 and values.size:
        spots = rng.random(shape) < rng.choice([0.02, 0.2, 1.0])
        values = np.where(spots, rng.choice(SPECIAL, size=shape), values)
    return np.asarray(values, dtype)


def _unit(rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    values = rng.random(shape)
    if rng.random() < 0.5:
        values = np.where(rng.random(shape) < 0.4, rng.choice([0.0, 1.0, 0.5, 1e-30, 1e-44, 1.0 - 1e-7], shape), values)
    return np.asarray(values, dtype)


def _spoilt(rng: Rng, values: Array) -> Array:
    """Probabilities, now and then with some that are none."""
    spots = rng.random(values.shape) < (0.2 if rng.random() < 0.2 else 0.0)
    return np.where(spots, rng.choice([np.nan, np.inf, -np.inf, -0.5, 2.0], values.shape), values).astype(values.dtype)


def _weight(rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    values = rng.random(shape) * 3
    roll = rng.random()
    if roll < 0.15:
        values = np.zeros(shape)
    elif roll < 0.35:
        values = np.where(rng.random(shape) < 0.3, rng.choice([0.0, -1.0, 1e10, np.inf, np.nan], shape), values)
    return np.asarray(values, dtype)


def _sizes(rng: Rng, axes: int) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.choice([0, 1, 2, 3, 5, 7], axes, p=[0.05, 0.15, 0.2, 0.2, 0.2, 0.2]))


def _finite(fields: dict[str, Any], name: str) -> None:
    """No infinite weights where log p may be 0 but for its last bit: infinity times it is NaN or infinite by chance."""
    if name in fields:
        fields[name] = np.where(np.isinf(fields[name]), 3, fields[name]).astype(fields[name].dtype)


def _enlarge(rng: Rng, fields: dict[str, Any], name: str) -> None:
    """Now and then, make 1e30 almost the largest float32: where no sum follows, whose order would then show."""
    if fields.get("reduction") == "none" and "label_smoothing" not in fields and rng.random() < 0.3:
        values = fields[name]
        fields[name] = np.where(np.abs(values) > 1e29, values * values.dtype.type(3e8), values)


def _class_shape(rng: Rng) -> tuple[tuple[int, ...], int]:
    classes = int(rng.choice(CLASSES))
    if rng.random() < 0.12:
        return (classes,), 0
    shape = (int(rng.choice(BATCHES)), *_sizes(rng, int(rng.choice([0, 0, 0, 1, 2, 3, 4]))))
    axis = 1 if rng.random() < 0.6 else int(rng.integers(0, len(shape) + 1))
    return (*shape[:axis], classes, *shape[axis:]), axis


def _indices(rng: Rng, shape: tuple[int, ...], classes: int, ignore_index: int) -> Array:
    targets = rng.integers(0, classes, shape)
    roll = rng.random()
    share = 0.0 if roll < 0.5 else 1.0 if roll > 0.9 else 0.3
    targets = np.where(rng.random(shape) < share, ignore_index, targets)
    if rng.random() < 0.08 and targets.size:
        targets = np.array(targets)
        targets[tuple(rng.integers(0, n) for n in shape)] = rng.choice([-1, classes, -classes, -100, 2**62])
    return np.asarray(targets, np.int64)


def _reduction(rng: Rng, fields: dict[str, Any], more: tuple[str, ...] = ()) -> None:
    if rng.random() < 0.8:
        fields["reduction"] = str(rng.choice(["mean", "sum", "none", *more]))


def _over_classes(rng: Rng, measure: str, scores: str) -> Case:
    shape, axis = _class_shape(rng)
    classes, samples = shape[axis], shape[:axis] + shape[axis + 1 :]
    fields: dict[str, Any] = {scores: _scores(rng, shape, _float(rng))}
    if axis != 1 and len(shape) > 1:
        fields["class_axis"] = axis if rng.random() < 0.5 else axis - len(shape)
    if measure == "soft_cross_entropy":
        fields["targets"] = _unit(rng, shape, _float(rng))
        if rng.random() < 0.1:
            fields["targets"] = fields["targets"] * fields["targets"].dtype.type(rng.choice([-1, 3]))
    else:
        if rng.random() < 0.4:
            fields["ignore_index"] = int(rng.choice([-1, 0, 2, -100, 255, 10**12]))
        fields["targets"] = _indices(rng, samples, classes, fields.get("ignore_index", -100))
        if samples == () and rng.random() < 0.5 and classes > 1:
            fields["targets"] = fields["targets"].reshape(1)
    if rng.random() < 0.4:
        fields["weight"] = _weight(rng, (classes,), _float(rng))
    if measure != "nll_loss" and rng.random() < 0.4:
        fields["label_smoothing"] = float(rng.choice([0.0, 0.1, 0.5, 1.0, 1e-9, 1.5, rng.random()]))
    _reduction(rng, fields)
    if measure == "soft_cross_entropy" or "label_smoothing" in fields:
        _finite(fields, "weight")
    else:
        _enlarge(rng, fields, scores)
    return Case(measure, fields)


def _any_shape(rng: Rng) -> tuple[int, ...]:
    if rng.random() < 0.05:
        return (int(rng.choice([1000, 4097, 70_001])),)
    return _sizes(rng, int(rng.integers(0, 5)))


def _broadcast(rng: Rng, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts into `shape`, or now and then one that does not."""
    small = tuple(1 if rng.random() < 0.4 else n for n in shape)[rng.integers(0, len(shape) + 1) :]
    roll = rng.random()
    if roll < 0.03:
        return (1, *shape)
    if roll < 0.06 and shape:
        return (*shape[:-1], shape[-1] + 1)
    return small


def _elementwise(rng: Rng, measure: str, scores: str) -> Case:
    shape = _any_shape(rng)
    target_shape = _broadcast(rng, shape) if measure == "kl_div" or rng.random() < 0.05 else shape
    unit = measure == "binary_cross_entropy"
    make = _unit if unit and rng.random() < 0.95 else _scores
    fields: dict[str, Any] = {scores: make(rng, shape, _float(rng))}
    fields["targets"] = (_scores if not unit and rng.random() < 0.1 else _unit)(rng, target_shape, _float(rng))
    if measure == "kl_div":
        fields["targets"] = _spoilt(rng, _unit(rng, target_shape, _float(rng)))
        if rng.random() < 0.4:
            fields["log_target"] = bool(rng.random() < 0.7)
            if fields["log_target"]:
                fields["targets"] = _scores(rng, target_shape, _float(rng))
    else:
        for name in ("weight", "pos_weight")[: 2 - unit]:
            if rng.random() < 0.35:
                fields[name] = _weight(rng, _broadcast(rng, shape), _float(rng))
    _reduction(rng, fields, ("batchmean",) if measure == "kl_div" else ())
    _enlarge(rng, fields, scores)
    if measure == "binary_cross_entropy_with_logits" and np.any(np.abs(fields[scores]) > 80):
        for name in ("targets", "weight", "pos_weight"):
            _finite(fields, name)
    return Case(measure, fields)


def random_case(rng: Rng, measure: str) -> Case:
    """A random request to `measure`."""
    if measure in ("cross_entropy", "soft_cross_entropy"):
        return _over_classes(rng, measure, "logits")
    if measure == "nll_loss":
        return _over_classes(rng, measure, "log_probabilities")
    names = {"binary_cross_entropy": "probabilities", "kl_div": "log_probabilities"}
    return _elementwise(rng, measure, names.get(measure, "logits"))


IN_TORCH = (
    "cross_entropy",
    "soft_cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
)


def random_cases(seed: int, count: int) -> Iterator[Case]:
    """`count` random requests, the measures in turn."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        with np.errstate(all="ignore"):
            case = random_case(rng, IN_TORCH[number % len(IN_TORCH)])
        yield case
