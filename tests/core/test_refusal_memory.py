"""What is refused takes little memory to refuse, however small the request that asked, and however wrong it is."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.check import prepare
from core.declare import Kind, Measure
from core.errors import InvalidInput
from core.measures import MEASURES
from core.rules import place_in

AXES = (2,) * 18
MIB = 2**20


def refused(measure: Measure, fields: dict[str, NDArray[Any]]) -> tuple[str, int]:
    """Why `fields` are refused, and the most bytes that this took."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as caught:
            prepare(measure, fields)
        return str(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bad", [-1.0, 2.0, np.nan, np.inf])
@pytest.mark.parametrize("shape", [AXES, (2**18,), (2**18, 1)], ids=["many axes", "one axis", "many rows"])
def test_a_batch_that_is_wrong_everywhere_is_refused_in_no_more_than_its_size(
    measure: Measure, shape: tuple[int, ...], bad: float
) -> None:
    """np.nonzero of a mask takes eight bytes an axis for each entry: 80 times the size of such a batch of float16."""
    if measure.name == "distribution_cross_entropy" and len(shape) > 2:
        shape = (2**9, 2**9)
    fields: dict[str, NDArray[Any]] = {}
    for tensor in measure.tensors:
        if tensor.kind is Kind.INDEX:
            fields[tensor.name] = np.full(shape[:-1], -1, np.int8)
        elif tensor.required:
            fields[tensor.name] = np.full(shape, bad, np.float16)
    if not any(tensor.rules for tensor in measure.tensors):
        fields["targets"] = np.zeros(shape, np.int8)  # of which there is nothing else to refuse
    size = sum(array.nbytes for array in fields.values())
    reason, peak = refused(measure, fields)
    assert "must be" in reason
    assert peak < 1.3 * size + 2**17


def broadcast(name: str, rows: int) -> dict[str, NDArray[Any]]:
    """The required inputs of an elementwise loss: a column of zeros, and rows."""
    columns = {tensor.name: np.zeros((1, rows), np.float16) for tensor in MEASURES[name].tensors if tensor.required}
    return columns | {MEASURES[name].main.name: np.zeros((rows, 1), np.float16)}


def test_what_two_small_arrays_broadcast_to_is_refused_before_it_is_there(measure: Measure) -> None:
    if measure.over_classes:
        return
    reason, peak = refused(measure, broadcast(measure.name, 10**6))
    assert "must have that of" in reason or str(10**12) in reason
    assert peak < MIB


def test_a_weight_never_enlarges_a_batch(measure: Measure) -> None:
    for tensor in measure.tensors:
        if not tensor.required and not measure.over_classes:
            fields = {t.name: np.zeros((10**3, 1), np.float16) for t in measure.tensors if t.required}
            reason, peak = refused(measure, fields | {tensor.name: np.zeros((1, 10**6), np.float16)})
            assert f"{tensor.name} has shape" in reason
            assert peak < MIB


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 1, 5)])
def test_a_place_counted_flat_has_an_index(shape: tuple[int, ...]) -> None:
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    for place in range(numbers.size):
        assert numbers[place_in(shape, place)] == place


@pytest.mark.parametrize("row", [0, 1, 2**14 - 1, 2**14, 2**17 + 3])
def test_a_row_that_is_no_distribution_is_found_wherever_it_stands(row: int) -> None:
    p = np.ones((2**17 + 5, 1), np.float16)
    p[row] = 0.5
    with pytest.raises(InvalidInput) as caught:
        prepare(MEASURES["distribution_cross_entropy"], {"p": p, "q": np.ones_like(p)})
    assert [fault.where for fault in caught.value.faults] == [("p", row)]
