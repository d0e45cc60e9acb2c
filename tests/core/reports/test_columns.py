"""The columns of reports: what the graphs give is what the references do, whatever the scores are."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import core.engine
from core import mend
from core.declare import Measure
from core.engine import Engine
from core.measures import MEASURES
from core.on_device import compute
from core.reports.columns import COLUMNS
from core.rules import IndexOf
from core.variants import DTYPES
from tests.core.host_card import HostRuntime, engine_on
from tests.core.reports.scores import IGNORED, Array, batch, check, expected, spoil
from tests.core.test_on_device import shared

CONCRETE = [one for union in COLUMNS.values() for one in union.concrete]
CLASSES = [one for one in CONCRETE if one.main.row_axis == "classes"]


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def on_card() -> Iterator[Engine]:
    """The graphs for a card, as far as a CPU can run them."""
    with engine_on(HostRuntime(), COLUMNS.values()) as made:
        yield made


@pytest.fixture(params=CONCRETE, ids=lambda measure: measure.name)
def concrete(request: pytest.FixtureRequest) -> Measure:
    found: Measure = request.param
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_graphs_equal_references(columns: Engine, concrete: Measure, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for samples, size in product((1, 2, 7, 200), (1, 2, 10, 31, 32, 33, 64, 1000)):
        check(columns, concrete, batch(concrete, rng, samples, size, dtype), dtype)
    for samples, size in ((70_001, 3), (300, 4001)):
        check(columns, concrete, batch(concrete, rng, samples, size, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinities_equal_references(columns: Engine, concrete: Measure, dtype: str) -> None:
    rng = np.random.default_rng(2)
    for samples, size in ((1, 1), (7, 2), (200, 10), (60, 33), (5, 1025), (4000, 17)):
        check(columns, concrete, spoil(concrete, rng, batch(concrete, rng, samples, size, dtype)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_graphs_for_a_card_equal_references(on_card: Engine, concrete: Measure, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for samples, size in ((1, 1), (7, 2), (200, 10), (60, 33)):
        fields = batch(concrete, rng, samples, size, dtype)
        check(on_card, concrete, fields, dtype)
        check(on_card, concrete, spoil(concrete, rng, fields), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("measure", CLASSES, ids=lambda measure: measure.name)
def test_of_equal_scores_the_lower_index_comes_first(columns: Engine, measure: Measure, dtype: str) -> None:
    rng = np.random.default_rng(4)
    for size in (1, 2, 5, 33, 70):
        fields = batch(measure, rng, 300, size, dtype)
        name, whole = measure.main.name, rng.integers(0, 3, (300, size)) + 1.0
        p = whole / whole.sum(axis=1, keepdims=True)
        tied = {"logits": whole, "log_probabilities": np.log(p), "probabilities": p}[name].astype(dtype)
        fields[name] = tied.reshape(fields[name].shape)
        found = check(columns, measure, fields, dtype)
        kept, target = fields["targets"].ravel() != IGNORED, np.maximum(fields["targets"].ravel(), 0)
        order = np.argsort(-tied, axis=1, kind="stable")
        assert (found["predicted"].ravel() == np.where(kept, tied.argmax(axis=1), -1)).all()
        assert (found["rank"].ravel() == np.where(kept, (order == target[:, None]).argmax(axis=1), -1)).all()


@pytest.mark.parametrize("ignored", [0, 1, -1, 2**40])
def test_any_integer_marks_what_is_ignored(columns: Engine, concrete: Measure, ignored: int) -> None:
    fields: dict[str, Any] = batch(concrete, np.random.default_rng(10), 50, 5)
    fields["targets"] = np.where(fields["targets"] == IGNORED, ignored, fields["targets"])
    check(columns, concrete, {**fields, "ignore_index": ignored}, "float32")


@pytest.mark.parametrize(
    ("task", "kind", "loss"),
    [
        ("multiclass", "logits", "cross_entropy"),
        ("multiclass", "log_probabilities", "nll_loss"),
        ("tokens", "logits", "cross_entropy"),
        ("binary", "logits", "binary_cross_entropy_with_logits"),
        ("binary", "probabilities", "binary_cross_entropy"),
    ],
)
def test_losses_are_pytorchs(columns: Engine, engine: Engine, task: str, kind: str, loss: str) -> None:
    measure = next(one for one in COLUMNS[task].concrete if one.main.name == kind)
    fields = batch(measure, np.random.default_rng(11), 300, 40)
    found = columns.compute(measure, fields).outputs["loss"]
    if not measure.over_classes:
        kept = fields["targets"] != IGNORED
        found = found[kept]
        fields = {kind: fields[kind][kept], "targets": fields["targets"][kept].astype(np.float32)}
    more = {"class_axis": -1} if task == "tokens" else {}
    wanted = engine.compute(MEASURES[loss], {**fields, **more}).outputs["per_sample"]
    np.testing.assert_allclose(found, wanted, 1e-5, 1e-6)


def test_a_nan_is_the_largest_score(columns: Engine) -> None:
    logits = np.array([[1, np.nan, 3], [np.nan, 5, np.nan], [1, 2, np.nan]], np.float32)
    found = columns.compute(COLUMNS["multiclass"], {"logits": logits, "targets": np.array([2, 2, IGNORED])}).outputs
    assert found["predicted"].tolist() == [1, 0, -1]
    assert found["rank"].tolist() == [1, 1, -1]
    for name in set(found) - {"predicted", "rank"}:
        assert np.isnan(found[name]).tolist() == [True, True, False], name
        assert found[name][2] == 0


def test_a_class_that_cannot_be_has_no_probability(columns: Engine) -> None:
    logits = np.array([[-np.inf, 0, -np.inf, 0]] * 2, np.float32)
    found = columns.compute(COLUMNS["multiclass"], {"logits": logits, "targets": np.array([1, 2])}).outputs
    half = np.log(np.float32(2))
    assert found["loss"].tolist() == [half, np.inf]
    assert found["entropy"].tolist() == [half, half]
    assert found["target_probability"].tolist() == [0.5, 0]
    assert found["margin"].tolist() == [0, -0.5]
    assert found["squared_probability"].tolist() == [0.5, 0.5]
    assert found["rank"].tolist() == [0, 3]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [3, 10, 37, 771])
def test_no_order_or_blocking_changes_a_bit(
    columns: Engine, concrete: Measure, dtype: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(size)
    fields = spoil(concrete, rng, batch(concrete, rng, 203, size, dtype))
    axis = 1 if "tokens" in concrete.main.dims else 0
    whole = columns.compute(concrete, fields).outputs
    monkeypatch.setattr(core.engine, "SMALL_ELEMENTS", 0)
    monkeypatch.setattr(core.engine, "SHARED_ELEMENTS", 0)
    monkeypatch.setattr(mend, "AT_ONCE", 5 * size)
    for _ in range(10):
        order, rows = rng.permutation(203), int(rng.choice([1, 2, 3, 4, 5, 7, 8, 13, 16, 64, 100, 202]))
        monkeypatch.setattr(core.engine, "BLOCK_ELEMENTS", rows * size)
        monkeypatch.setattr(core.engine, "ELEMENTWISE_BLOCK", rows)
        found = columns.compute(concrete, {name: array.take(order, axis) for name, array in fields.items()}).outputs
        for name, values in found.items():
            assert values.tobytes() == whole[name].take(order, axis).tobytes(), (name, rows)


def test_what_is_on_a_card_gives_the_same(on_card: Engine, columns: Engine) -> None:
    measure, rng = COLUMNS["multiclass"].concrete[0], np.random.default_rng(9)
    fields = spoil(measure, rng, batch(measure, rng, 50, 7))
    wanted = columns.compute(measure, fields)
    for given in (fields, shared(fields)):
        for one in (on_card, columns):
            found = compute(one, COLUMNS["multiclass"], given)
            for name, values in wanted.outputs.items():
                np.testing.assert_allclose(np.from_dlpack(found.outputs[name]), values, 2e-5, 2e-6, err_msg=name)
            assert found.result().totals == wanted.totals


def test_only_what_is_nan_and_counts_is_computed_anew(columns: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Array] = []
    real = mend._given

    def given(job: Any, block: Any, places: Array) -> Any:
        asked.append(places)
        return real(job, block, places)

    monkeypatch.setattr(mend, "_given", given)
    logits = np.zeros((9, 3), np.float32)
    logits[[2, 5, 7], 0] = np.nan
    targets = np.zeros(9, int)
    targets[5] = IGNORED
    columns.compute(COLUMNS["multiclass"], {"logits": logits, "targets": targets})
    assert [places.tolist() for places in asked] == [[2, 7]]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_threshold_is_compared_with_the_scores_as_they_are(columns: Engine, dtype: str, share: float) -> None:
    with np.errstate(divide="ignore"):
        cuts = {"logits": np.log(share) - np.log1p(-share), "log_probabilities": np.log(share), "probabilities": share}
    for kind, cut in cuts.items():
        near = np.nextafter(np.full(5, cut, dtype), np.array([-np.inf, -9, 0, 9, np.inf], dtype))
        near = np.clip(near, 0, 1) if kind == "probabilities" else np.minimum(near, 0) if "log_" in kind else near
        fields = {kind: near[:, None], "targets": np.ones((5, 1), int), "threshold": share}
        found = columns.compute(COLUMNS["multilabel"], fields).outputs["predicted_positives"]
        wanted = expected(next(o for o in COLUMNS["multilabel"].concrete if o.main.name == kind), fields)
        assert found.tolist() == wanted["predicted_positives"].tolist(), kind


def test_labels_are_counted(columns: Engine) -> None:
    fields = {
        "logits": np.array([[1, -1, 0, 5], [np.nan, -1, 2, 2], [9, 9, 9, 9]], np.float32),
        "targets": np.array([[1, 1, 0, IGNORED], [0, 0, 1, 1], [IGNORED] * 4]),
    }
    result = columns.compute(COLUMNS["multilabel"], fields)
    assert result.outputs["labels"].tolist() == [3, 4, 0]
    assert result.outputs["positives"].tolist() == [2, 2, 0]
    assert result.outputs["predicted_positives"].tolist() == [2, 3, 0]
    assert result.outputs["true_positives"].tolist() == [1, 2, 0]
    assert np.isnan(result.outputs["loss"]).tolist() == [False, True, False]
    assert result.outputs["loss"][2] == 0
    assert result.totals == {"count": 2, "ignored": 1}
    assert result.loss is None


@pytest.mark.parametrize("union", COLUMNS.values(), ids=lambda union: union.name)
def test_examples_are_true(columns: Engine, union: Measure) -> None:
    for measure, example in zip(union.concrete, union.examples, strict=True):
        assert measure.examples == (example,)
        fields = {n: np.asarray(v, np.int64 if n == "targets" else np.float64) for n, v in example.fields.items()}
        values = columns.compute(union, fields).outputs["loss"].ravel()
        assert values.tolist() == pytest.approx(example.per_sample, rel=1e-12)
        assert np.mean(values) == pytest.approx(example.loss, rel=1e-12)


def test_no_classes_and_no_samples(columns: Engine, concrete: Measure) -> None:
    fields = batch(concrete, np.random.default_rng(1), 0, 3)
    assert all(values.size == 0 for values in columns.compute(concrete, fields).outputs.values())
    if not concrete.over_classes or concrete.main.name == "probabilities":
        return
    fields = batch(concrete, np.random.default_rng(1), 2, 3)
    name, rows = concrete.main.name, "labels" in concrete.main.dims
    fields[name] = fields[name][..., :0]
    fields["targets"] = fields["targets"][:, :0] if rows else np.full_like(fields["targets"], IGNORED)
    result = columns.compute(concrete, fields)
    for column, values in result.outputs.items():
        assert (values == (-1 if column in ("predicted", "rank") else 0)).all()
        assert values.size == 2
    assert result.totals == {"count": 0, "ignored": 2}


def test_classes_of_tokens_may_stand_anywhere(columns: Engine) -> None:
    rng = np.random.default_rng(5)
    for measure in COLUMNS["tokens"].concrete:
        fields = batch(measure, rng, 35, 6)
        fields = {
            measure.main.name: fields[measure.main.name].reshape(5, 7, 6),
            "targets": fields["targets"].reshape(5, 7),
        }
        plain = columns.compute(measure, fields).outputs
        for axis in (0, 1, 2, -2):
            moved = {**fields, measure.main.name: np.moveaxis(fields[measure.main.name], -1, axis), "class_axis": axis}
            found = columns.compute(measure, moved).outputs
            assert {n: v.tobytes() for n, v in found.items()} == {n: v.tobytes() for n, v in plain.items()}


def test_targets_may_be_booleans(columns: Engine) -> None:
    for name in ("binary", "multilabel"):
        for measure in COLUMNS[name].concrete:
            fields = batch(measure, np.random.default_rng(7), 9, 3)
            whole = np.maximum(fields["targets"], 0)
            plain, flags = (
                columns.compute(measure, {**fields, "targets": targets}).outputs for targets in (whole, whole == 1)
            )
            assert {n: v.tobytes() for n, v in flags.items()} == {n: v.tobytes() for n, v in plain.items()}
    assert IndexOf("labels", "ignore_index", 2).check("t", np.array([True, False]), {"ignore_index": -100}) is None


def test_halves_are_widened(columns: Engine, concrete: Measure) -> None:
    fields = batch(concrete, np.random.default_rng(8), 300, 40)
    halves = fields[concrete.main.name].astype(np.float16)
    if concrete.main.row_axis == "classes" and concrete.main.name == "probabilities":
        halves = np.full_like(halves, 1 / 40)
    narrow = columns.compute(concrete, {**fields, concrete.main.name: halves}).outputs
    wide = columns.compute(concrete, {**fields, concrete.main.name: halves.astype(np.float32)}).outputs
    assert {n: v.tobytes() for n, v in narrow.items()} == {n: v.tobytes() for n, v in wide.items()}
