"""python -m bench.gpu: cross-entropy on a card beside PyTorch's, and beside what the card's memory allows.

Two rows of each shape and dtype. Arrays on the card already: `core.on_device`, PyTorch eager and torch.compile, each
per sample and the mean, from the call to the number on the host; PyTorch computes halves as halves, less exactly.
The limit is the time in which the logits can be read once, at the rate at which the card copies (bytes read and written
in a second). Arrays on the host: what a request has, copied, computed, and only the values back.
"""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from core.engine import Engine
from core.errors import DeviceUnavailable
from core.measures import find
from core.on_device import compute

SHAPES = ((1024, 1000), (8192, 32_000), (8192, 128_256))
DTYPES = ("float32", "float16", "bfloat16")
ROUNDS = 15
RESULTS = Path(__file__).parent / "gpu.json"
MEASURE = find("cross_entropy")


@dataclass(frozen=True)
class Row:
    """Medians of one shape and dtype, in milliseconds."""

    samples: int
    classes: int
    dtype: str
    where: str  # the arrays are: on the card, or on the host
    limit: float  # to read the logits once; of the host's, nan
    ours: float
    eager: float
    compiled: float

    @property
    def cells(self) -> list[str]:
        """As the table shows it."""
        share = f"{self.limit / self.ours:.0%}" if self.limit == self.limit else ""
        ratios = (f"{time / self.ours:.2f}" for time in (self.eager, self.compiled))
        times = (f"{time:.3f}" if time == time else "" for time in (self.limit, self.ours, self.eager, self.compiled))
        return [f"{self.samples}x{self.classes}", self.dtype, self.where, *times, share, *ratios]


HEAD = [*("shape", "dtype", "arrays on the", "limit, ms", "ours, ms", "eager, ms", "compiled, ms"), "limit / ours"]
HEAD += ["eager / ours", "compiled / ours"]


def table(rows: list[Row]) -> str:
    """In Markdown."""
    lines = [HEAD, ["---"] * 3 + ["--:"] * (len(HEAD) - 3), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Bench:
    """The calls that are compared, on one device."""

    def __init__(self, device: str) -> None:
        self.engine = Engine([MEASURE], device=device)
        import torch

        self.torch, self.device = torch, device
        self.compiled = torch.compile(self._eager)

    def _eager(self, logits: Any, targets: Any) -> Any:
        values = self.torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return values, values.mean()

    def _wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def times(self, calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
        """The median milliseconds of each call, in turn."""
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(ROUNDS + 2):
            for name, call in calls.items():
                self._wait()
                began = time.perf_counter()
                call()
                self._wait()
                if number >= 2:  # what comes before warms
                    taken[name].append((time.perf_counter() - began) * 1e3)
        return {name: median(values) for name, values in taken.items()}

    def rows(self, shape: tuple[int, int], dtype: str) -> Iterator[Row]:
        """The rows of one shape and dtype. Raises AssertionError where the values are not PyTorch's."""
        torch = self.torch
        host = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
        chosen = torch.randint(0, shape[1], shape[:1], generator=torch.Generator().manual_seed(2))
        logits, targets, other = (
            host.to(self.device),
            chosen.to(self.device),
            torch.empty_like(host, device=self.device),
        )
        given = {"logits": logits, "targets": targets}
        found = np.from_dlpack(torch.from_dlpack(compute(self.engine, MEASURE, given).outputs["per_sample"]).cpu())
        np.testing.assert_allclose(found, self._eager(logits.float(), targets)[0].cpu().numpy(), rtol=1.3e-6, atol=1e-5)
        times = self.times(
            {
                "copy": lambda: other.copy_(logits),
                "ours": lambda: compute(self.engine, MEASURE, given).result(),
                "eager": lambda: self._eager(logits, targets)[1].item(),
                "compiled": lambda: self.compiled(logits, targets)[1].item(),
            }
        )
        limit = times["copy"] / 2  # which reads and writes
        yield Row(*shape, dtype, "card", limit, times["ours"], times["eager"], times["compiled"])
        fields = {"logits": host, "targets": chosen}
        times = self.times(
            {
                "ours": lambda: compute(self.engine, MEASURE, fields).result(),
                "eager": lambda: self._eager(host.to(self.device), chosen.to(self.device))[1].item(),
                "compiled": lambda: self.compiled(host.to(self.device), chosen.to(self.device))[1].item(),
            }
        )
        yield Row(*shape, dtype, "host", float("nan"), times["ours"], times["eager"], times["compiled"])


def main() -> None:
    """Print the table, and keep it in gpu.json. Exits with a line where there is no card."""
    try:
        bench = Bench("cuda")
    except DeviceUnavailable as error:
        sys.exit(f"bench-gpu needs a card: {error}")
    rows: list[Row] = []
    for shape in SHAPES:
        for dtype in DTYPES:
            rows += bench.rows(shape, dtype)
            print(" | ".join(rows[-2].cells), " | ".join(rows[-1].cells), sep="\n", flush=True)
    card = bench.torch.cuda.get_device_name()
    versions = {"onnxruntime": bench.engine.sessions.onnxruntime_version, "torch": bench.torch.__version__}
    kept = {"card": card, "python": platform.python_version(), **versions, "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"\n{card}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
