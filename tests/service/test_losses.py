"""POST /v1/losses/{name}: the numbers, shapes, reductions and totals of a batch."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from core.declare import Measure
from tests import inputs
from tests.service.conftest import ask, b64

TOLERANCE = {"float32": 1e-6, "float64": 1e-13}
TWO = {"logits": [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], "targets": [0, 2]}
ONE_EACH = np.array([0.24131129665715706, 1.001942848229244])


def log_softmax(logits: NDArray[Any], axis: int) -> NDArray[Any]:
    found: NDArray[Any] = logits - np.log(np.exp(logits).sum(axis=axis, keepdims=True))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worked_examples_answer_their_numbers(client: TestClient, measure: Measure, dtype: str) -> None:
    assert measure.examples
    for example in measure.examples:
        found = ask(client, measure.name, example.fields, dtype=dtype)
        close: Any = {"rel": TOLERANCE[dtype], "abs": TOLERANCE[dtype]}
        assert found["loss"] == pytest.approx(example.loss, **close)
        assert np.ravel(found["per_sample"]) == pytest.approx(np.ravel(example.per_sample), **close)
        assert found["dtype"] == dtype
        assert found["reduction"] == example.fields.get("reduction", "mean")


def test_answer_has_the_members_and_order_of_the_contract(client: TestClient) -> None:
    found = ask(client, "cross_entropy", TWO)
    assert list(found) == ["loss", "reduction", "per_sample", "totals", "dtype"]
    assert list(found["totals"]) == ["sum", "weight", "count", "ignored"]


def test_float32_numbers_are_written_in_their_shortest_text(client: TestClient) -> None:
    found = ask(client, "cross_entropy", TWO)
    for value in [found["loss"], *found["per_sample"]]:
        assert str(value) == str(np.float32(value))


def test_mean_sum_and_none(client: TestClient) -> None:
    weighted = TWO | {"weight": [1, 1, 2]}
    total = 0.24131129665715706 + 2.003885696458488
    for reduction, loss in (("mean", total / 3), ("sum", total), ("none", None)):
        found = ask(client, "cross_entropy", weighted, reduction=reduction, dtype="float64")
        assert found["loss"] == (None if loss is None else pytest.approx(loss, rel=1e-14))
        assert found["reduction"] == reduction
        assert found["totals"] == {"sum": pytest.approx(total, rel=1e-14), "weight": 3.0, "count": 2, "ignored": 0}


def test_batchmean_divides_by_the_batch_size(client: TestClient) -> None:
    fields = {"log_probabilities": np.log(np.full((2, 4), 0.25)).tolist(), "targets": [[1.0, 0, 0, 0], [0, 1.0, 0, 0]]}
    found = ask(client, "kl_div", fields, reduction="batchmean", dtype="float64")
    assert found["loss"] == pytest.approx(math.log(4), rel=1e-14)
    assert found["totals"]["weight"] == 2.0
    assert found["totals"]["count"] == 8


def test_only_kl_div_takes_batchmean(client: TestClient) -> None:
    response = client.post("/v1/losses/cross_entropy", json=TWO | {"reduction": "batchmean"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/reduction"


def test_per_sample_false_leaves_out_every_per_sample_array(client: TestClient, measure: Measure) -> None:
    fields = measure.examples[0].fields
    whole, short = ask(client, measure.name, fields), ask(client, measure.name, fields, per_sample=False)
    assert short == {name: value for name, value in whole.items() if name not in measure.outputs}


def test_ignored_samples_count_apart_and_weigh_nothing(client: TestClient) -> None:
    fields = {"logits": [[0.0, 0.0], [3.0, 1.0], [0.0, 0.0]], "targets": [1, 7, 0], "ignore_index": 7}
    for name, main in (("cross_entropy", "logits"), ("nll_loss", "log_probabilities")):
        found = ask(client, name, {main: fields["logits"], "targets": [1, 7, 0], "ignore_index": 7})
        assert found["per_sample"][1] == 0.0
        assert found["totals"]["count"] == 2
        assert found["totals"]["ignored"] == 1
        assert found["totals"]["weight"] == 2.0


def test_ignore_index_may_be_a_class(client: TestClient) -> None:
    found = ask(client, "cross_entropy", TWO, ignore_index=2, dtype="float64")
    assert found["per_sample"] == pytest.approx([ONE_EACH[0], 0.0], rel=1e-14)
    assert found["loss"] == pytest.approx(ONE_EACH[0], rel=1e-14)


def test_per_sample_of_one_unbatched_sample_is_a_plain_number(client: TestClient) -> None:
    for targets in (0, [0]):
        for axis in (1, 0, -1, 5):
            fields = {"logits": [2.0, 0.5, -1.0], "targets": targets, "class_axis": axis}
            found = ask(client, "cross_entropy", fields, dtype="float64")
            assert found["per_sample"] == pytest.approx(ONE_EACH[0], rel=1e-14)
            assert found["totals"]["count"] == 1


def test_a_scalar_is_an_array_without_axes_to_an_elementwise_loss(client: TestClient) -> None:
    found = ask(client, "binary_cross_entropy_with_logits", {"logits": 0, "targets": 1}, dtype="float64")
    assert found["per_sample"] == pytest.approx(math.log(2), rel=1e-15)


def test_per_sample_has_the_shape_of_the_targets_for_more_axes(client: TestClient) -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(2, 5, 3, 4)), rng.integers(0, 5, (2, 3, 4))
    wanted = -np.take_along_axis(log_softmax(logits, 1), targets[:, None], 1)[:, 0]
    found = ask(client, "cross_entropy", {"logits": b64(logits), "targets": targets.tolist()})
    assert np.asarray(found["per_sample"]) == pytest.approx(wanted, rel=1e-12)
    assert np.shape(found["per_sample"]) == targets.shape


@pytest.mark.parametrize("axis", [-1, 2])
def test_the_class_axis_may_be_the_last(client: TestClient, axis: int) -> None:
    rng = np.random.default_rng(2)
    logits, targets = rng.normal(size=(2, 3, 7)), rng.integers(0, 7, (2, 3))
    wanted = -np.take_along_axis(log_softmax(logits, 2), targets[..., None], 2)[..., 0]
    fields = {"logits": logits.tolist(), "targets": targets.tolist(), "class_axis": axis}
    found = ask(client, "cross_entropy", fields, dtype="float64")
    assert np.asarray(found["per_sample"]) == pytest.approx(wanted, rel=1e-12)
    assert found["loss"] == pytest.approx(wanted.mean(), rel=1e-12)


def test_soft_targets_drop_the_class_axis(client: TestClient) -> None:
    logits, targets = np.zeros((2, 3, 5)), np.full((2, 3, 5), 0.2)
    fields = {"logits": logits.tolist(), "targets": targets.tolist(), "class_axis": 2}
    found = ask(client, "soft_cross_entropy", fields, dtype="float64")
    assert np.asarray(found["per_sample"]) == pytest.approx(np.full((2, 3), math.log(5)), rel=1e-14)


def test_elementwise_per_sample_has_the_shape_of_the_input(client: TestClient) -> None:
    fields = {"probabilities": np.full((2, 1, 3), 0.5).tolist(), "targets": np.ones((2, 1, 3)).tolist()}
    found = ask(client, "binary_cross_entropy", fields, weight=[1, 2, 3])
    assert np.shape(found["per_sample"]) == (2, 1, 3)
    assert found["totals"]["count"] == 6


def test_kl_div_broadcasts_either_way(client: TestClient) -> None:
    fields = {"log_probabilities": [[0.0], [-1.0]], "targets": [1.0, 0.5, 0.25]}
    found = ask(client, "kl_div", fields, dtype="float64")
    targets, log_p = np.array([1.0, 0.5, 0.25]), np.array([[0.0], [-1.0]])
    wanted = targets * (np.log(targets) - log_p)
    assert np.asarray(found["per_sample"]) == pytest.approx(wanted, rel=1e-14)
    assert found["totals"]["count"] == 6


def test_distribution_cross_entropy_reduces_its_parts(client: TestClient) -> None:
    fields = {"p": [[0.5, 0.5], [1.0, 0.0]], "q": [[0.75, 0.25], [0.5, 0.5]], "base": "2"}
    cross, entropy = np.array([1.207518749639422, 1.0]), np.array([1.0, 0.0])
    for reduction, reduce in (("mean", np.mean), ("sum", np.sum)):
        found = ask(client, "distribution_cross_entropy", fields, reduction=reduction, dtype="float64")
        assert found["per_sample"] == pytest.approx(cross, abs=1e-14)
        assert found["entropy"] == pytest.approx(entropy, abs=1e-14)
        assert found["kl_divergence"] == pytest.approx(cross - entropy, abs=1e-14)
        assert found["loss"] == pytest.approx(reduce(cross), abs=1e-14)
        assert found["reduced"]["entropy"] == pytest.approx(reduce(entropy), abs=1e-14)
        assert found["reduced"]["kl_divergence"] == pytest.approx(reduce(cross - entropy), abs=1e-14)
        assert found["totals"]["sum_entropy"] == pytest.approx(entropy.sum(), abs=1e-14)
        assert found["totals"]["sum_kl_divergence"] == pytest.approx((cross - entropy).sum(), abs=1e-14)


def test_loss_is_sum_over_weight_for_every_measure(client: TestClient, measure: Measure) -> None:
    fields = inputs.request(measure, np.random.default_rng(3), samples=40, classes=6, dtype="float64")
    found = ask(client, measure.name, {name: b64(array) for name, array in fields.items()})
    totals = found["totals"]
    assert found["loss"] == totals["sum"] / totals["weight"]
    assert totals["sum"] == math.fsum(np.ravel(found["per_sample"]))
    assert totals["count"] == np.size(found["per_sample"])
