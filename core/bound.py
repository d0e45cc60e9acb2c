"""Small batches of one plan in arrays that a session knows already: at 64 x 10 a run takes 0.7 of the instructions.

On a CPU alone: what is bound for a card is copied there when it is bound.
"""

from typing import Any

import numpy as np

from core.check import Batch, Plan
from core.rules import Array

MOST_ELEMENTS = 2**13  # of a batch; more of them take so long that the rest does not count
MOST_PLANS = 64


class Bound:
    """The inputs of a graph, as `feeds` has them for `size` samples and their padding, and its outputs, bound to
    `session`. For one thread at a time."""

    def __init__(self, session: Any, plan: Plan, feeds: dict[str, Array], size: int) -> None:
        self._session, self._binding = session, session.io_binding()
        inputs = {name: np.array(feed) for name, feed in feeds.items()}  # copies, with the padding
        rows = len(inputs[plan.measure.main.name])
        outputs = {name: np.empty(rows, dtype) for name, dtype in plan.dtypes.items()}
        for name, array in inputs.items():
            self._binding.bind_cpu_input(name, array)
        for name, array in outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        by_sample = {tensor.name for tensor in plan.measure.by_sample}
        # What a batch brings; the options are the plan's, and stay.
        self._places = {
            name: array[:size] if name in by_sample else array
            for name, array in inputs.items()
            if name not in plan.scalars
        }
        self._results = [array[:size] for array in outputs.values()]

    def run(self, batch: Batch) -> list[Array]:
        """The graph's outputs for `batch`, of the same plan."""
        for name, place in self._places.items():
            array = batch.arrays[name] if name in batch.arrays else batch.shared[name]
            np.copyto(place, array.reshape(place.shape), casting="unsafe")  # what was checked loses nothing
        self._session.run_with_iobinding(self._binding)
        return [result.copy() for result in self._results]


class Pool:
    """What is bound, by plan. No lock: two threads take different ones, or bind one more."""

    def __init__(self) -> None:
        self._free: dict[int, tuple[Plan, list[Bound]]] = {}

    def take(self, plan: Plan) -> list[Bound] | None:
        """Those that are free for `plan`; None the first time that it is seen, since most are not seen again."""
        found = self._free.get(id(plan))
        if found is not None and found[0] is plan:
            return found[1]
        if len(self._free) >= MOST_PLANS:
            self._free.clear()
        self._free[id(plan)] = (plan, [])
        return None
