"""What holds for every measure, from its declaration."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import core.engine
from core.check import prepare
from core.declare import Measure, Role
from core.engine import Engine
from core.errors import InvalidInput
from core.measures import MEASURES
from core.variants import DTYPES
from tests import inputs
from tests.oracle.compare import TOLERANCE, close


def graph_choices(measure: Measure) -> list[dict[str, Any]]:
    """Every combination of the choices that select a graph."""
    choices = [choice for choice in measure.choices if choice.role is Role.GRAPH]
    names = [choice.name for choice in choices]
    return [dict(zip(names, values, strict=True)) for values in product(*(choice.values for choice in choices))]


def per_sample(engine: Engine, measure: Measure, fields: dict[str, Any]) -> dict[str, Any]:
    return engine.per_sample(prepare(measure, fields)).arrays


def test_examples_are_true(engine: Engine, measure: Measure) -> None:
    for example in measure.examples:
        for dtype in DTYPES:
            result = engine.compute(measure, inputs.of_example(measure, example), dtype=dtype)
            rtol, atol = TOLERANCE[dtype]
            assert float(result.loss or 0) == pytest.approx(example.loss, rel=rtol, abs=atol)
            assert result.outputs["per_sample"].ravel() == pytest.approx(example.per_sample, rel=rtol, abs=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optional", [True, False])
def test_graph_equals_reference(engine: Engine, measure: Measure, dtype: str, optional: bool) -> None:
    rng = np.random.default_rng(7)
    for choices, samples, classes in product(graph_choices(measure), (1, 2, 7, 200), (1, 2, 10, 33)):
        fields = inputs.request(measure, rng, samples, classes, dtype, optional) | choices
        if optional and "label_smoothing" in measure.names:
            fields["label_smoothing"] = 0.3
        batch = prepare(measure, fields)
        found = engine.per_sample(batch).arrays
        scalars = {name: value.item() if value.ndim == 0 else value for name, value in batch.shared.items()}
        expected = measure.reference(
            **{n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in batch.arrays.items()},
            **scalars,
            **choices,
        )
        assert len(found) == len(expected)
        for name, wanted in zip(found, expected, strict=True):
            assert found[name].dtype == dtype
            assert close(found[name], np.asarray(wanted), *TOLERANCE[dtype]), (name, choices, samples, classes)


@pytest.mark.parametrize(
    ("dtype", "classes", "rounds"),
    [
        ("float32", 10, 100),
        ("float32", 37, 30),
        ("float32", 771, 5),  # added up in three parts of 257, which begin anywhere
        ("float64", 10, 30),
        ("float64", 37, 30),
    ],
)
def test_no_order_or_blocking_changes_a_bit(
    engine: Engine, measure: Measure, dtype: str, classes: int, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(classes)
    fields = inputs.request(measure, rng, 203, classes, dtype)
    if "label_smoothing" in measure.names:
        fields["label_smoothing"] = 0.1
    if "ignore_index" in measure.names:
        fields["targets"][::9] = -100
    whole = engine.compute(measure, fields)
    for _ in range(rounds * (10 if measure.name == "cross_entropy" else 1)):
        order = rng.permutation(203)
        rows = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 13, 16, 64, 100, 202]))
        monkeypatch.setattr(core.engine, "BLOCK_ELEMENTS", rows * classes)
        monkeypatch.setattr(core.engine, "ELEMENTWISE_BLOCK", rows)
        shuffled = {n: v[order] if n in inputs.by_sample(measure) else v for n, v in fields.items()}
        result = engine.compute(measure, shuffled)
        assert result.totals == whole.totals
        assert result.loss is not None
        assert whole.loss is not None
        assert result.loss.tobytes() == whole.loss.tobytes()
        for name, values in result.outputs.items():
            assert values.tobytes() == whole.outputs[name][order].tobytes(), (name, rows)


def test_a_sigmoid_has_a_few_units_in_the_last_place(engine: Engine) -> None:
    """The float32 graph has a polynomial for the logarithm, which onnxruntime is slow at."""
    measure = MEASURES["binary_cross_entropy_with_logits"]
    logits = np.concatenate([np.linspace(-100, 100, 400_001), np.geomspace(1e-30, 100, 10_000)]).astype(np.float32)
    targets = np.ones(logits.shape, np.float32)  # no two large terms cancel
    found = engine.compute(measure, {"logits": logits, "targets": targets}).outputs["per_sample"]
    (expected,) = measure.reference(logits.astype(np.float64), targets.astype(np.float64))
    assert np.all(np.abs(found - expected) <= 3e-7 * expected + 1e-37)  # below which float32 has fewer digits


def test_padding_with_ignored_rows_changes_nothing(engine: Engine, measure: Measure) -> None:
    if "ignore_index" not in measure.names:
        assert measure.name not in ("cross_entropy", "nll_loss")
        return
    rng = np.random.default_rng(3)
    fields = inputs.request(measure, rng, 50, 7)
    padded = dict(fields)
    for name in inputs.by_sample(measure):
        more = np.full((9, *fields[name].shape[1:]), -100 if name == "targets" else np.nan)
        padded[name] = np.concatenate([fields[name], more.astype(fields[name].dtype)])
    plain, result = engine.compute(measure, fields), engine.compute(measure, padded)
    assert result.loss == plain.loss
    assert {**result.totals, "ignored": 0} == plain.totals
    assert result.totals["ignored"] == 9
    assert result.outputs["per_sample"][:50].tobytes() == plain.outputs["per_sample"].tobytes()
    assert not result.outputs["per_sample"][50:].any()


def test_every_rule_refuses_what_breaks_it_and_names_the_input(measure: Measure) -> None:
    rng = np.random.default_rng(5)
    for tensor in measure.inputs:
        for rule in tensor.rules:
            fields = inputs.request(measure, rng)
            good = np.asarray(fields.get(tensor.name, tensor.default))
            broken = rule.broken(good)
            fields[tensor.name] = broken.item() if tensor.is_option else broken
            with pytest.raises(InvalidInput) as refusal:
                prepare(measure, fields)
            (fault,) = refusal.value.faults
            assert fault.where[0] == tensor.name
            assert tensor.name in fault.detail
            assert "must be" in fault.detail


def test_defaults_satisfy_their_rules(measure: Measure) -> None:
    """So that they need no check."""
    for tensor, rule in measure.rules:
        if not tensor.required:
            assert not rule.check(tensor.name, np.asarray(tensor.default), {"classes": 1})


def shifted(values: Any) -> Any:
    """The same values at an address that no CPU likes."""
    return np.frombuffer(b"\0" + values.tobytes(), np.uint8)[1:].view(values.dtype).reshape(values.shape)


def read_only(values: Any) -> Any:
    values = values.copy()
    values.flags.writeable = False
    return values


WAYS: dict[str, Any] = {
    "big-endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
    "misaligned": shifted,
    "strided": lambda values: np.repeat(values, 2, axis=0)[::2],
    "backwards": lambda values: values[::-1].copy()[::-1],
    "read-only": read_only,
    "all at once": lambda values: read_only(np.repeat(shifted(WAYS["big-endian"](values)), 2, axis=0)[::2]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 21, 64, 70_000])  # 64 need no padding; the last are several blocks
def test_how_an_array_lies_in_memory_changes_nothing(
    engine: Engine, measure: Measure, way: str, dtype: str, samples: int
) -> None:
    rng = np.random.default_rng(11)
    fields = inputs.request(measure, rng, samples, 6, dtype)
    expected = engine.compute(measure, fields)
    result = engine.compute(measure, {name: WAYS[way](values) for name, values in fields.items()})
    assert result.totals == expected.totals
    for name, values in result.outputs.items():
        assert values.tobytes() == expected.outputs[name].tobytes()


def test_every_integer_type_of_targets_is_the_same(engine: Engine, measure: Measure) -> None:
    rng = np.random.default_rng(13)
    fields = inputs.request(measure, rng, 9, 2)
    if fields["targets" if "targets" in fields else "q"].dtype.kind == "f":
        return
    expected = engine.compute(measure, fields)
    for kind in ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "bool"):
        result = engine.compute(measure, fields | {"targets": fields["targets"].astype(kind)})
        assert result.totals == expected.totals, kind


def test_declaration_is_documented(measure: Measure) -> None:
    assert measure.summary.endswith(".")
    assert "Source:" in measure.doc
    assert measure.formula
    assert measure.source in measure.doc
    assert measure.examples
    assert all(tensor.doc.endswith(".") for tensor in measure.inputs)
    assert all(choice.doc.endswith(".") for choice in measure.choices)
