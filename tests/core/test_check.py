"""What is refused before any graph sees it, and the words of the refusal."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from core import arguments, check
from core.arguments import Arguments, Untyped
from core.check import prepare
from core.declare import Measure
from core.dtypes import BFLOAT16
from core.engine import Engine
from core.errors import InvalidInput
from core.measures import find
from core.rules import IndexOf
from tests import inputs

f32 = np.float32


def faults(measure: str, fields: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    """Where and why `fields` are refused."""
    with pytest.raises(InvalidInput) as refusal:
        prepare(find(measure), fields, **more)
    return [("/".join(map(str, fault.where)), fault.detail) for fault in refusal.value.faults]


def zeros(*shape: int) -> Any:
    return np.zeros(shape, f32)


def indices(*values: int) -> Any:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("measure", "fields", "where", "words"),
    [
        ("cross_entropy", {"logits": zeros(2, 3)}, "targets", "targets is missing, but must be an array of integers"),
        ("nll_loss", {"logits": zeros(2, 3)}, "logits", "logits is not known: nll_loss takes log_probabilities,"),
        ("cross_entropy", {"logits": np.zeros((2, 3), int)}, "logits", "logits is an array of int64, but must be"),
        (
            "cross_entropy",
            {"targets": np.zeros(2, BFLOAT16)},
            "targets",
            "targets is an array of bfloat16, but must be",
        ),
        ("cross_entropy", {"targets": zeros(2)}, "targets", "array of float32, but must be an array of integers"),
        ("cross_entropy", {"logits": [[1.0]]}, "logits", "logits is an array, but must be an array of floats"),
        ("cross_entropy", {"logits": zeros(2, 3).astype(complex)}, "logits", "array of complex128, but must be"),
        ("cross_entropy", {"targets": np.zeros(2, "datetime64[s]")}, "targets", "but must be an array of integers"),
        ("cross_entropy", {"targets": indices(0)}, "targets", "targets has shape (1,), but must have shape (2,)"),
        ("cross_entropy", {"targets": indices(0, 1, 2)[:, None]}, "targets", "without its class axis 1"),
        ("cross_entropy", {"targets": np.zeros((2, 3), int)}, "targets", "soft_cross_entropy takes class prob"),
        ("soft_cross_entropy", {"targets": zeros(2)}, "targets", "cross_entropy takes class indices"),
        ("cross_entropy", {"logits": zeros(), "targets": np.array(0)}, "logits", "must have one axis or more"),
        ("cross_entropy", {"logits": zeros(1), "targets": indices(0)}, "targets", "soft_cross_entropy takes"),
        ("cross_entropy", {"logits": zeros(1, 3), "targets": np.array(0)}, "targets", "must have shape (1,)"),
        ("cross_entropy", {"class_axis": 2}, "class_axis", "class_axis is 2, but must be in [-2, 2): logits has 2"),
        ("cross_entropy", {"class_axis": -3}, "class_axis", "class_axis is -3, but must be in [-2, 2)"),
        ("cross_entropy", {"class_axis": True}, "class_axis", "class_axis is true, but must be an integer"),
        ("cross_entropy", {"weight": zeros(2)}, "weight", "must have shape (3,): one value for each class of logits"),
        ("cross_entropy", {"weight": zeros(1, 3)}, "weight", "weight has shape (1, 3), but must have shape (3,)"),
        ("cross_entropy", {"reduction": "avg"}, "reduction", 'is "avg", but must be one of "mean", "sum", "none"'),
        ("cross_entropy", {"reduction": "batchmean"}, "reduction", 'must be one of "mean", "sum", "none"'),
        ("cross_entropy", {"reduction": None}, "reduction", "reduction is null, but must be one of"),
        ("cross_entropy", {"label_smoothing": 1.1}, "label_smoothing", "is 1.1, but must be between 0.0 and 1.0"),
        ("cross_entropy", {"label_smoothing": "0"}, "label_smoothing", 'is "0", but must be a number between'),
        ("cross_entropy", {"label_smoothing": True}, "label_smoothing", "is true, but must be a number"),
        ("cross_entropy", {"ignore_index": 0.5}, "ignore_index", "is 0.5, but must be a 64-bit integer"),
        ("cross_entropy", {"ignore_index": 2**63}, "ignore_index", "but must be a 64-bit integer"),
        (
            "cross_entropy",
            {"targets": indices(0, 3)},
            "targets/1",
            "targets[1] is 3, but must be a class index in [0, 3)",
        ),
        ("cross_entropy", {"targets": indices(0, -1)}, "targets/1", "[0, 3) or ignore_index -100"),
        ("cross_entropy", {"targets": indices(-100, 1), "ignore_index": -1}, "targets/0", "or ignore_index -1"),
        ("cross_entropy", {"targets": np.array([2**64 - 100, 0], np.uint64)}, "targets/0", "is 18446744073709551516"),
        ("cross_entropy", {"logits": zeros(1, 0), "targets": indices(0)}, "targets/0", "a class index in [0, 0)"),
        ("binary_cross_entropy", {"probabilities": zeros(2) + f32(1.5)}, "probabilities/0", "[0] is 1.5, but must"),
        ("binary_cross_entropy", {"probabilities": zeros(2) + np.nan}, "probabilities/0", "is NaN, but must"),
        ("binary_cross_entropy", {"targets": np.array([0, -np.inf], f32)}, "targets/1", "is -Infinity, but must be"),
        ("binary_cross_entropy", {"targets": zeros(2, 1)}, "targets", "must have that of probabilities, (2,)"),
        ("binary_cross_entropy", {"weight": zeros(3)}, "weight", "must broadcast to that of probabilities, (2,)"),
        ("binary_cross_entropy", {"weight": zeros(1, 2)}, "weight", "without enlarging it"),
        ("kl_div", {"targets": zeros(3)}, "targets", "must broadcast with that of log_probabilities, (2,)"),
        ("kl_div", {"log_target": 1}, "log_target", "log_target is 1, but must be true or false"),
        ("distribution_cross_entropy", {"p": zeros(2, 3)}, "p/0", "p[0] sums to 0.0, but must be a distribution"),
        ("distribution_cross_entropy", {"q": zeros(2, 3) - 1}, "q/0/0", "q[0, 0] is -1.0, but q must be a dist"),
        ("distribution_cross_entropy", {"p": zeros(2, 3), "normalize": True}, "p/0", "a finite sum above 0"),
        ("distribution_cross_entropy", {"p": zeros(2, 3, 1)}, "p", "p has shape (2, 3, 1), but must have 1 to 2 axes"),
        ("distribution_cross_entropy", {"base": "3"}, "base", 'base is "3", but must be one of "e", "2", "10"'),
    ],
)
def test_refusals_name_the_input_and_what_it_must_be(
    measure: str, fields: dict[str, Any], where: str, words: str
) -> None:
    third = zeros(2, 3) + f32(1 / 3)
    good: dict[str, dict[str, Any]] = {
        "cross_entropy": {"logits": zeros(2, 3), "targets": indices(0, 1)},
        "nll_loss": {"log_probabilities": zeros(2, 3), "targets": indices(0, 1)},
        "soft_cross_entropy": {"logits": zeros(2, 3), "targets": zeros(2, 3)},
        "binary_cross_entropy": {"probabilities": zeros(2), "targets": zeros(2)},
        "kl_div": {"log_probabilities": zeros(2), "targets": zeros(2)},
        "distribution_cross_entropy": {"p": third, "q": third},
    }
    base = good[measure]
    if words.startswith("targets is missing"):
        base = {}
    found_where, found = faults(measure, base | fields)[0]
    assert found_where == where
    assert words in found


def test_every_wrong_name_and_type_is_told_at_once() -> None:
    found = faults("cross_entropy", {"logit": 1, "targets": zeros(2), "reduction": "avg", "label_smoothing": None})
    assert [where for where, _ in found] == ["logit", "logits", "targets", "label_smoothing", "reduction"]


def test_elements_are_limited_before_anything_is_broadcast() -> None:
    fields = {"log_probabilities": zeros(10**5, 1), "targets": zeros(1, 10**5)}
    (found,) = faults("kl_div", fields)
    assert found == ("", "the inputs broadcast to (100000, 100000), which has 10000000000 elements, but at most "
                         "1073741824 are allowed")  # fmt: skip
    (found,) = faults("kl_div", {"log_probabilities": zeros(7), "targets": zeros(7)}, max_elements=6)
    assert found == ("log_probabilities", "log_probabilities has 7 elements, but at most 6 are allowed")


def test_an_empty_list_says_no_number_of_classes(engine: Engine) -> None:
    nothing = Untyped(np.zeros(0))
    ((where, detail),) = faults("cross_entropy", {"logits": nothing, "targets": indices()})
    assert where == "logits"
    assert "send an empty batch as base64 or binary" in detail
    assert engine.compute(find("kl_div"), {"log_probabilities": nothing, "targets": nothing}).totals["count"] == 0


def test_numbers_that_float32_cannot_hold_are_refused(engine: Engine) -> None:
    large = Untyped(np.array([[0.0, 1e300]]))
    ((where, detail),) = faults("cross_entropy", {"logits": large, "targets": indices(0)})
    assert (where, detail) == ("logits/0/1", "logits[0, 1] is 1e+300, which float32 cannot hold: ask for float64")
    weight = np.array([1.0, 1e300])
    ((where, _),) = faults("cross_entropy", {"logits": zeros(1, 2), "targets": indices(0), "weight": weight})
    assert where == "weight/1"
    fields = {"logits": large, "targets": indices(0)}
    assert engine.compute(find("cross_entropy"), fields, dtype="float64").loss == 1e300
    infinite = {"logits": Untyped(np.array([[0.0, np.inf]])), "targets": indices(0)}
    assert np.isnan(engine.compute(find("cross_entropy"), infinite).totals["sum"])


@pytest.mark.parametrize(
    ("p", "q", "dtype", "expected"),
    [
        (np.float32, np.float32, "float64", "float32"),
        (np.float32, np.float64, "float32", "float64"),
        (np.float16, np.float16, "float64", "float32"),
        (np.float16, np.float64, "float32", "float64"),
        (Untyped, Untyped, "float32", "float32"),
        (Untyped, Untyped, "float64", "float64"),
        (Untyped, np.float64, "float32", "float64"),
        (np.float32, Untyped, "float64", "float32"),
    ],
)
def test_floats_are_promoted_and_lists_follow_the_arrays_beside_them(p: Any, q: Any, dtype: str, expected: str) -> None:
    values = np.array([[0.5, 0.5]])
    given = [kind(values) if kind is Untyped else values.astype(kind) for kind in (p, q)]
    batch = prepare(find("distribution_cross_entropy"), dict(zip("pq", given, strict=True)), dtype=dtype)
    assert batch.plan.dtype.name == expected


def test_weights_follow_but_a_typed_weight_types_the_lists_beside_it() -> None:
    weight = np.ones(2)
    logits, targets = zeros(1, 2), indices(0)
    typed = prepare(find("cross_entropy"), {"logits": logits, "targets": targets, "weight": weight})
    assert typed.plan.dtype == np.float32
    assert typed.shared["weight"].dtype == np.float32
    lists = prepare(find("cross_entropy"), {"logits": Untyped(np.zeros((1, 2))), "targets": targets, "weight": weight})
    assert lists.plan.dtype == np.float64


@pytest.mark.parametrize("samples", [1, 100_000])
@pytest.mark.parametrize("other", ["float16", "float32", "float64"])
def test_bfloat16_is_widened(engine: Engine, measure: Measure, samples: int, other: str) -> None:
    """Whatever is beside it, and long ones block by block."""
    fields = inputs.request(measure, np.random.default_rng(2), samples, 3)
    first = measure.main.name
    halves = fields[first].astype(ml_dtypes.bfloat16)
    fields = {name: array.astype(other) if array.dtype.kind == "f" else array for name, array in fields.items()}
    more = {"normalize": True} if measure.name == "distribution_cross_entropy" else {}
    same = engine.compute(measure, fields | more | {first: halves.astype(f32)})
    for given in (halves, halves.view(BFLOAT16), halves.astype(halves.dtype.newbyteorder(">"))):
        found = engine.compute(measure, fields | more | {first: given})
        assert found.totals == same.totals
        np.testing.assert_array_equal(found.outputs["per_sample"], same.outputs["per_sample"], strict=True)


def test_long_bfloat16_is_not_widened_as_a_whole() -> None:
    halves = np.zeros((2**15, 3), BFLOAT16)
    batch = prepare(find("cross_entropy"), {"logits": halves, "targets": np.zeros(2**15, int)})
    assert np.shares_memory(batch.arrays["logits"], halves)


def test_nothing_is_copied_that_need_not_be() -> None:
    """The layout is views: a class axis in the middle, a broadcast weight."""
    logits = zeros(2, 3, 4, 5)
    batch = prepare(find("cross_entropy"), {"logits": logits, "targets": np.zeros((2, 4, 5), int)})
    assert np.shares_memory(batch.arrays["logits"], logits)
    assert batch.arrays["logits"].shape == (2, 20, 3)
    weight = zeros(5)
    batch = prepare(find("binary_cross_entropy"), {"probabilities": logits, "targets": logits, "weight": weight})
    assert np.shares_memory(batch.arrays["weight"], weight)
    assert batch.arrays["weight"].strides[:3] == (0, 0, 0)


def test_a_request_like_one_before_is_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = arguments.parse

    def parse(measure: Measure, given: Mapping[str, Any]) -> Arguments:
        made.append(given)
        return real(measure, given)

    monkeypatch.setattr(check, "parse", parse)
    monkeypatch.setattr(check, "_plans", {})
    measure = find("cross_entropy")
    first, second = (
        prepare(measure, {"logits": zeros(3, 2), "targets": indices(*t)}) for t in ((0, 1, 0), (1, 1, -100))
    )
    assert len(made) == 1
    assert first.plan is second.plan
    assert (first.ignored, second.ignored) == (0, 1)
    assert second.arrays["targets"].tolist() == [1, 1, -100]
    with pytest.raises(InvalidInput, match=r"targets\[2\] is 7"):
        prepare(measure, {"logits": zeros(3, 2), "targets": indices(0, 0, 7)})
    assert len(made) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"ignore_index": 1.0},
        {"ignore_index": True},
        {"label_smoothing": True},
        {"label_smoothing": 2},
        {"targets": np.array([[0]])},
        {"targets": np.array([0.0])},
        {"logits": np.zeros((1, 3)), "targets": np.array([2])},
        {"class_axis": 1.0},
        {"class_axis": []},
        {"reduction": "no"},
        {"more": 1},
    ],
)
def test_a_plan_serves_only_what_it_was_made_for(other: dict[str, Any]) -> None:
    measure = find("cross_entropy")
    good = {"logits": zeros(1, 2), "targets": indices(0), "ignore_index": 1, "label_smoothing": 1, "class_axis": 1}
    for _ in range(2):
        assert prepare(measure, good).plan.samples == (1,)
        if "logits" in other:
            assert prepare(measure, good | other).plan.bound["classes"] == 3
            continue
        for _ in range(2):
            with pytest.raises(InvalidInput):
                prepare(measure, good | other)


def test_plans_are_forgotten_before_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_plans", {})
    for size in range(1, 3 * check.MOST_PLANS):
        prepare(find("kl_div"), {"log_probabilities": np.zeros(size), "targets": np.zeros(size)})
        assert len(check._plans) <= check.MOST_PLANS


@pytest.mark.parametrize(
    ("values", "ignore_index", "expected"),
    [
        ([0, 4], -100, True),
        ([0, 4], 5, True),
        ([0, 4], 3, False),
        ([0, 5], -100, False),
        ([-1, 0], -100, False),
        ([-100, 0], -100, False),
        ([-(2**63), 0], -100, False),
        ([], -100, False),
    ],
)
def test_indices_are_tested_in_one_pass(values: list[int], ignore_index: int, expected: bool) -> None:
    rule = IndexOf("classes", unless="ignore_index")
    bound = {"classes": 5, "ignore_index": ignore_index}
    assert rule.all_within(np.array(values, np.int64), bound) is expected
    assert not rule.all_within(np.array(values).astype(np.int32), bound)


def test_an_array_of_another_class_is_planned_as_any() -> None:
    class Mapped(np.ndarray[Any, Any]):
        pass

    fields = {"logits": zeros(1, 2).view(Mapped), "targets": indices(0)}
    assert prepare(find("cross_entropy"), fields).plan is prepare(find("cross_entropy"), fields).plan
