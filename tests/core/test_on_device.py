"""Arrays that are on a device already: taken by DLPack and by __cuda_array_interface__, and what is refused of them."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest

import core.resident
from core.card import BFLOAT16_ELEMENT
from core.declare import Measure
from core.engine import Engine
from core.errors import Cancelled, InvalidInput, OutOfMemory
from core.measures import MEASURES, find
from core.on_device import compute
from core.resident import Resident, take
from tests import inputs
from tests.core.host_card import HostRuntime, engine_on
from tests.oracle.compare import TOLERANCE, close


class Shared:
    """An array of another library: DLPack is all that is known of it."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **_: Any) -> Any:
        return self.array.__dlpack__()


class Interface:
    """An array that has __cuda_array_interface__."""

    def __init__(self, array: Any, **more: Any) -> None:
        self.array = array
        described = array.__array_interface__
        members = {name: described[name] for name in ("shape", "typestr", "data")}
        self.__cuda_array_interface__ = members | {"version": 3, "strides": None} | more


def shared(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: Shared(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()}


@pytest.fixture(scope="module")
def card() -> Iterator[Engine]:
    """An engine on a card whose memory is the host's."""
    with engine_on(HostRuntime(), MEASURES.values()) as made:
        yield made


def request(measure: Measure, samples: int = 70, dtype: str = "float32") -> dict[str, Any]:
    more = {"normalize": True} if measure.name == "distribution_cross_entropy" else {}
    return inputs.request(measure, np.random.default_rng(6), samples, 5, dtype) | more


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_the_host_give_the_same_bits_as_numpys(engine: Engine, measure: Measure, dtype: str) -> None:
    fields = request(measure, dtype=dtype)
    found, same = compute(engine, measure, shared(fields)), engine.compute(measure, fields)
    np.testing.assert_array_equal(np.from_dlpack(found.outputs["per_sample"]), same.outputs["per_sample"])
    assert found.result().totals == same.totals
    assert found.result().loss == same.loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_a_card_give_the_same_values_there(
    card: Engine, engine: Engine, measure: Measure, dtype: str
) -> None:
    fields = request(measure, dtype=dtype)
    found, same = compute(card, measure, shared(fields)), engine.compute(measure, fields)
    tolerance = TOLERANCE[dtype]
    for name, values in same.outputs.items():
        assert close(np.from_dlpack(found.outputs[name]), values, *tolerance)
    result = found.result()
    assert result.device == "cuda"
    assert result.totals["count"] == same.totals["count"]
    assert result.totals["sum"] == pytest.approx(same.totals["sum"], rel=1e-5)


def test_logits_are_neither_copied_nor_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, runtime = find("cross_entropy"), HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        monkeypatch.setattr(on_card.card, "block_elements", 40)
        runtime.sent.clear()
        runtime.fetched.clear()
        fields = {"logits": np.ones((70, 5), np.float32), "targets": np.zeros(70, np.int64)}
        found = compute(on_card, measure, shared(fields))
        assert runtime.waits == 1
        assert runtime.fetched == [8 * 70]  # the targets, to be checked
        assert sum(runtime.sent) == 8 * 70
        assert found.result().loss == pytest.approx(np.log(5))
        assert runtime.fetched == [8 * 70, 4 * 70]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_cuda_array_interface_is_taken(dtype: Any) -> None:
    logits = np.ones((70, 5), dtype)
    for strides in (None, logits.strides):
        taken = take("logits", Interface(logits, strides=strides))
        assert isinstance(taken, Resident)
        assert (taken.device, taken.address) == ("cuda", logits.ctypes.data)
        assert (taken.shape, taken.dtype) == ((70, 5), np.dtype(dtype).name)


def test_the_stride_of_an_axis_with_one_entry_says_nothing() -> None:
    row = np.ones((1, 300), np.float32)
    assert take("logits", Interface(row, strides=(4, 4))).shape == (1, 300)


def test_what_is_on_a_card_is_not_read_by_the_cpu(engine: Engine) -> None:
    given = {"logits": Interface(np.ones((2, 5), np.float32)), "targets": np.zeros(2, np.int64)}
    said = refused(engine, "cross_entropy", given)
    assert said == "logits is on cuda, but must be on the host: this engine runs on cpu"


def test_halves_of_the_card_are_widened_there(card: Engine, engine: Engine) -> None:
    measure = find("cross_entropy")
    fields = {"logits": np.linspace(-5, 5, 350).astype(np.float16).reshape(70, 5), "targets": np.arange(70) % 5}
    found = compute(card, measure, shared(fields))
    same = engine.compute(measure, fields).outputs["per_sample"]
    assert close(np.from_dlpack(found.outputs["per_sample"]), same, *TOLERANCE["float32"])


def test_rows_of_tokens_keep_their_shape(card: Engine) -> None:
    fields = {"logits": np.zeros((4, 7, 5), np.float32), "targets": np.zeros((4, 7), np.int64), "class_axis": -1}
    found = compute(card, find("cross_entropy"), shared(fields))
    assert np.from_dlpack(found.outputs["per_sample"]).shape == (4, 7)
    assert found.result().outputs["per_sample"].shape == (4, 7)


def test_what_is_on_the_host_is_sent_to_the_card(card: Engine, engine: Engine, measure: Measure) -> None:
    fields = request(measure)
    found = compute(card, measure, fields | shared({measure.main.name: fields[measure.main.name]}))
    same = engine.compute(measure, fields)
    assert close(np.from_dlpack(found.outputs["per_sample"]), same.outputs["per_sample"], *TOLERANCE["float32"])


def refused(on: Engine, name: str, fields: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as refusal:
        compute(on, find(name), fields)
    return str(refusal.value)


def test_what_a_card_cannot_take_is_refused_by_name(card: Engine) -> None:
    logits, targets = np.zeros((4, 5, 3), np.float32), np.zeros((4, 3), np.int64)
    said = refused(card, "cross_entropy", shared({"logits": logits, "targets": targets}))
    assert said == "logits has shape (4, 5, 3), but must have its classes on the last axis on a card"
    wide = {"logits": np.zeros((4, 3)), "targets": np.zeros((4, 3)), "weight": np.zeros((1, 3))}
    said = refused(card, "binary_cross_entropy_with_logits", shared(wide))
    assert "but must have the shape of the others on a card" in said
    mixed = {"logits": np.zeros((4, 3), np.float32), "targets": np.zeros((4, 3))}
    said = refused(card, "soft_cross_entropy", shared(mixed))
    assert said == "logits is float32, but must be float64 on a card, as what is beside it"
    empty = {"logits": np.zeros((0, 3), np.float32), "targets": np.zeros(0, np.int64)}
    assert refused(card, "cross_entropy", shared(empty)) == (
        "logits is empty, but must have samples and classes on a card"
    )


@pytest.mark.parametrize("on", ["card", "engine"])
def test_faults_are_those_of_any_batch(on: str, request: pytest.FixtureRequest) -> None:
    chosen: Engine = request.getfixturevalue(on)
    logits = np.zeros((2, 3), np.float32)
    given = shared({"logits": logits, "targets": np.array([0, 3])})
    assert refused(chosen, "cross_entropy", given) == (
        "targets[1] is 3, but must be a class index in [0, 3) or ignore_index -100"
    )
    assert "weights is not known" in refused(chosen, "cross_entropy", shared({"logits": logits, "weights": logits}))


class Both(Shared):
    """A tensor of PyTorch on a card: its interface has no name for bfloat16."""

    def __init__(self, array: Any, error: Exception | None = None) -> None:
        super().__init__(array)
        self.error = error

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.error:
            raise self.error
        return Interface(self.array).__cuda_array_interface__ | {"typestr": "<V2"}


def test_dlpack_goes_before_the_interface() -> None:
    held = onnxruntime.OrtValue.ortvalue_from_shape_and_type((3, 4), BFLOAT16_ELEMENT, "cpu", 0)
    for error in (None, RuntimeError("it requires grad")):
        taken = take("logits", Both(held, error))
        assert (taken.dtype, taken.shape, taken.address) == ("bfloat16", (3, 4), held.data_ptr())


def test_another_card_than_the_first_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.resident, "adopt", lambda value: (("cuda", 64, (3, 4), "float32", value), 1))
    with pytest.raises(InvalidInput, match="logits is on the cuda device 1, but must be on device 0"):
        take("logits", Shared(np.zeros((3, 4), np.float32)))


def test_the_other_byte_order_is_refused() -> None:
    with pytest.raises(InvalidInput, match="logits is an array of >f4, but must be one of float16"):
        take("logits", Interface(np.zeros((3, 4), ">f4")))


def test_values_that_a_card_has_no_memory_for_are_out_of_memory(card: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 160000000")

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", full)
    with pytest.raises(OutOfMemory, match="there is not enough memory on cpu for the values"):
        compute(card, find("kl_div"), shared(request(find("kl_div"))))


@pytest.mark.parametrize("on", ["card", "engine"])
def test_too_many_elements_are_refused(on: str, request: pytest.FixtureRequest) -> None:
    given = shared({"logits": np.zeros((4, 5), np.float32), "targets": np.zeros(4, np.int64)})
    with pytest.raises(InvalidInput, match="20"):
        compute(request.getfixturevalue(on), find("cross_entropy"), given, max_elements=19)


def test_an_array_of_the_host_stays_as_long_as_a_view_of_it() -> None:
    class Owner:
        pass

    memory, owner = np.arange(6, dtype=np.float32), Owner()
    alive = weakref.ref(owner)
    view = Resident("cpu", memory.ctypes.data, (6,), "float32", owner).array()[2:]
    del owner
    gc.collect()
    assert alive() is not None
    assert view[0] == 2
    del view
    gc.collect()
    assert alive() is None


def test_strided_arrays_and_strange_dtypes_are_refused(engine: Engine) -> None:
    rows = np.zeros((3, 4), np.float32)
    assert refused(engine, "cross_entropy", {"logits": Shared(rows.T), "targets": np.zeros(4, int)}) == (
        "logits is not contiguous, but must be"
    )
    assert refused(engine, "cross_entropy", {"logits": Interface(rows.T, strides=rows.T.strides)}) == (
        "logits is not contiguous, but must be"
    )
    assert "logits is an array of <c8, but must be one of float16, bfloat16" in refused(
        engine, "cross_entropy", {"logits": Interface(np.zeros((3, 4), np.complex64))}
    )


def test_a_library_that_does_not_give_its_array_away_is_quoted(engine: Engine) -> None:
    class Stubborn:
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("tensors that require gradient are not exported\nand more")

    assert refused(engine, "cross_entropy", {"logits": Stubborn()}) == (
        "logits cannot be taken where it lies: tensors that require gradient are not exported"
    )


def test_a_cancelled_batch_stops_on_a_card_too(card: Engine) -> None:
    with pytest.raises(Cancelled):
        compute(card, find("kl_div"), shared(request(find("kl_div"))), cancelled=lambda: True)


def test_without_memory_on_a_card_it_is_refused() -> None:
    measure, runtime = find("cross_entropy"), HostRuntime()
    with engine_on(runtime, [measure], spare=True) as on_card:
        runtime.most = 2**20
        fields = {"logits": np.zeros((2**20, 2), np.float32), "targets": np.zeros(2**20, np.int64)}
        with pytest.raises(OutOfMemory):
            compute(on_card, measure, shared(fields))
