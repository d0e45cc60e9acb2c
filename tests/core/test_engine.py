"""The device, the sessions, and which graph a request runs."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import core.engine
import core.feeds
from core.check import prepare
from core.declare import Measure
from core.engine import Engine
from core.errors import Cancelled, DeviceUnavailable, GraphDamaged, OutOfMemory
from core.exact import exact_sum
from core.measures import MEASURES
from core.sessions import Sessions, choose_device
from core.tiles import plan
from core.variants import FOLDER, MANIFEST, Variant, complete, select
from tests import inputs

CPU, BOTH = ["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]


def opens() -> str:
    return ""


def fails() -> str:
    return "there is no card"


@pytest.mark.parametrize(
    ("wanted", "available", "device"),
    [("cpu", BOTH, "cpu"), ("auto", BOTH, "cuda"), ("auto", CPU, "cpu"), ("cuda", BOTH, "cuda")],
)
def test_device_is_chosen(wanted: str, available: list[str], device: str) -> None:
    assert choose_device(wanted, available, opens) == device


def test_auto_falls_back_where_no_card_opens_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_device("auto", BOTH, fails) == "cpu"
    assert "the CPU computes: there is no card" in caplog.text


def test_cuda_that_cannot_be_had_is_refused_with_the_reason() -> None:
    with pytest.raises(DeviceUnavailable, match="has no CUDAExecutionProvider, only CPUExecutionProvider: install"):
        choose_device("cuda", CPU, opens)
    with pytest.raises(DeviceUnavailable, match="DEVICE is cuda, but there is no card"):
        choose_device("cuda", BOTH, fails)


def test_an_engine_refuses_cuda_here() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(DeviceUnavailable):
        Engine([MEASURES["kl_div"]], device="cuda")


@pytest.mark.parametrize("broken", [True, False])
def test_a_provider_that_silently_falls_back_is_no_card(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    """onnxruntime opens a session on the CPU where CUDA's libraries do not load; an engine must not believe it."""
    real = onnxruntime.InferenceSession
    preloaded = []

    def session(content: bytes, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
        if broken and providers[0][0] != CPU[0]:
            raise RuntimeError("libcudart.so.13: cannot open\nand more")
        return real(content, options, providers=CPU)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: BOTH)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: preloaded.append(1), raising=False)
    assert Engine([MEASURES["kl_div"]], device="auto").sessions.device == "cpu"
    reason = "cannot be loaded: libcudart.so.13: cannot open$" if broken else "opens no card"
    with pytest.raises(DeviceUnavailable, match=reason):
        Engine([MEASURES["kl_div"]], device="cuda")
    assert preloaded == [1, 1]


def test_a_damaged_graph_stops_the_start(tmp_path: Path) -> None:
    graphs = tmp_path / "graphs"
    shutil.copytree(FOLDER, graphs)
    with (graphs / "kl_div.float32.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(GraphDamaged, match=r"kl_div\.float32\.onnx has the SHA-256"):
        Engine([MEASURES["kl_div"]], device="cpu", graphs=graphs)
    (graphs / MANIFEST).write_text("nonsense")
    with pytest.raises(GraphDamaged, match="the list of graphs"):
        Engine([MEASURES["kl_div"]], device="cpu", graphs=graphs)


def test_what_is_not_asked_for_is_not_computed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variants are a fast path: plain requests must run the plain graph."""
    ran: list[str] = []
    real = Sessions.attempt

    def spy(self: Sessions, variant: Variant, dtype: str, work: Any) -> Any:
        ran.append(variant.file(dtype))
        return real(self, variant, dtype, work)

    monkeypatch.setattr(Sessions, "attempt", spy)
    logits, targets = np.zeros((2, 3), np.float32), np.array([0, 1])
    cross_entropy = MEASURES["cross_entropy"]
    for more in (
        {},
        {"label_smoothing": 0.0},
        {"label_smoothing": 0.1},
        {"weight": np.ones(3, np.float32)},
        {"weight": np.ones(3, np.float32), "label_smoothing": 1},
    ):
        engine.compute(cross_entropy, {"logits": logits, "targets": targets, **more})
    assert ran == [
        "cross_entropy.without_weight.without_label_smoothing.float32.onnx",
        "cross_entropy.without_weight.without_label_smoothing.float32.onnx",
        "cross_entropy.without_weight.float32.onnx",
        "cross_entropy.without_label_smoothing.float32.onnx",
        "cross_entropy.float32.onnx",
    ]


def test_a_graph_is_looked_up_once(measure: Measure) -> None:
    choices = {choice.name: choice.default for choice in measure.choices}
    assert select(measure, choices, frozenset()) is complete(measure)


def test_what_a_graph_can_take_as_it_is_is_not_copied() -> None:
    logits, targets = np.zeros((8, 3), np.float32), np.zeros(8, np.int64)
    logits.flags.writeable = False  # as the bytes of a body may be
    batch = prepare(MEASURES["cross_entropy"], {"logits": logits, "targets": targets})
    for block in plan(batch.plan.computed, 4):
        feeds = core.feeds.feeds(batch, block)
        assert np.shares_memory(feeds["logits"], logits)
        assert np.shares_memory(feeds["targets"], targets)
        assert feeds["logits"].shape == (4, 3)


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [((64, 10), 1), ((1024, 1000), 2), ((256, 32_000), 16), ((1024, 128_256), 256), ((8, 2**20), 2)],
)
def test_every_thread_has_blocks_that_need_no_padding(engine: Engine, shape: tuple[int, int], blocks: int) -> None:
    logits = np.broadcast_to(np.float32(0), shape)
    batch = prepare(MEASURES["cross_entropy"], {"logits": logits, "targets": np.zeros(shape[0], int)})
    planned = plan(batch.plan.computed, *engine._block(batch.plan, *shape))
    assert len(planned) == blocks
    assert all((block.stop - block.start) % core.feeds.PAD_ROWS[batch.plan.dtype] == 0 for block in planned)


def test_elements_are_added_up_block_by_block(engine: Engine, measure: Measure) -> None:
    """By the threads that compute them; what has a value for each row is few values, added up at the end."""
    fields = inputs.request(measure, np.random.default_rng(1), core.engine.ELEMENTWISE_BLOCK * 2 + 77, 2)
    values = engine.per_sample(prepare(measure, fields))
    assert set(values.sums) == (set() if measure.over_classes else set(values.arrays))
    assert all(values.sum(name) == exact_sum(array) for name, array in values.arrays.items())


def test_a_cancelled_batch_stops(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.engine, "BLOCK_ELEMENTS", 3)
    batch = prepare(MEASURES["cross_entropy"], {"logits": np.zeros((9, 3)), "targets": np.zeros(9, int)})
    with pytest.raises(Cancelled):
        engine.per_sample(batch, lambda: True)


def test_graphs_run_single_threaded_inside_and_send_no_telemetry(engine: Engine) -> None:
    import os

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    options = next(iter(engine.sessions.opened.values())).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_one_thread_is_enough() -> None:
    alone = Engine([MEASURES["kl_div"]], device="cpu", threads=1)
    size = core.engine.ELEMENTWISE_BLOCK * 3 + 5
    values = np.linspace(-5, 0, size)
    result = alone.compute(MEASURES["kl_div"], {"log_probabilities": values, "targets": np.exp(values)})
    assert result.totals["count"] == size
    alone.close()


def test_a_small_batch_waits_for_no_other() -> None:
    busy = Engine([MEASURES["kl_div"]], device="cpu", threads=1)
    busy._turns.get()  # as a block of a large batch that is being computed
    done = threading.Event()

    def compute(size: int) -> None:
        busy.compute(MEASURES["kl_div"], {"log_probabilities": np.zeros(size), "targets": np.ones(size)})
        done.set()

    threading.Thread(target=compute, args=(core.engine.SMALL_ELEMENTS,), daemon=True).start()
    assert done.wait(30)
    done.clear()
    large = threading.Thread(target=compute, args=(core.engine.SMALL_ELEMENTS + 1,), daemon=True)
    large.start()
    assert not done.wait(0.2)
    busy._turns.put(None)
    large.join(30)
    assert done.is_set()
    busy.close()


def test_no_more_graphs_run_at_once_than_there_are_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers compute too, so their number must not add to it."""
    made = Engine([MEASURES["kl_div"]], device="cpu", threads=2)
    now, most, lock, real = [0], [0], threading.Lock(), dict(made.sessions.opened)

    class Counted:
        def __init__(self, session: Any) -> None:
            self.session = session

        def run(self, *arguments: Any) -> Any:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            try:
                return self.session.run(*arguments)
            finally:
                with lock:
                    now[0] -= 1

    monkeypatch.setattr(made.sessions, "opened", {name: Counted(session) for name, session in real.items()})
    values = np.full(core.engine.ELEMENTWISE_BLOCK * 20, -1.0, np.float32)
    with ThreadPoolExecutor(4) as callers:
        fields = {"log_probabilities": values, "targets": np.exp(values)}
        results = list(callers.map(lambda _: made.compute(MEASURES["kl_div"], fields).totals, range(8)))
    assert all(totals == results[0] for totals in results)
    assert most[0] == 2
    made.close()


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("soft_cross_entropy", {}, 3e-7),
        ("soft_cross_entropy", {"weight"}, 3e-7),
        ("cross_entropy", {"label_smoothing"}, 3e-7),
        ("cross_entropy", {"label_smoothing", "weight"}, 1e-6),  # one float32 product: within PyTorch's 1.3e-6
    ],
)
def test_a_vocabulary_is_added_up_exactly_enough(
    engine: Engine, name: str, options: set[str], tolerance: float
) -> None:
    """A plain float32 sum of 128,256 terms leaves PyTorch's tolerance."""
    rng = np.random.default_rng(6)
    logits = (rng.normal(size=(3, 128_256)) * 3).astype(np.float32)
    targets = rng.random(logits.shape, np.float32) if name == "soft_cross_entropy" else np.array([0, 1, 2])
    every = {"label_smoothing": 0.3, "weight": rng.random(128_256, np.float32) + np.float32(0.5)}
    measure, fields = MEASURES[name], {"targets": targets, **{name: every[name] for name in options}}
    found = engine.compute(measure, {"logits": logits, **fields}).outputs["per_sample"]
    exact = engine.compute(measure, {"logits": logits.astype(np.float64), **fields}).outputs["per_sample"]
    assert np.all(np.abs(found - exact) <= tolerance * np.abs(exact))


def test_distributions_may_be_large_before_they_are_normalized_and_near_each_other(engine: Engine) -> None:
    measure = MEASURES["distribution_cross_entropy"]
    large = np.array([[3e38, 3e38]], np.float32)
    result = engine.compute(measure, {"p": large, "q": large, "normalize": True})
    assert result.outputs["per_sample"] == pytest.approx(np.log(2))
    assert result.outputs["kl_divergence"] == 0
    shift = np.linspace(1e-5, 1e-3, 200)
    p, q = np.full((200, 2), 0.5, np.float32), np.stack([0.5 + shift, 0.5 - shift], 1).astype(np.float32)
    divergence = engine.compute(measure, {"p": p, "q": q}).outputs["kl_divergence"]
    exact = engine.compute(measure, {"p": p.astype(np.float64), "q": q.astype(np.float64)}).outputs["kl_divergence"]
    assert divergence == pytest.approx(exact, rel=1e-6, abs=1e-15)


class Full:
    """A session of a device without memory."""

    def run(self, *_: Any) -> Any:
        raise RuntimeError(
            "[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 268435456"
        )

    def io_binding(self) -> Any:
        return self.run()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("rows", [2, 100_000])
def test_without_memory_the_batch_is_refused_and_the_next_one_answered(
    device: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Engine([MEASURES["kl_div"]], device="cpu", threads=2)
    monkeypatch.setattr(made.sessions, "device", device)
    given = {"log_probabilities": np.zeros((rows, 1)), "targets": np.ones((rows, 1))}
    good = made.compute(MEASURES["kl_div"], given)
    real = dict(made.sessions.opened)
    made.sessions.opened.update(dict.fromkeys(real, Full()))
    with pytest.raises(OutOfMemory, match="not enough memory for the batch on CPUExecutionProvider"):
        made.compute(MEASURES["kl_div"], given)
    if device == "cpu":
        made.sessions.opened.update(real)
    else:  # a card's session is opened again
        assert any(not isinstance(session, Full) for session in made.sessions.opened.values())
    assert made.compute(MEASURES["kl_div"], given).loss == good.loss
    made.close()


def test_other_failures_of_a_graph_are_not_hidden(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(Full, "run", fail)
    monkeypatch.setattr(engine.sessions, "opened", dict.fromkeys(engine.sessions.opened, Full()))
    with pytest.raises(RuntimeError, match="something else"):
        engine.compute(MEASURES["kl_div"], {"log_probabilities": np.zeros(3), "targets": np.ones(3)})
