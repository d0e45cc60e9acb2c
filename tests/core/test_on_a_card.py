"""What only a card can show; each test says why it is skipped where there is none."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from core.declare import Measure
from core.engine import Engine
from core.errors import DeviceUnavailable, OutOfMemory
from core.exact import exact_sum
from core.measures import MEASURES, find
from core.on_device import compute
from core.reports.columns import COLUMNS
from tests import inputs
from tests.core.reports import scores
from tests.oracle import golden
from tests.oracle.compare import TOLERANCE, answer, close, difference


@pytest.fixture(scope="module")
def card() -> Iterator[Engine]:
    """An engine on a card."""
    try:
        made = Engine([*MEASURES.values(), *COLUMNS.values()], device="cuda")
    except DeviceUnavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_every_golden_case_has_pytorchs_values(card: Engine) -> None:
    wrong = [
        f"{case.measure} {case.fields}: {found}"
        for case, per_sample, loss, refused in golden.read()
        if (found := difference(case, answer(card, case), per_sample, loss, refused))
    ]
    assert not wrong


def test_every_node_runs_on_the_card(card: Engine) -> None:
    opened = [*card.sessions.opened.values(), *card.sessions.wideners.values()]
    assert all(set(card.sessions.placement(session)) == {"CUDAExecutionProvider"} for session in opened)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_are_the_cpus_but_for_rounding_and_sums_are_exact(
    card: Engine, engine: Engine, measure: Measure, dtype: str
) -> None:
    more = {"normalize": True} if measure.name == "distribution_cross_entropy" else {}
    fields = inputs.request(measure, np.random.default_rng(8), 5000, 1200 if measure.over_classes else 1, "float64")
    fields = {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in fields.items()}
    found, same = card.compute(measure, fields | more), engine.compute(measure, fields | more)
    assert close(found.outputs["per_sample"], same.outputs["per_sample"], *TOLERANCE[found.dtype.name])
    assert found.totals["sum"] == exact_sum(found.outputs["per_sample"].ravel())


@pytest.mark.parametrize("union", COLUMNS.values(), ids=lambda union: union.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_are_the_references(card: Engine, union: Measure, dtype: str) -> None:
    rng = np.random.default_rng(9)
    for measure in union.concrete:
        for samples, size in ((1, 1), (7, 2), (3000, 10), (500, 1000), (30, 33_000)):
            fields = scores.batch(measure, rng, samples, size, dtype)
            scores.check(card, measure, fields, dtype)
            scores.check(card, measure, scores.spoil(measure, rng, fields), dtype)


@pytest.mark.parametrize("classes", [7, 1500])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinities_are_where_the_cpu_has_them(card: Engine, engine: Engine, classes: int, dtype: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 3e38, -3e38, 1.0], dtype)
    rows = np.full((7**3, classes), -1.0, dtype)
    rows[:, :3] = special[np.indices((7, 7, 7)).reshape(3, -1).T]
    rows = np.concatenate([rows, np.full((1, classes), -np.inf, dtype)])
    given = {"logits": rows, "targets": np.arange(len(rows)) % 3}
    for more in ({}, {"label_smoothing": 0.2}):
        mine, same = (one.compute(find("cross_entropy"), given | more).outputs["per_sample"] for one in (card, engine))
        assert close(mine, same, *TOLERANCE[dtype])


def test_a_limit_of_memory_refuses_and_the_next_batch_is_computed(card: Engine) -> None:
    limited = Engine([find("cross_entropy")], device="cuda", memory_bytes=2**28)
    row: dict[str, Any] = {"logits": np.zeros((1, 2**27), np.float32), "targets": np.zeros(1, int)}
    with pytest.raises(OutOfMemory):
        limited.compute(find("cross_entropy"), row)
    assert limited.compute(find("cross_entropy"), {"logits": np.zeros((9, 3)), "targets": np.zeros(9, int)}).loss
    limited.close()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_pytorch_has_there_stays_there(card: Engine, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    logits = torch.randn((512, 3000), device="cuda").to(getattr(torch, dtype))
    targets = torch.randint(0, 3000, (512,), device="cuda")
    computed = compute(card, find("cross_entropy"), {"logits": logits, "targets": targets})
    found = torch.from_dlpack(computed.outputs["per_sample"])
    assert found.is_cuda
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none"))
