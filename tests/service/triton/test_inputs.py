"""What may be sent: types, shapes, options, numbers that are not finite."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from core.declare import Kind, Measure
from core.engine import Engine
from core.measures import find
from tests.service.bodies import INTEGERS, LOGITS
from tests.service.triton.requests import (
    FLOATS,
    FORMS,
    Array,
    asked,
    by_hand,
    check,
    computed,
    random_fields,
    tensors,
)


@pytest.mark.parametrize("datatype", FLOATS)
def test_every_float_type_is_taken(triton: Any, engine: Engine, measure: Measure, datatype: str) -> None:
    kinds = {tensor.name: tensor.kind for tensor in measure.tensors}
    fields: dict[str, Any] = {
        name: array.astype(FLOATS[datatype]) if kinds[name] is Kind.FLOAT else array
        for name, array in random_fields(measure, dtype="float64").items()
    }
    more = {"normalize": True} if measure.name == "distribution_cross_entropy" else {}  # halves sum to 1 hardly ever
    wanted = computed(engine, measure.name, fields | more)
    assert wanted["loss"].dtype == ("float64" if datatype == "FP64" else "float32")
    for sent, back in FORMS:
        if sent or datatype != "BF16":  # which the client sends as bytes alone
            made = tensors(fields, binary=sent)
            assert made[0].datatype() == datatype
            check(
                triton.infer(measure.name, made, outputs=asked(wanted, binary=back), parameters=more),
                wanted,
                binary=back,
            )


def test_bfloat16_is_taken_as_json_too(address: str) -> None:
    def outputs(*data: float) -> Any:
        return by_hand(address, "cross_entropy", {"logits": ("BF16", [data]), "targets": ("UINT8", [0])})

    assert outputs(1.0078125, -2.5) == outputs(1.008, -2.501)  # rounded
    assert outputs(1.0078125, -2.5) != outputs(1.015625, -2.5)


def test_float_types_are_promoted_and_weights_follow(triton: Any, engine: Engine) -> None:
    single = {"logits": LOGITS, "targets": np.full((2, 3), 0.1, np.float32), "weight": np.array([0.1, 0.2, 0.7])}
    double = single | {"targets": np.full((2, 3), 0.1)}
    for fields, dtype in ((single, "float32"), (double, "float64")):
        wanted = computed(engine, "soft_cross_entropy", fields)
        assert wanted["per_sample"].dtype == dtype
        for binary in (True, False):
            check(triton.infer("soft_cross_entropy", tensors(fields, binary=binary)), wanted)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_every_integer_type_is_a_class_index(triton: Any, engine: Engine, name: str, dtype: str) -> None:
    main = find(name).main.name
    wanted = computed(engine, name, {main: LOGITS, "targets": np.array([0, 1])})
    for binary in (True, False):
        made = tensors({main: LOGITS, "targets": np.array([0, 1]).astype(dtype)}, binary=binary)
        assert made[1].datatype() == dtype.upper()
        check(triton.infer(name, made), wanted)


def test_optional_inputs_may_be_left_out(triton: Any, engine: Engine, measure: Measure) -> None:
    fields = random_fields(measure)
    optional = [tensor.name for tensor in measure.tensors if not tensor.required]
    for left_out in product((True, False), repeat=len(optional)):
        without = {name for name, out in zip(optional, left_out, strict=True) if out}
        kept = {name: array for name, array in reversed(fields.items()) if name not in without}
        check(triton.infer(measure.name, tensors(kept)), computed(engine, measure.name, kept))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cross_entropy", {"reduction": "sum"}),
        ("cross_entropy", {"reduction": "none"}),
        ("cross_entropy", {"label_smoothing": 0.25, "ignore_index": 2}),
        ("cross_entropy", {"label_smoothing": 1}),
        ("soft_cross_entropy", {"label_smoothing": 0.1, "reduction": "none"}),
        ("nll_loss", {"ignore_index": 0, "reduction": "sum"}),
        ("binary_cross_entropy", {"reduction": "sum"}),
        ("binary_cross_entropy_with_logits", {"reduction": "none"}),
        ("kl_div", {"reduction": "batchmean", "log_target": True}),
        ("kl_div", {"log_target": True}),
        ("distribution_cross_entropy", {"base": "2"}),
        ("distribution_cross_entropy", {"base": "10", "reduction": "sum"}),
        ("distribution_cross_entropy", {"base": "2", "reduction": "none"}),
    ],
)
def test_options_and_choices_are_parameters(triton: Any, engine: Engine, name: str, parameters: dict[str, Any]) -> None:
    fields = random_fields(find(name))
    wanted = computed(engine, name, fields | parameters)
    plain = computed(engine, name, fields)
    assert {key: array.tobytes() for key, array in wanted.items()} != {k: array.tobytes() for k, array in plain.items()}
    for sent, back in FORMS:
        answer = triton.infer(
            name, tensors(fields, binary=sent), outputs=asked(wanted, binary=back), parameters=parameters
        )
        check(answer, wanted, binary=back)
        check(triton.infer(name, tensors(fields, binary=sent), parameters=parameters), wanted)


def test_batchmean_divides_by_the_size_of_the_first_axis(triton: Any) -> None:
    fields = {"log_probabilities": np.full((2, 4), -3.0), "targets": np.ones((2, 4))}
    answer = triton.infer("kl_div", tensors(fields), parameters={"reduction": "batchmean"})
    assert answer.as_numpy("loss").tolist() == [12.0]
    assert answer.as_numpy("weight").tolist() == [2.0]


def test_normalize_divides_by_the_sums(triton: Any, engine: Engine) -> None:
    p, q = np.array([[0.5, 0.25], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    wanted = computed(engine, "distribution_cross_entropy", {"p": p / p.sum(1, keepdims=True), "q": q})
    made, name = tensors({"p": p * 4, "q": q * 2}), "distribution_cross_entropy"
    check(triton.infer(name, made, parameters={"normalize": True}), wanted)
    with pytest.raises(InferenceServerException, match="p\\[0\\] sums to 3"):
        triton.infer(name, made, parameters={"normalize": False})


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 5, 3, 4), 1), ((2, 3, 4, 5), -1), ((2, 3, 5), 2), ((5, 2), 0), ((2, 1, 5, 1, 2), -3)]
)
def test_more_axes_and_another_class_axis_are_taken(
    triton: Any, engine: Engine, shape: tuple[int, ...], axis: int
) -> None:
    rng = np.random.default_rng(2)
    logits, soft = rng.normal(size=shape).astype(np.float32), rng.random(shape, np.float32)
    hard = rng.integers(0, 5, np.delete(shape, axis))
    for name, targets in (("cross_entropy", hard), ("soft_cross_entropy", soft)):
        fields = {"logits": logits, "targets": targets}
        wanted = computed(engine, name, fields | {"class_axis": axis})
        assert wanted["per_sample"].shape == hard.shape
        for sent, back in FORMS:
            answer = triton.infer(
                name,
                tensors(fields, binary=sent),
                outputs=asked(wanted, binary=back),
                parameters={"class_axis": axis},
            )
            check(answer, wanted, binary=back)


def test_elementwise_losses_take_any_axes_and_broadcast(triton: Any, engine: Engine) -> None:
    rng = np.random.default_rng(3)
    narrow, wide = (rng.random(shape, np.float32) for shape in ((2, 1, 3), (4, 1)))
    logits = np.broadcast_to(narrow, (2, 4, 3)).copy()
    batches: list[tuple[str, dict[str, Array]]] = [
        ("kl_div", {"log_probabilities": narrow, "targets": wide}),
        ("binary_cross_entropy_with_logits", {"logits": logits, "targets": logits**2, "pos_weight": wide}),
    ]
    for name, fields in batches:
        wanted = computed(engine, name, fields)
        assert wanted["per_sample"].shape == (2, 4, 3)
        check(triton.infer(name, tensors(fields)), wanted)


def test_an_empty_batch_is_a_batch(triton: Any, engine: Engine, measure: Measure) -> None:
    fields = {
        name: array[:0] if tensor.by_sample else array
        for (name, array), tensor in zip(random_fields(measure).items(), measure.tensors, strict=True)
    }
    wanted = computed(engine, measure.name, fields)
    assert wanted["per_sample"].shape == (0,)
    assert np.isnan(wanted["loss"])
    for sent, back in FORMS:
        made = tensors(fields, binary=sent)
        assert made[0].shape()[0] == 0
        check(triton.infer(measure.name, made, outputs=asked(wanted, binary=back)), wanted, binary=back)
        check(triton.infer(measure.name, made), wanted)
        check(
            triton.infer(measure.name, made, outputs=asked({"per_sample": 0}, binary=back)),
            {"per_sample": wanted["per_sample"]},
            binary=back,
        )


def test_one_sample_without_a_batch_is_answered_without_axes(triton: Any, engine: Engine, measure: Measure) -> None:
    fields = {
        name: array[0] if tensor.by_sample else array
        for (name, array), tensor in zip(random_fields(measure).items(), measure.tensors, strict=True)
    }
    fields = {name: np.asarray(array) for name, array in fields.items()}
    wanted = computed(engine, measure.name, fields)
    assert wanted["per_sample"].shape == ()
    for sent, back in FORMS:
        answer = triton.infer(measure.name, tensors(fields, binary=sent), outputs=asked(wanted, binary=back))
        check(answer, wanted, binary=back)
        assert answer.get_output("per_sample")["shape"] == []


def test_numbers_that_are_not_finite_go_in_and_out(triton: Any) -> None:
    array = np.array([np.nan, np.inf, -np.inf, 1.5, -0.0], np.float32)
    fields = {"log_probabilities": array, "targets": np.ones_like(array)}
    for (sent, back), dtype in product(FORMS, ("float32", "float64")):
        made = tensors({name: value.astype(dtype) for name, value in fields.items()}, binary=sent)
        answer = triton.infer("kl_div", made, outputs=asked({"loss": 0, "per_sample": 0, "sum": 0}, binary=back))
        want = {
            "loss": np.array([np.nan], dtype),
            "per_sample": np.array([np.nan, -np.inf, np.inf, -1.5, 0.0], dtype),
            "sum": np.array([np.nan]),
        }
        check(answer, want, binary=back)


def test_an_infinite_loss_is_no_nan(triton: Any) -> None:
    fields = {"p": np.array([[0.5, 0.5]]), "q": np.array([[1.0, 0.0]])}
    for back in (True, False):
        answer = triton.infer("distribution_cross_entropy", tensors(fields), outputs=asked({"loss": 0}, binary=back))
        check(answer, {"loss": np.array([np.inf])}, binary=back)


def test_numbers_that_are_not_finite_may_be_words(address: str) -> None:
    for data in (["NaN", "Infinity", "-Infinity", 2], [np.nan, np.inf, -np.inf, 2]):
        given = {"log_probabilities": ("FP32", data), "targets": ("FP32", [1] * 4)}
        outputs, _ = by_hand(address, "kl_div", given, outputs=[{"name": "per_sample"}])
        assert outputs[0]["data"] == ["NaN", "-Infinity", "Infinity", -2.0]
