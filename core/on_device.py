"""Losses of arrays that are on a device already, for evaluations beside a model: logits stay where they are.

from core.engine import Engine
from core.measures import find
from core.on_device import compute

engine = Engine([find("cross_entropy")], device="cuda")
with torch.no_grad():
    found = compute(engine, find("cross_entropy"), {"logits": model(batch), "targets": targets})
torch.from_dlpack(found.outputs["per_sample"])  # on the card
found.result().totals                           # on the host: exact, and to be merged with those of other batches
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from core import tiles
from core.card import Card
from core.check import MAX_ELEMENTS, Batch, prepare
from core.declare import Measure
from core.dtypes import name_of
from core.engine import Engine
from core.errors import refuse
from core.feeds import feeds
from core.reduction import Result, Values, reduce
from core.resident import Resident, take
from core.rules import Array
from core.sessions import empty
from core.variants import WIDENED


@dataclass(slots=True)
class OnDevice:
    """What a measure gave. `outputs` are its per-sample arrays by name, in the shape PyTorch gives them, and
    `sample_weight` where the mean is weighted, each to be taken where it lies by DLPack. `result` copies them to the
    host and reduces them: what Engine.compute answers."""

    outputs: dict[str, Any]
    result: Callable[[], Result]


def compute(
    engine: Engine,
    measure: Measure,
    given: Mapping[str, Any],
    *,
    max_elements: int = MAX_ELEMENTS,
    cancelled: Callable[[], bool] = tiles.never,
) -> OnDevice:
    """As Engine.compute, for arrays that are on the device of `engine`, where the per-sample values stay.

    Arrays are those of any library with DLPack or __cuda_array_interface__, and contiguous. Those on the host are taken
    too, and copied to a card. On a card the classes are on the last axis, and nothing broadcasts; arrays whose values
    have rules, indices and distributions, are copied to the host to be checked; and whatever else is done on the card
    is waited for first. The columns of reports are made from copies on the host and stay there, since those of some
    samples are computed anew. Raises InvalidInput, Cancelled or OutOfMemory.
    """
    taken = {name: take(name, value) for name, value in given.items()}
    if engine.card is not None:
        if measure.is_reduced:
            return _on_card(engine, engine.card, measure, taken, max_elements, cancelled)
        engine.card.runtime.synchronize()
    given = {name: _on_host(name, value, engine.card) for name, value in taken.items()}
    batch = prepare(measure, given, max_elements=max_elements)
    values = engine.per_sample(batch, cancelled)
    shaped = {name: array.reshape(batch.plan.samples) for name, array in values.arrays.items()}
    return OnDevice(shaped, lambda: reduce(batch, values))


def _on_host(name: str, value: Any, card: Card | None = None) -> Any:
    if not isinstance(value, Resident):
        return value
    if card is not None and value.device == card.runtime.name:
        return _brought(card, value)
    if value.device != "cpu":
        raise refuse(name, f"{name} is on {value.device}, but must be on the host: this engine runs on cpu")
    return value.array()


def _on_card(
    engine: Engine, card: Card, measure: Measure, taken: dict[str, Any], most: int, cancelled: Callable[[], bool]
) -> OnDevice:
    card.runtime.synchronize()
    batch, stay = _prepared(card, measure, taken, most)
    plan, row = batch.plan, (batch.classes,)
    outputs = {name: empty(plan.samples, each, card.runtime.name) for name, each in plan.dtypes.items()}

    def work(block: tiles.Block) -> None:
        parts: dict[str, Any] = feeds(batch, block, as_sent=True)
        for name, value in stay.items():
            parts[name] = value.part(block.start, block.stop, row if name in measure.rows else ())
        into = {n: held.data_ptr() + block.start * plan.dtypes[n].itemsize for n, held in outputs.items()}
        card.run(plan.variant, plan.dtype, parts, into)

    engine.share(engine.blocks(batch), work, cancelled)

    def result() -> Result:
        arrays = {name: np.empty(prod(plan.samples), plan.dtypes[name]) for name in outputs}
        for name, array in arrays.items():
            card.runtime.fetch(array, outputs[name].data_ptr())
        return reduce(batch, Values(arrays, device=engine.sessions.device))

    return OnDevice(outputs, result)


def _prepared(card: Card, measure: Measure, taken: dict[str, Any], most: int) -> tuple[Batch, dict[str, Resident]]:
    """The batch, and the arrays that stay on the card: in the batch others of their shape stand for them."""
    unruled = {tensor.name for tensor in measure.by_sample if not tensor.rules}
    stay: dict[str, Resident] = {}
    given: dict[str, Any] = {}
    for name, value in taken.items():
        if not isinstance(value, Resident) or value.device != card.runtime.name:
            given[name] = _on_host(name, value)
        elif name in unruled:
            stay[name], given[name] = value, value.like()
        else:
            given[name] = _brought(card, value)
    batch = prepare(measure, given, max_elements=most)
    _require_layout(batch, stay)
    return batch, stay


def _brought(card: Card, value: Resident) -> Array:
    array = np.empty(value.shape, value.like().dtype)
    card.runtime.fetch(array, value.address)
    return array


def _require_layout(batch: Batch, stay: Mapping[str, Resident]) -> None:
    plan = batch.plan
    if not prod(plan.computed) * batch.classes:
        name = plan.measure.main.name
        raise refuse(name, f"{name} is empty, but must have samples and classes on a card")
    for name, value in stay.items():
        if plan.flat is None:
            what = "have its classes on the last axis" if plan.measure.over_classes else "have the shape of the others"
            raise refuse(name, f"{name} has shape {value.shape}, but must {what} on a card")
        if value.dtype != name_of(plan.dtype) and (value.dtype not in WIDENED or plan.dtype != np.float32):
            raise refuse(name, f"{name} is {value.dtype}, but must be {plan.dtype} on a card, as what is beside it")
