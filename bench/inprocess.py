"""The core's whole call beside torch's, in this process: per-sample values and the mean."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from core.engine import Engine
from core.measures import MEASURES

THREADS = 2
CALL_SECONDS = 0.4


def _least_ms(call: Callable[[], Any]) -> float:
    """The least of many calls, in milliseconds."""
    least, until = float("inf"), time.perf_counter() + CALL_SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - began)
    return least * 1e3


def _cases(quick: bool) -> list[tuple[str, str, dict[str, Any], float]]:
    """Title, measure, fields, goal in multiples of torch (or of plain cross-entropy, where the title says so)."""
    rng = np.random.default_rng(1)
    cases: list[tuple[str, str, dict[str, Any], float]] = []
    shapes = [(64, 10, 3.0), (1024, 1000, 1 / 1.3), (256, 32000, 1 / 1.3), (1024, 128256, 1 / 2.5)]
    for rows, classes, goal in shapes[: 3 if quick else 4]:
        logits = rng.standard_normal((rows, classes), np.float32)
        fields = {"logits": logits, "targets": rng.integers(0, classes, rows)}
        cases.append((f"cross_entropy {rows}x{classes}", "cross_entropy", fields, goal))
        if classes in (1000, 32000):
            more = fields | {"weight": rng.random(classes, np.float32), "label_smoothing": 0.1}
            cases.append((f"cross_entropy {rows}x{classes}, weight and smoothing", "cross_entropy", more, 1 / 1.3))
    logits = rng.standard_normal((1024, 1000), np.float32)
    targets = rng.random((1024, 1000), np.float32)
    name = "binary_cross_entropy_with_logits"
    cases.append((f"{name} 1024x1000", name, {"logits": logits, "targets": targets}, 1 / 0.6))
    probabilities = rng.random((1024, 1000), np.float32)
    fields = {"probabilities": probabilities, "targets": targets}
    cases.append(("binary_cross_entropy 1024x1000", "binary_cross_entropy", fields, 1 / 1.5))
    return cases


def _torch(name: str, fields: dict[str, Any]) -> Callable[[], Any]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(THREADS)
    tensors = {key: torch.from_numpy(value) for key, value in fields.items() if isinstance(value, np.ndarray)}
    first, targets = (tensors.pop(next(iter(tensors))) for _ in range(2))
    more = {key: value for key, value in fields.items() if not isinstance(value, np.ndarray)} | tensors
    call = getattr(functional, name)

    def both() -> Any:
        with torch.inference_mode():
            per_sample = call(first, targets, reduction="none", **more)
            return per_sample, per_sample.mean()

    return both


def measure(quick: bool) -> list[dict[str, Any]]:
    """A row for each case: least milliseconds of both, their ratio, the goal."""
    engine, rows = Engine(MEASURES.values(), device="cpu", threads=THREADS), []
    for title, name, fields, goal in _cases(quick):
        theirs = _torch(name, fields)
        pairs = []
        for _ in range(2 if quick else 5):
            ours = _least_ms(lambda name=name, fields=fields: engine.compute(MEASURES[name], fields))  # type: ignore[misc]
            pairs.append((ours, _least_ms(theirs)))
        ratios = sorted(ours / torch for ours, torch in pairs)
        rows.append(
            {
                "case": title,
                "core_ms": min(ours for ours, _ in pairs),
                "torch_ms": min(torch for _, torch in pairs),
                "ratio": median(ratios),
                "spread": (ratios[0], ratios[-1]),
                "goal": goal,
            }
        )
    engine.close()
    return rows
