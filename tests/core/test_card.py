"""Blocks on a card: the whole way there and back, on a card whose memory is the host's."""

import threading
from collections.abc import Iterator
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest

import core.card
import core.engine
import tests.core.host_card
from core.card import LANES, Card
from core.check import prepare
from core.declare import Measure
from core.dtypes import BFLOAT16
from core.engine import Engine
from core.errors import Cancelled, DeviceFailed, OutOfMemory
from core.measures import MEASURES, find
from core.reports.columns import COLUMNS
from core.variants import DTYPES, FOLDER, WIDENED, Variant, manifest, variants
from tests import inputs
from tests.core.host_card import HostRuntime, engine_on
from tests.core.reports import scores
from tests.oracle.compare import TOLERANCE, close

PLAIN = "cross_entropy.without_weight.without_label_smoothing"


@pytest.fixture(scope="module")
def card() -> Iterator[Engine]:
    """An engine on a card whose memory is the host's."""
    with engine_on(HostRuntime(), MEASURES.values()) as made:
        yield made


def request(measure: Measure, samples: int, dtype: str = "float32", classes: int = 5) -> dict[str, Any]:
    fields = inputs.request(
        measure, np.random.default_rng(4), samples, classes, "float64" if dtype == "float64" else "float32"
    )
    if dtype in ("float16", "bfloat16"):
        to = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        fields = {name: array.astype(to) if array.dtype.kind == "f" else array for name, array in fields.items()}
    more = {"normalize": True} if measure.name == "distribution_cross_entropy" else {}
    smooth = {"label_smoothing": 0.1} if "label_smoothing" in measure.names else {}
    return fields | more | smooth


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("samples", [1, 7, 300])
def test_a_card_computes_what_the_cpu_computes(
    engine: Engine, card: Engine, measure: Measure, dtype: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card.card, "block_elements", 160)
    given = request(measure, samples, dtype)
    found, same = card.compute(measure, given), engine.compute(measure, given)
    assert found.device == "cuda"
    assert same.device == "cpu"
    rtol, atol = TOLERANCE[found.dtype.name]
    for name, values in same.outputs.items():
        assert close(found.outputs[name], values, rtol, atol)
    assert found.totals["count"] == same.totals["count"]
    assert found.totals["weight"] == pytest.approx(same.totals["weight"], rel=1e-12)


@pytest.mark.parametrize(
    "name", [name for name in MEASURES if MEASURES[name].over_classes and name != "distribution_cross_entropy"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_graphs_for_a_card_have_the_same_nan_and_infinities(engine: Engine, name: str, dtype: str) -> None:
    measure = find(name)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 3e38, -3e38, 1.0], dtype)
    rows = special[np.indices((7, 7, 7)).reshape(3, -1).T]
    given: dict[str, Any] = {measure.main.name: rows}
    soft = np.full(rows.shape, 1 / 3, dtype)
    given["targets"] = soft if name == "soft_cross_entropy" else np.arange(len(rows)) % 3
    for more in ({}, {"weight": np.array([1.0, 0.0, 2.0], dtype)}, {"label_smoothing": 0.2}):
        if set(more) <= set(measure.names):
            with engine_on(HostRuntime(), [measure]) as on_card:
                found = on_card.compute(measure, given | more).outputs["per_sample"]
            assert close(found, engine.compute(measure, given | more).outputs["per_sample"], *TOLERANCE[dtype])


def test_halves_are_sent_as_they_are() -> None:
    measure = find("cross_entropy")
    for dtype in ("float16", BFLOAT16):
        runtime = HostRuntime()
        with engine_on(runtime, [measure]) as on_card:
            runtime.sent.clear()
            logits = np.zeros((2**15, 4), dtype)
            on_card.compute(measure, {"logits": logits, "targets": np.zeros(2**15, np.int32)})
        assert sum(runtime.sent) == 2 * logits.size + 8 * 2**15


def test_only_values_and_weights_come_back() -> None:
    measure = find("cross_entropy")
    runtime = HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        runtime.fetched.clear()
        on_card.compute(measure, request(measure, 1000))
    assert sum(runtime.fetched) == 2 * 4 * 1000


def test_lanes_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lane's block is copied while others' are computed."""
    monkeypatch.setattr(core.card, "BLOCK_ELEMENTS", 8)
    assert LANES > 1
    meeting, runtime, real = threading.Barrier(LANES), HostRuntime(), HostRuntime.send

    def send(self: HostRuntime, address: int, source: Any) -> None:
        if self is runtime and source.dtype == np.float32:
            meeting.wait(30)  # broken, if no other thread comes
        real(self, address, source)

    measure = find("nll_loss")
    with engine_on(runtime, [measure], threads=1) as on_card:
        monkeypatch.setattr(HostRuntime, "send", send)
        rows = np.zeros((2 * LANES, 8), np.float32)
        on_card.compute(measure, {"log_probabilities": rows, "targets": np.zeros(2 * LANES, int)})


def test_a_cancelled_batch_stops_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.card, "BLOCK_ELEMENTS", 5)
    measure = find("cross_entropy")
    with engine_on(HostRuntime(), [measure]) as on_card, pytest.raises(Cancelled):
        on_card.per_sample(prepare(measure, request(measure, 9)), lambda: True)


def test_without_memory_a_batch_is_refused_and_the_next_one_computed() -> None:
    measure = find("cross_entropy")
    runtime = HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        good = on_card.compute(measure, request(measure, 10))
        runtime.most = 2**22
        large = {"logits": np.zeros((300, 10_000), np.float32), "targets": np.zeros(300, int)}
        with pytest.raises(OutOfMemory, match="the card is full"):
            on_card.compute(measure, large)
        assert on_card.compute(measure, request(measure, 10)).totals == good.totals
        runtime.most = 2**40
        assert on_card.compute(measure, large).totals["count"] == 300


@pytest.mark.parametrize(
    "said",
    [
        "Failed to allocate memory for requested buffer of size 9",
        "Available memory of 8 is smaller than requested bytes of 9",
        "CUDA failure 2: out of memory",
    ],
)
def test_a_session_without_memory_is_opened_again(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = find("cross_entropy")
    with engine_on(HostRuntime(), [measure]) as on_card:
        name = f"{PLAIN}.float32.onnx"
        before = on_card.sessions.opened[name]
        monkeypatch.setattr(before, "_session", Full(said))
        given = {"logits": np.zeros((2, 3), np.float32), "targets": np.zeros(2, int)}
        assert on_card.compute(measure, given).totals["count"] == 2  # tried again
        assert on_card.sessions.opened[name] is not before
        with monkeypatch.context() as always:
            always.setattr(tests.core.host_card, "Pretender", lambda _: Full(said))
            always.setitem(on_card.sessions.opened, name, Full(said))
            with pytest.raises(OutOfMemory, match="on CUDAExecutionProvider"):
                on_card.compute(measure, given)


def test_a_session_that_does_not_open_again_is_opened_by_a_later_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = find("cross_entropy")
    given = {"logits": np.zeros((2, 3), np.float32), "targets": np.zeros(2, int)}
    with engine_on(HostRuntime(), [measure], spare=True) as on_card:
        monkeypatch.setattr(on_card.sessions.opened[f"{PLAIN}.float32.onnx"], "_session", Full("out of memory"))

        def full(*_: Any, **__: Any) -> None:
            raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")

        with monkeypatch.context() as patch:
            patch.setattr(onnxruntime, "InferenceSession", full)
            assert on_card.compute(measure, given).device == "cpu"
        assert on_card.compute(measure, given).device == "cuda"


def test_a_card_that_has_failed_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = find("cross_entropy")
    given = {"logits": np.zeros((2, 3), np.float32), "targets": np.zeros(2, int)}
    with engine_on(HostRuntime(), [measure]) as on_card:
        session = Full("CUDA failure 700: an illegal memory access was encountered")
        monkeypatch.setattr(on_card.sessions.opened[f"{PLAIN}.float32.onnx"], "_session", session)
        with pytest.raises(DeviceFailed, match="CUDA failure 700"):
            on_card.compute(measure, given)
        with pytest.raises(DeviceFailed, match="the card computes nothing more in this process: CUDA failure 700"):
            on_card.compute(measure, {name: array[:1] for name, array in given.items()} | {"weight": np.ones(3)})


class Full:
    """A session of a device without memory."""

    def __init__(self, said: str) -> None:
        self.said = said

    def io_binding(self) -> Any:
        raise RuntimeError(self.said)


def test_what_a_card_has_no_memory_for_the_cpu_computes_if_it_may(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    measure = find("cross_entropy")
    runtime = HostRuntime()
    with engine_on(runtime, [measure], spare=True) as on_card:
        runtime.most = 2**22
        large = request(measure, 300_000)
        found = on_card.compute(measure, large)
        assert found.device == "cpu"
        assert found.totals == engine.compute(measure, large).totals
        assert "the CPU computes a batch: the card is full" in caplog.text
        assert on_card.compute(measure, request(measure, 3)).device == "cuda"


def test_a_limit_of_memory_makes_blocks_smaller_and_holds() -> None:
    measure = find("cross_entropy")
    runtime, limit = HostRuntime(), 2**26
    with engine_on(runtime, [measure], memory_bytes=limit) as on_card:
        assert on_card.card is not None
        assert on_card.card.block_elements == limit // 2 // (LANES * core.card.ELEMENT_BYTES)
        large = {"logits": np.zeros((100, 50_000), np.float32), "targets": np.zeros(100, int)}
        assert on_card.compute(measure, large).totals["count"] == 100
        assert runtime.held <= limit // 2
        row = {"logits": np.zeros((1, limit), np.float32), "targets": np.zeros(1, int)}
        with pytest.raises(OutOfMemory, match="33554432 bytes are set"):
            on_card.compute(measure, row)
        assert on_card.compute(measure, large).totals["count"] == 100


def test_what_idle_lanes_hold_is_given_back_before_a_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.card, "GRAIN", 2**10)
    measure, runtime = find("cross_entropy"), HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        size = 40_000
        for _ in range(LANES):
            on_card.compute(measure, {"logits": np.zeros((10, size), np.float32), "targets": np.zeros(10, int)})
        assert runtime.held > LANES * 40 * size
        runtime.most = runtime.held
        larger = {"logits": np.zeros((25, size), np.float32), "targets": np.zeros(25, int)}
        assert on_card.compute(measure, larger).totals["count"] == 25


def test_within_a_limit_every_measure_has_room_after_every_other() -> None:
    runtime = HostRuntime()
    with engine_on(runtime, [*MEASURES.values(), *COLUMNS.values()], memory_bytes=2**28, threads=1) as on_card:
        assert on_card.card is not None
        samples = on_card.card.block_elements * LANES // 50
        for dtype in ("float64", "bfloat16"):
            for measure in MEASURES.values():
                given = request(measure, samples, dtype, classes=50)
                assert on_card.compute(measure, given).totals["count"]
            for measure in (one for union in COLUMNS.values() for one in union.concrete):
                fields = scores.batch(measure, np.random.default_rng(1), samples, 50, "float32")
                assert on_card.compute(measure, fields).totals["count"]
        assert runtime.held <= 2**27


def test_a_closed_engine_keeps_nothing_of_the_card() -> None:
    measure, runtime = find("cross_entropy"), HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        on_card.compute(measure, request(measure, 1000, "bfloat16"))
        assert runtime.memory
    assert not runtime.memory
    assert not runtime.pinned
    assert on_card.compute(measure, request(measure, 10)).totals["count"] == 10
    assert not runtime.memory


def test_halves_of_the_other_byte_order_are_the_same_numbers() -> None:
    measure = find("cross_entropy")
    with engine_on(HostRuntime(), [measure]) as on_card:
        logits = np.arange(12, dtype=np.float16).reshape(3, 4)
        given = {"logits": logits, "targets": np.arange(3)}
        same = on_card.compute(measure, given)
        found = on_card.compute(measure, given | {"logits": logits.astype(logits.dtype.newbyteorder(">"))})
        assert found.totals == same.totals


@pytest.mark.parametrize("of", ["the card", "the limit"])
def test_what_a_refused_batch_took_is_given_back(of: str) -> None:
    """However often: no lane is lost, and no byte that one has given back counts."""
    measure = find("cross_entropy")
    runtime, limit = HostRuntime(), 2**26
    classes = limit if of == "the limit" else limit // 16
    row = {"logits": np.zeros((1, classes), np.float32), "targets": np.zeros(1, int)}
    with engine_on(runtime, [measure], memory_bytes=limit) as on_card:
        assert on_card.card is not None
        for _ in range(4 * LANES):
            runtime.most = 2**22 if of == "the card" else 2**40
            with pytest.raises(OutOfMemory, match="the card is full" if of == "the card" else "bytes are set"):
                on_card.compute(measure, row)
            assert not runtime.memory  # the lanes were idle
            assert not runtime.pinned
            assert on_card.card._lanes.qsize() == LANES
            for _ in range(LANES):
                assert on_card.compute(measure, request(measure, 9)).totals["count"] == 9


def test_rows_of_every_length_are_warm_before_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ran, real = set(), Card.run

    def spy(self: Card, variant: Variant, dtype: Any, feeds: Any, into: Any = None) -> Any:
        ran.add((variant.file(dtype.name), feeds["logits"].shape[-1] > 1024))
        return real(self, variant, dtype, feeds, into)

    monkeypatch.setattr(Card, "run", spy)
    measure = find("cross_entropy")
    with engine_on(HostRuntime(), [measure]):
        assert ran == set(product((v.file(d) for v in variants(measure) for d in DTYPES), (False, True)))


def test_halves_are_widened_before_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    widened, real = [], Card._widen

    def spy(self: Card, dtype: str, *more: Any) -> None:
        widened.append(dtype)
        real(self, dtype, *more)

    monkeypatch.setattr(Card, "_widen", spy)
    with engine_on(HostRuntime(), [find("nll_loss")]):
        assert sorted(widened) == sorted(WIDENED)


def test_what_one_long_row_took_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.card, "KEPT_BYTES", 2**20)
    measure, runtime = find("cross_entropy"), HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        before = runtime.held
        on_card.compute(measure, {"logits": np.zeros((1, 2**20), np.float32), "targets": np.zeros(1, int)})
        assert runtime.held <= before
        assert on_card.compute(measure, request(measure, 9)).totals["count"] == 9


def test_memory_is_kept_from_block_to_block_and_grows_only_as_it_must() -> None:
    measure = find("cross_entropy")
    runtime = HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        for _ in range(3 * LANES):
            on_card.compute(measure, request(measure, 1000))
        before = set(runtime.memory)
        for _ in range(3 * LANES):
            on_card.compute(measure, request(measure, 900))
        assert set(runtime.memory) == before


def test_sessions_on_a_card_share_an_arena_and_run_nothing_on_the_cpu() -> None:
    runtime = HostRuntime()
    with engine_on(runtime, [find("cross_entropy")], memory_bytes=2**30) as on_card:
        assert "cross_entropy.float32.cuda.onnx" in on_card.sessions.opened  # the CPU's holds shapes
        (_, _), *opened = runtime.opened  # the first sees only whether there is a card
    assert opened
    for providers, options in opened:
        assert providers == [("CUDAExecutionProvider", {"use_tf32": "0"})]
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        assert options.get_session_config_entry("session.use_env_allocators") == "1"
    ((provider, where, device, limits),) = runtime.arenas
    assert (provider, where.name, device) == ("CUDAExecutionProvider", "Cuda", {"device_id": "0"})
    assert (limits.max_mem, limits.arena_extend_strategy) == (2**29, 1)


def test_no_samples_and_no_classes_ask_nothing_of_a_card() -> None:
    measure = find("cross_entropy")
    runtime = HostRuntime()
    with engine_on(runtime, [measure]) as on_card:
        runtime.sent.clear()
        empty = on_card.compute(measure, {"logits": np.zeros((0, 3), np.float32), "targets": np.zeros(0, int)})
        assert empty.totals["count"] == 0
        assert not runtime.sent


def test_graphs_for_a_card_hold_nothing_that_follows_from_a_shape() -> None:
    """onnxruntime computes that on the CPU, and a graph that is not wholly on the card does not open."""
    names = [name for name in manifest(FOLDER) if name.endswith(".cuda.onnx")]
    assert len(names) > 20
    for name in manifest(FOLDER):
        if name in names or name.replace(".onnx", ".cuda.onnx") not in names:
            nodes = {node.op_type for node in onnx.load(FOLDER / name).graph.node}
            assert not nodes & {"Shape", "Size", "NonZero", "If", "Loop"}, name


def test_the_placement_of_nodes_is_read(engine: Engine) -> None:
    for session in engine.sessions.opened.values():
        (provider, nodes), *others = engine.sessions.placement(session).items()
        assert provider == engine.sessions.provider
        assert nodes
        assert not others
