"""Random requests for the columns of reports, and what the columns must be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.check import prepare
from core.declare import Measure
from core.engine import Engine

Array = NDArray[Any]
Rng = np.random.Generator
IGNORED = -100
ODD = np.array([np.nan, np.inf, -np.inf])
TOLERANCE = {"float32": (2e-5, 2e-6), "float64": (1e-11, 1e-13)}


def scores(measure: Measure, rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    """Scores of the kind that a concrete `measure` takes, with the classes on the last axis."""
    logits = rng.normal(size=shape) * 4
    if not measure.over_classes or measure.main.row_axis == "labels":
        p = 1 / (1 + np.exp(-logits))
    else:
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
    return {"logits": logits, "log_probabilities": np.log(p), "probabilities": p}[measure.main.name].astype(dtype)


def targets(measure: Measure, rng: Rng, shape: tuple[int, ...], ignored: float = 0.2) -> Array:
    """Targets for scores of `shape`, of which a share is ignored."""
    by_class = measure.main.row_axis == "classes"
    found = rng.integers(0, shape[-1] if by_class else 2, shape[:-1] if by_class else shape)
    return np.where(rng.random(found.shape) < ignored, IGNORED, found)


def batch(measure: Measure, rng: Rng, samples: int, size: int, dtype: str = "float32") -> dict[str, Array]:
    """A request to a concrete `measure` for `samples` with `size` classes or labels each."""
    shape = (samples, size) if measure.over_classes else (samples,)
    found, wanted = scores(measure, rng, shape, dtype), targets(measure, rng, shape)
    if "tokens" in measure.main.dims:
        found, wanted = found[None], wanted[None]
    return {measure.main.name: found, "targets": wanted}


def expected(measure: Measure, fields: dict[str, Any]) -> dict[str, Array]:
    """The reference's columns of a request, flat."""
    job = prepare(measure, fields)
    given = {n: a.astype(np.float64 if a.dtype.kind == "f" else np.int64) for n, a in job.arrays.items()}
    found = measure.reference(**given, **{name: array[()] for name, array in job.shared.items()})
    return dict(zip(measure.outputs, found, strict=True))


def check(engine: Engine, measure: Measure, fields: dict[str, Any], dtype: str) -> dict[str, Array]:
    """The engine's columns of a request are the reference's."""
    found = engine.compute(measure, fields).outputs
    wanted = expected(measure, fields)
    assert list(found) == list(wanted) == list(measure.outputs)
    rtol, atol = TOLERANCE[dtype]
    for name, values in found.items():
        if name in measure.indices:
            assert values.dtype == np.int64
            np.testing.assert_array_equal(values.ravel(), wanted[name], name)
        else:
            assert values.dtype == dtype
            np.testing.assert_allclose(values.ravel(), wanted[name], rtol, atol, err_msg=name)
    return found


def spoil(measure: Measure, rng: np.random.Generator, fields: dict[str, Any]) -> dict[str, Any]:
    """The same with NaN and infinities in every third row, as far as the rules let them through."""
    name = measure.main.name
    if name == "probabilities":
        return fields
    values = fields[name].copy()
    rows = values.reshape(-1, values.shape[-1]) if measure.over_classes else values.reshape(-1, 1)
    odd = ODD if name == "logits" else ODD[[0, 2]]
    for row in rows[::3]:
        row[rng.random(row.size) < rng.choice([0.1, 0.5, 1.0])] = rng.choice(odd)
        row[rng.integers(row.size)] = rng.choice(odd)
    return {**fields, name: values}
