"""The graphs of some measures, run in blocks on one device.

onnxruntime runs single-threaded inside; the blocks of a batch run on this module's threads.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from core import bound, cpus, tiles
from core.card import LANES, Card
from core.check import MAX_ELEMENTS, Batch, Plan, prepare
from core.cuda import Cuda
from core.declare import Measure
from core.dtypes import NUMPY, name_of
from core.errors import Cancelled, DeviceUnavailable, OutOfMemory
from core.exact import ExactSum
from core.feeds import PAD_ELEMENTS, PAD_ROWS, feeds, zeros
from core.mend import mend
from core.reduction import Result, Values, reduce
from core.rules import Array
from core.sessions import Sessions
from core.variants import FOLDER, Variant

log = logging.getLogger("lossmeter.engine")

# Of (samples, classes): 2 MiB of float32 logits, and as much again for the log-probabilities; those of columns for each
# array of that size. Half of it costs columns, whose graphs have many nodes, a seventh more.
BLOCK_ELEMENTS = 2**19
ELEMENTWISE_BLOCK = 2**16  # half of it costs 1.2 times the time, for the threads meet more often; twice of it the same
SMALL_ELEMENTS = 2**16  # computed at once, in 0.1 ms, beside whatever the threads do
SHARED_ELEMENTS = 2**17  # less than this is computed before a second thread is awake
LONG_ROW = 1025  # classes of more than 1,024 are another kernel's on a card


class Engine:
    """Every graph of some measures, loaded, checked and warmed on one device.

    Arguments: `measures`; `device` "auto", "cpu" or "cuda"; `threads`, 0 for what affinity and cgroup quota allow;
    `graphs`, the folder of exported files; `memory_bytes` of a card at most, 0 for as much as there is; `spare`,
    whether the CPU computes what a card has too little memory for, which else is OutOfMemory (core.on_device never asks
    it). The engines of a process share the `memory_bytes` that are set last. Raises DeviceUnavailable or GraphDamaged.
    Thread-safe.
    """

    def __init__(
        self,
        measures: Iterable[Measure],
        *,
        device: str = "auto",
        threads: int = 0,
        graphs: Path = FOLDER,
        memory_bytes: int = 0,
        spare: bool = False,
    ) -> None:
        measures, self.threads = tuple(measures), cpus.threads(threads)
        self.sessions = Sessions(measures, device=device, graphs=graphs, memory_bytes=memory_bytes // 2)
        self.card: Card | None = None
        self._spare: Engine | None = None
        if self.sessions.device != "cpu":
            self.card = Card(self.sessions, Cuda(), memory_bytes // 2)
            self.threads = max(self.threads, LANES)
            self._spare = Engine(measures, device="cpu", threads=threads, graphs=graphs) if spare else None
        self._pool = bound.Pool()
        self._turns: SimpleQueue[None] = SimpleQueue()  # one a thread, callers and helpers together: a quick semaphore
        for _ in range(self.threads):
            self._turns.put(None)
        self._helpers = ThreadPoolExecutor(self.threads - 1, "block") if self.threads > 1 else None
        try:
            self._warm()
        except OutOfMemory as error:
            raise DeviceUnavailable(f"the graphs do not start on {self.sessions.device}: {error}") from error
        log.info("%d graphs ready on %s, %d threads", len(self.sessions.every), self.sessions.provider, self.threads)

    def _warm(self) -> None:
        """Have what only the first run of a graph costs behind us: on a card that is once more for its other kernel,
        of long rows, and for the graphs that widen halves."""
        for variant, dtype in self.sessions.every:
            for classes in (3, LONG_ROW) if self.card else (3,):
                self._run(variant, dtype, zeros(variant, dtype, classes))
        for halves in self.sessions.wideners:
            variant = self.sessions.every[0][0]
            parts, main = zeros(variant, "float32", 3), variant.measure.main.name
            self._run(variant, "float32", parts | {main: np.zeros(parts[main].shape, NUMPY[halves])})

    def compute(
        self,
        measure: Measure,
        given: Mapping[str, Any],
        *,
        dtype: str = "float32",
        max_elements: int = MAX_ELEMENTS,
        cancelled: Callable[[], bool] = tiles.never,
    ) -> Result:
        """Check `given` (see core.check.prepare), compute, reduce. Raises InvalidInput or Cancelled."""
        batch = prepare(measure, given, dtype=dtype, max_elements=max_elements)
        return reduce(batch, self.per_sample(batch, cancelled))

    def per_sample(self, batch: Batch, cancelled: Callable[[], bool] = tiles.never) -> Values:
        """The graph's outputs for `batch`. Raises Cancelled when `cancelled` says True, or OutOfMemory."""
        try:
            return self._values(batch, cancelled)
        except OutOfMemory as error:
            if self._spare is None:
                raise
            log.warning("the CPU computes a batch: %s", error)
            return self._spare.per_sample(batch, cancelled)

    def _values(self, batch: Batch, cancelled: Callable[[], bool]) -> Values:
        plan, variant = batch.plan, batch.plan.variant
        size, classes, dtype = prod(plan.computed), batch.classes, name_of(plan.dtype)
        if size == 0 or classes == 0:  # onnxruntime takes no empty axes, and PyTorch's value of no classes is 0
            nothing = {name: plan.measure.no_index if name in plan.measure.indices else 0 for name in plan.dtypes}
            return Values({name: np.full(size, nothing[name], each) for name, each in plan.dtypes.items()})
        if size * classes <= SMALL_ELEMENTS and not self.card:
            # One block in any case: 3 us less, and nobody waits for its turn.
            if cancelled():
                raise Cancelled(tiles.GIVEN_UP)
            results = self._small(batch, dtype, size, classes)
            found = {name: result[:size] for name, result in zip(variant.outputs, results, strict=True)}
            mend(batch, tiles.Block(0, size, ()), found)
            return Values(found)
        blocks = self.blocks(batch)
        arrays = {name: np.empty(size, each) for name, each in plan.dtypes.items()}
        summed = plan.measure.is_reduced and not plan.measure.over_classes and len(blocks) > 1
        sums: dict[str, list[ExactSum]] = {name: [] for name in arrays} if summed else {}

        def work(block: tiles.Block) -> None:
            results = self._run(variant, dtype, feeds(batch, block, as_sent=self.card is not None))
            for array, result in zip(arrays.values(), results, strict=True):
                array[block.start : block.stop] = result[: block.stop - block.start]
            for name, parts in sums.items():
                parts.append(ExactSum.of(arrays[name][block.start : block.stop]))
            mend(batch, block, arrays)

        self.share(blocks, work, cancelled)
        added = {name: sum(parts, ExactSum()) for name, parts in sums.items()}
        return Values(arrays, added, self.sessions.device)

    def _small(self, batch: Batch, dtype: str, size: int, classes: int) -> list[Array]:
        """The graph's outputs for a batch of one block."""
        plan, block = batch.plan, tiles.Block(0, size, ())
        free = self._pool.take(plan) if size * classes <= bound.MOST_ELEMENTS else None

        def work(session: Any) -> list[Array]:
            if free is None:
                results: list[Array] = session.run(plan.variant.outputs, feeds(batch, block))
                return results
            try:
                one = free.pop()
            except IndexError:
                one = bound.Bound(session, plan, feeds(batch, block), size)
            results = one.run(batch)
            free.append(one)
            return results

        return self.sessions.attempt(plan.variant, dtype, work)

    def blocks(self, batch: Batch) -> list[tiles.Block]:
        """The blocks of a batch that is not empty."""
        return tiles.plan(batch.plan.computed, *self._block(batch.plan, prod(batch.plan.computed), batch.classes))

    def share(
        self,
        blocks: list[tiles.Block],
        work: Callable[[tiles.Block], None],
        cancelled: Callable[[], bool] = tiles.never,
    ) -> None:
        """Have `work` done with every block, by this engine's threads too: see tiles.run."""
        tiles.run(blocks, work, self._helpers, self.threads, cancelled)

    def _block(self, plan: Plan, size: int, classes: int) -> tuple[int, int]:
        """The most samples of a block, a multiple of the second number; small enough that every thread has one."""
        if self.card:
            return max(1, self.card.block_elements // classes), 1
        multiple = PAD_ROWS[plan.dtype] if plan.measure.over_classes else PAD_ELEMENTS
        largest = BLOCK_ELEMENTS if plan.measure.over_classes else ELEMENTWISE_BLOCK
        most = min(largest, max(SHARED_ELEMENTS, -(-size * classes // self.threads))) // classes
        return max(1, -(-most // multiple)) * multiple, multiple

    def close(self) -> None:
        """Let the threads go, without waiting for what they still do, and what memory of a card the blocks keep."""
        if self._spare:
            self._spare.close()
        if self._helpers:
            self._helpers.shutdown(wait=False)
        if self.card:
            self.card.close()

    def _run(self, variant: Variant, dtype: str, feeds: dict[str, Array]) -> list[Array]:
        """The graph's outputs: no more graphs run than there are threads, or lanes. Raises OutOfMemory."""
        if self.card:
            return self.card.run(variant, np.dtype(dtype), feeds)
        self._turns.get()
        try:
            return self.sessions.attempt(variant, dtype, lambda session: session.run(variant.outputs, feeds))
        finally:
            self._turns.put(None)
