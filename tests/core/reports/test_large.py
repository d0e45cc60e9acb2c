"""Beyond what fits into exact histograms: values are within what the report says, and merging changes nothing."""

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core.engine import Engine
from core.reports.columns import COLUMNS
from core.reports.report import report
from core.reports.storage import write
from tests.core.reports.cases import Array, Rng, answer

SIZE, SHARDS = 2_000_000, 20


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=2)
    yield made
    made.close()


def continuous(rng: Rng) -> tuple[str, Array, Array]:
    scores = rng.random(SIZE, np.float32)
    return "probabilities", scores, (rng.random(SIZE) < scores).astype(np.int64)


def gaussian(rng: Rng) -> tuple[str, Array, Array]:
    targets = (rng.random(SIZE) < 0.3).astype(np.int64)
    return "logits", (rng.standard_normal(SIZE, np.float32) + targets).astype(np.float32), targets


def saturated(rng: Rng) -> tuple[str, Array, Array]:
    """Most probabilities are 0 or 1 in float32."""
    targets = (rng.random(SIZE) < 0.5).astype(np.int64)
    sides = np.where(rng.random(SIZE) < 0.9, targets, 1 - targets) * 40 - 20
    return "logits", (sides + 8 * rng.standard_normal(SIZE)).astype(np.float32), targets


@pytest.mark.parametrize("make", [continuous, gaussian, saturated])
def test_two_million_scores(columns: Engine, make: Callable[[Rng], tuple[str, Array, Array]]) -> None:
    kind, scores, targets = make(np.random.default_rng(8))
    assert len(np.unique(scores)) > 2**16
    size = SIZE // SHARDS
    states = [
        answer(columns, "binary", {kind: scores[at : at + size], "targets": targets[at : at + size], "shard": "a"}, at)
        for at in range(0, SIZE, size)
    ]
    merged = reduce(add, (one.state for one in states[1:]), states[0].state)
    backwards = reduce(add, (one.state for one in reversed(states[:-1])), states[-1].state)
    whole = answer(columns, "binary", {kind: scores, "targets": targets, "shard": "a"})
    assert write(merged) == write(backwards) == write(whole.state)

    document = report(merged)
    found = document["metrics"]["auroc"]
    off = abs(found["value"] - roc_auc_score(targets, scores))
    print(f"{make.__name__}: off by {off:.1e}, bound {found['bound']:.1e}")
    assert off <= found["bound"] < 5e-5  # that every pair within a key may be the wrong way round
    assert off < 1e-6  # as many are one way as the other
    assert found["interval"][0] < found["value"] - found["bound"]

    losses = whole.samples["loss"]
    for one in document["histogram"]["loss"]["quantiles"]:
        value = np.quantile(losses, one["share"], method="inverted_cdf")
        low, high = one["interval"]
        assert low <= value <= high
        assert high - low <= 2e-2 * high


def test_quantiles_of_two_hundred_thousand_losses(columns: Engine) -> None:
    """Of weighted samples of several classes, in float32 and float64."""
    rng = np.random.default_rng(9)
    logits, targets = rng.normal(size=(200_000, 3)) * 4, rng.integers(0, 3, 200_000)
    weight = rng.integers(0, 4, 200_000).astype(np.float64)
    for dtype in ("float32", "float64"):
        fields = {"logits": logits.astype(dtype), "targets": targets, "sample_weight": weight}
        found = answer(columns, "multiclass", fields)
        losses = np.repeat(found.samples["loss"].astype(np.float32), weight.astype(np.int64))
        for one in found.document["histogram"]["loss"]["quantiles"]:
            low, high = one["interval"]
            assert low <= np.quantile(losses, one["share"], method="inverted_cdf") <= high
