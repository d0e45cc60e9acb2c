"""The engine answers what PyTorch answers, to random requests: from a file, and live where PyTorch is installed.

Deliberate differences, and no others (tests.oracle.compare.is_exception, and the tests below):

- PyTorch wants exact types; here targets are of any integer type, and floats of different sizes are promoted.
- label_smoothing below 0 or NaN is refused; PyTorch takes it for 0.
- ignore_index of soft targets is refused; PyTorch takes any negative one and does nothing with it.
- Halves are computed and answered in float32.
- A sum that passes the largest number on its way is the true sum, or mean; PyTorch's is infinite or NaN, by the order.
- The mean under smoothing of weights that add up to 0 is NaN; PyTorch's is NaN or infinite, by the signs.
"""

import os
import secrets
from dataclasses import replace

import numpy as np
import pytest

from core.engine import Engine
from core.errors import InvalidInput
from core.measures import find
from tests.oracle import golden
from tests.oracle.cases import IN_TORCH, Case, random_cases
from tests.oracle.compare import TOLERANCE, answer, close, difference


def test_golden_answers(engine: Engine) -> None:
    seen: dict[str, int] = {}
    refusals = 0
    for case, per_sample, loss, refused in golden.read():
        assert not difference(case, answer(engine, case), per_sample, loss, refused), case
        seen[case.measure] = seen.get(case.measure, 0) + 1
        refusals += bool(refused)
    assert set(seen) == set(IN_TORCH)
    assert min(seen.values()) > 250
    assert refusals > 50


@pytest.mark.oracle
def test_live_answers(engine: Engine) -> None:
    torch_oracle = pytest.importorskip("tests.oracle.torch_oracle", reason="PyTorch is not installed: make oracle")
    seed = int(os.environ.get("ORACLE_SEED", secrets.randbits(32)))
    count = int(os.environ.get("ORACLE_CASES", "30000"))
    print(f"\n{count} cases, ORACLE_SEED={seed}")
    refusals = 0
    for number, case in enumerate(random_cases(seed, count)):
        theirs = torch_oracle.ask(case)
        refusals += bool(theirs.refused)
        wrong = difference(case, answer(engine, case), theirs.per_sample, theirs.loss, theirs.refused)
        if wrong:
            sizes = {name: getattr(value, "shape", value) for name, value in case.fields.items()}
            pytest.fail(f"case {number} of ORACLE_SEED={seed}, {case.measure} {sizes}: {wrong}")
    assert 0 < refusals < count / 5


@pytest.mark.oracle
def test_live_answers_of_distributions(engine: Engine) -> None:
    torch_oracle = pytest.importorskip("tests.oracle.torch_oracle", reason="PyTorch is not installed: make oracle")
    seed = int(os.environ.get("ORACLE_SEED", secrets.randbits(32)))
    print(f"\n3000 distributions, ORACLE_SEED={seed}")
    rng = np.random.default_rng(seed)
    for number in range(3000):
        shape = tuple(int(n) for n in rng.choice([1, 2, 3, 10, 33], rng.integers(1, 3)))
        dtype, base = str(rng.choice(["float32", "float64"])), str(rng.choice(["e", "2", "10"]))
        normalize = bool(rng.random() < 0.4)
        rows = [rng.random(shape) * (rng.random(shape) > rng.choice([0.0, 0.3])) + 0.0 for _ in "pq"]
        for values in rows:
            values[..., 0] += 1e-3  # no row of zeros
            values *= rng.choice([1.0, 1e-20, 1e20]) if normalize else 1 / values.sum(-1, keepdims=True)
        p, q = (values.astype(dtype) for values in rows)
        found = engine.compute(
            find("distribution_cross_entropy"), {"p": p, "q": q, "base": base, "normalize": normalize}
        )
        for name, expected in torch_oracle.distributions(p, q, base, normalize).items():
            case = (number, seed, name, shape, dtype, base, normalize)
            assert found.outputs[name].shape == expected.shape, case
            assert close(found.outputs[name], expected, *TOLERANCE[dtype]), case


def test_a_difference_is_seen(engine: Engine) -> None:
    """The comparison itself: it must not be blind to a last digit, a NaN, an infinity, a shape or a refusal."""
    case = Case("cross_entropy", {"logits": np.array([[1.0, 2.0], [3.0, 1.0]]), "targets": np.array([0, 1])})
    found = answer(engine, case)
    assert not isinstance(found, InvalidInput)
    right, loss = found.outputs["per_sample"], float(found.loss or 0)
    assert not difference(case, found, right, loss, "")
    assert difference(case, found, right + 4e-7, loss, "")
    assert difference(case, found, right, loss + 1e-6, "")
    assert difference(case, found, np.where(right > 2, np.nan, right), loss, "")
    assert difference(case, found, np.where(right > 2, np.inf, right), loss, "")
    assert difference(case, found, right[:1], loss, "")
    assert difference(case, found, right, loss, "refused")
    assert difference(case, InvalidInput([]), right, loss, "")
    heavy = Case("cross_entropy", case.fields | {"targets": np.array([1, 1]), "weight": np.array([1e10, 1.0])})
    found = answer(engine, heavy)
    assert not isinstance(found, InvalidInput)
    right, loss = found.outputs["per_sample"], float(found.loss or 0)
    assert not difference(heavy, found, right, loss, "")
    assert difference(heavy, found, right + 1e-6, loss, "")
    assert difference(heavy, found, right, loss + 1e-6, "")


@pytest.mark.parametrize(
    ("reduction", "values", "theirs", "right", "wrong"),
    [
        ("sum", [1e308, 1e308, -1e308], np.inf, 1e308, 1.1e308),
        ("sum", [1e308, 1e308, -1e308], np.nan, 1e308, np.inf),
        ("sum", [-1e308, -1e308, np.inf], np.nan, np.inf, -np.inf),
        ("sum", [1e308, 1e308], np.inf, np.inf, -np.inf),
        ("mean", [1e308, 1e308, -1e308], np.inf, 1e308 / 3, 1e307),
        ("mean", [-1e308, -1e308, 1e300], np.nan, -np.inf, 1e307),
    ],
)
def test_a_sum_that_overflows_on_its_way_must_be_the_true_one(
    engine: Engine, reduction: str, values: list[float], theirs: float, right: float, wrong: float
) -> None:
    """PyTorch's is infinite or NaN, by the order; the comparison lets nothing else through than the truth."""
    fields = {"log_probabilities": -np.array(values), "targets": np.ones(len(values)), "reduction": reduction}
    case = Case("kl_div", fields)
    found = answer(engine, case)
    assert not isinstance(found, InvalidInput)
    assert found.outputs["per_sample"].tolist() == values
    assert found.loss == right
    assert not difference(case, found, np.array(values), theirs, "")
    assert difference(case, replace(found, loss=np.float64(wrong)), np.array(values), theirs, "")


@pytest.mark.parametrize("smoothing", [-0.1, float("nan")])
def test_smoothing_below_zero_or_nan_is_refused(engine: Engine, smoothing: float) -> None:
    fields = {"logits": np.zeros((2, 3)), "targets": np.array([0, 1]), "label_smoothing": smoothing}
    assert isinstance(answer(engine, Case("cross_entropy", fields)), InvalidInput)


def test_ignore_index_of_soft_targets_is_refused(engine: Engine) -> None:
    fields = {"logits": np.zeros((2, 3)), "targets": np.zeros((2, 3)), "ignore_index": -100}
    assert isinstance(answer(engine, Case("soft_cross_entropy", fields)), InvalidInput)


def test_a_mean_whose_float32_sum_overflows_is_the_true_mean(engine: Engine) -> None:
    logits = np.tile(np.array([1e38, 0, -1e38], np.float32), (4, 1))
    result = engine.compute(find("cross_entropy"), {"logits": logits, "targets": np.full(4, 2)})
    assert result.loss == np.float32(2e38)


def test_the_smoothed_mean_of_no_weight_is_nan(engine: Engine) -> None:
    weight = np.array([0.0, 1.0], np.float32)
    fields = {"logits": np.zeros((1, 2), np.float32), "targets": np.array([0]), "weight": weight}
    result = engine.compute(find("cross_entropy"), {**fields, "label_smoothing": 0.5})
    assert result.totals["sum"] > 0
    assert result.loss is not None
    assert np.isnan(result.loss)
