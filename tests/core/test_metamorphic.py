"""What must not change an answer: splitting a batch, moving its axes, shifting its logits, what was computed before.

Order, blocks and padding rows are in test_measures. Equal here means the same bits unless a tolerance is stated.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from core.declare import Measure
from core.engine import Engine
from core.measures import MEASURES
from tests import inputs

DTYPES = ("float32", "float64")


def bits(result: Any) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Every per-sample array of a result as shape and bytes; of one NaN, whichever it was."""
    return {name: (a.shape, np.where(np.isnan(a), np.nan, a).tobytes()) for name, a in result.outputs.items()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_split_batch_is_the_whole_one(engine: Engine, measure: Measure, dtype: str) -> None:
    """Its parts have the whole's bits, and its sum is that of all values exactly, rounded once."""
    rng = np.random.default_rng(23)
    for _ in range(20):
        samples = int(rng.integers(2, 300))
        fields = inputs.request(measure, rng, samples, int(rng.integers(2, 40)), dtype)
        whole = engine.compute(measure, fields)
        edges = [0, *np.sort(rng.integers(0, samples + 1, 3)).tolist(), samples]
        parts = [
            engine.compute(
                measure, {n: v[low:high] if n in inputs.by_sample(measure) else v for n, v in fields.items()}
            )
            for low, high in pairwise(edges)
        ]
        for name, values in whole.outputs.items():
            assert b"".join(part.outputs[name].tobytes() for part in parts) == values.tobytes(), name
            total = "sum" if name == "per_sample" else f"sum_{name}"
            assert whole.totals[total] == math.fsum(values.tolist())
        for counted in ("count", "ignored"):
            assert sum(part.totals[counted] for part in parts) == whole.totals[counted]
        merged = math.fsum(part.totals["sum"] for part in parts)
        assert merged == pytest.approx(whole.totals["sum"], rel=2**-52 * len(parts))


@pytest.mark.parametrize("dtype", DTYPES)
def test_axes_may_stand_anywhere(engine: Engine, measure: Measure, dtype: str) -> None:
    """The classes in any place, or an elementwise batch transposed: the same values in the same order, moved."""
    rng = np.random.default_rng(29)
    shape = (7, 5, 3)
    for axis in range(3):
        fields = inputs.request(measure, rng, 21, 5, dtype)
        if not measure.over_classes:
            cubes = {name: np.resize(values, shape) for name, values in fields.items()}
            turned = {name: values.transpose(2, 0, 1) for name, values in cubes.items()}
            plain, moved = engine.compute(measure, cubes), engine.compute(measure, turned)
            assert moved.outputs["per_sample"].tobytes() == plain.outputs["per_sample"].transpose(2, 0, 1).tobytes()
        elif "class_axis" in measure.names:
            plain = engine.compute(measure, fields)
            for name in measure.rows:
                fields[name] = np.moveaxis(fields[name].reshape(7, 3, 5), 2, axis)
            if "targets" not in measure.rows:
                fields["targets"] = fields["targets"].reshape(7, 3)
            moved = engine.compute(measure, fields | {"class_axis": axis})
            assert moved.outputs["per_sample"].shape == (7, 3)
            assert moved.outputs["per_sample"].tobytes() == plain.outputs["per_sample"].tobytes()
        else:
            return
        assert moved.totals == plain.totals


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cross_entropy", "soft_cross_entropy"])
def test_logits_may_be_shifted(engine: Engine, name: str, dtype: str) -> None:
    """By the same number in a whole row. Logits are multiples of 1/64 below 8, so that the shift itself is exact."""
    rng = np.random.default_rng(31)
    for classes in (2, 3, 10, 33, 257):
        fields = inputs.request(MEASURES[name], rng, 60, classes, dtype)
        fields["logits"] = (rng.integers(-512, 512, (60, classes)) / 64).astype(dtype)
        plain = engine.compute(MEASURES[name], fields).outputs["per_sample"]
        for shift in (1.0, -1000.0, 2.0**16):
            moved = engine.compute(MEASURES[name], fields | {"logits": fields["logits"] + np.dtype(dtype).type(shift)})
            assert moved.outputs["per_sample"].tobytes() == plain.tobytes(), shift


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_class_that_cannot_be_is_no_class(engine: Engine, dtype: str) -> None:
    """Columns of -infinity beside the others: the same within 4 units in the last place of the largest term."""
    rng = np.random.default_rng(37)
    measure = MEASURES["cross_entropy"]
    for classes in (1, 2, 10, 33):
        fields = inputs.request(measure, rng, 50, classes, dtype, optional=False)
        wide = np.concatenate([fields["logits"], np.full((50, 7), -np.inf, dtype)], axis=1)
        plain = engine.compute(measure, fields).outputs["per_sample"]
        padded = engine.compute(measure, fields | {"logits": wide}).outputs["per_sample"]
        assert np.all(np.abs(padded - plain) <= 4 * np.finfo(dtype).eps * np.maximum(8.0, np.abs(plain)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_computed_before_changes_nothing(engine: Engine, measure: Measure, dtype: str) -> None:
    """Memory that a session reuses from shape to shape: any sequence of shapes gives what fresh sessions do."""
    rng = np.random.default_rng(41)
    shapes = [(1, 1), (3000, 300), (1, 2), (7, 3), (2, 1000), (500, 2), (1, 33), (64, 10), (100_000, 1), (2, 2)]
    batches = [inputs.request(measure, rng, *shape, dtype, bool(rng.random() < 0.5)) for shape in shapes]
    wanted = []
    for fields in batches:
        fresh = Engine([measure], device="cpu", threads=1)
        wanted.append(bits(fresh.compute(measure, fields)))
        fresh.close()
    for _ in range(3):
        for place in rng.permutation(len(batches)):
            assert bits(engine.compute(measure, batches[place])) == wanted[place], shapes[place]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_nothing_but_minus_infinity_is_nan_and_no_other_row(engine: Engine, dtype: str) -> None:
    logits = np.array([[-np.inf, -np.inf], [0, 0], [np.inf, np.inf]], dtype)
    result = engine.compute(MEASURES["cross_entropy"], {"logits": logits, "targets": np.array([0, 1, 0])})
    assert np.isnan(result.outputs["per_sample"]).tolist() == [True, False, True]
    assert math.isnan(float(result.loss or 0))
    assert result.totals["count"] == 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_are_numbers_and_minus_zero_is_zero(engine: Engine, dtype: str) -> None:
    tiny = float(np.finfo(dtype).smallest_subnormal)
    fields = {"log_probabilities": np.array([[-tiny, 0], [-3 * tiny, -1]], dtype), "targets": np.array([0, 0])}
    result = engine.compute(MEASURES["nll_loss"], fields)
    assert result.outputs["per_sample"].tolist() == [tiny, 3 * tiny]
    assert result.totals["sum"] == 4 * tiny
    for measure in (MEASURES["cross_entropy"], MEASURES["soft_cross_entropy"]):
        batch = inputs.request(measure, np.random.default_rng(1), 4, 3, dtype)
        plus, minus = (
            engine.compute(measure, batch | {"logits": np.full((4, 3), zero, dtype)}) for zero in (0.0, -0.0)
        )
        assert bits(plus) == bits(minus)
