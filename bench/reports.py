"""A report beside the loss of the same request, and beside scikit-learn and torchmetrics with the same metrics."""

import json
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import report as table
from bench.driver import Window, window
from bench.servers import Server, running
from core.engine import Engine
from core.reports.prepare import prepare
from core.reports.report import report
from core.reports.state import gather
from core.reports.tasks import find

ROWS, CLASSES, THREADS, BINS, GOAL = 1024, 1000, 2, 15, 2.5
SAFETENSORS = "application/x-safetensors"
PATHS = {"loss": "/v1/losses/cross_entropy", "report": "/v1/reports/multiclass"}


def _batch() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits of a model that is right in half of the cases, and targets."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, CLASSES, ROWS)
    logits = rng.standard_normal((ROWS, CLASSES), np.float32)
    logits[np.arange(ROWS), targets] += 3.3
    return logits, targets


def _body(form: str) -> tuple[str, bytes]:
    """The media type and the bytes of the request, which are the same for both paths."""
    logits, targets = _batch()
    if form == "JSON":
        fields = {"logits": logits.astype(np.float64).tolist(), "targets": targets.tolist()}
        return "application/json", json.dumps(fields).encode()
    tensors: dict[str, tuple[str, NDArray[Any]]] = {"logits": ("F32", logits), "targets": ("I64", targets)}
    header, reached = {}, 0
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (reached, reached + array.nbytes)}
        reached += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return SAFETENSORS, len(text).to_bytes(8, "little") + text + logits.tobytes() + targets.tobytes()


def _right(name: str, body: bytes) -> bool:
    """Whether an answer has the mean cross-entropy."""
    logits, targets = _batch()
    block = logits.astype(np.float64)
    expected = np.mean(np.log(np.exp(block).sum(1)) - block[np.arange(ROWS), targets])
    document = json.loads(body)
    found = document["loss"] if name == "loss" else document["metrics"]["cross_entropy"]["value"]
    return bool(abs(found - expected) < 1e-5 * expected)


def _over_http(server: Server, form: str, quick: bool) -> dict[str, Any]:
    media_type, body = _body(form)
    said = f"Host: 127.0.0.1\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}"
    windows: dict[str, list[Window]] = {name: [] for name in PATHS}
    for number in range(4 if quick else 21):  # short, as the machine's speed changes within seconds
        for name, path in PATHS.items():
            head = f"POST {path} HTTP/1.1\r\n{said}\r\n\r\n"

            def is_right(answer: bytes, name: str = name) -> bool:
                return _right(name, answer)

            found = window(server.port, server.pid, head.encode() + body, is_right, 1, 0.6, 5)
            if number:  # the first round warms
                windows[name].append(found)
    pairs = list(zip(windows["report"], windows["loss"], strict=True))
    cpu = sorted(report.cpu_ms / loss.cpu_ms for report, loss in pairs)
    return {
        "case": f"{form} {ROWS}x{CLASSES}, c1",
        "report_ms": median(1e3 / one.rate for one in windows["report"]),
        "loss_ms": median(1e3 / one.rate for one in windows["loss"]),
        "wall": median(loss.rate / report.rate for report, loss in pairs),
        "cpu": median(cpu),
        "cpu_spread": (cpu[0], cpu[-1]),
        "goal": GOAL,
    }


def _ours() -> Callable[[], Any]:
    task, (logits, targets) = find("multiclass"), _batch()
    engine = Engine([task.columns], device="cpu", threads=THREADS)

    def call() -> Any:
        job = prepare(task, {"logits": logits, "targets": targets})
        return report(gather(job, engine.per_sample(job.batch)))

    return call


def _sklearn() -> Callable[[], Any]:
    from scipy.special import softmax
    from sklearn import metrics

    logits, targets = _batch()

    warnings.simplefilter("ignore")  # of classes that are not predicted

    def call() -> Any:
        p, labels = softmax(logits, axis=1), np.arange(CLASSES)
        said = p.argmax(axis=1)
        return (
            metrics.log_loss(targets, p, labels=labels),
            metrics.accuracy_score(targets, said),
            [metrics.top_k_accuracy_score(targets, p, k=k, labels=labels) for k in (1, 5)],
            metrics.balanced_accuracy_score(targets, said),
            metrics.matthews_corrcoef(targets, said),
            metrics.cohen_kappa_score(targets, said),
            metrics.brier_score_loss(targets, p, labels=labels),
            [
                metrics.precision_recall_fscore_support(targets, said, average=average, zero_division=0)
                for average in ("micro", "macro", "weighted", None)
            ],
        )

    return call


def _torchmetrics() -> Callable[[], Any]:
    import torch
    from torchmetrics import functional as of
    from torchmetrics.functional import classification as metrics

    torch.set_num_threads(THREADS)
    logits, targets = (torch.from_numpy(array) for array in _batch())

    def call() -> Any:
        with torch.inference_mode():
            p = logits.softmax(1)
            more: dict[str, Any] = {"num_classes": CLASSES}
            return (
                of.text.perplexity(logits[None], targets[None]),
                [metrics.multiclass_accuracy(p, targets, top_k=k, average="micro", **more) for k in (1, 5)],
                metrics.multiclass_matthews_corrcoef(p, targets, **more),
                metrics.multiclass_cohen_kappa(p, targets, **more),
                [
                    metrics.multiclass_calibration_error(p, targets, n_bins=BINS, norm=n, **more)
                    for n in ("l1", "max", "l2")
                ],
                [
                    metric(p, targets, average=average, **more)
                    for metric in (metrics.multiclass_precision, metrics.multiclass_recall, metrics.multiclass_f1_score)
                    for average in ("micro", "macro", "weighted", "none")
                ],
            )

    return call


def _least_ms(call: Callable[[], Any], count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def _in_process(quick: bool) -> dict[str, float]:
    calls = {"core": _ours(), "scikit-learn": _sklearn(), "torchmetrics": _torchmetrics()}
    for call in calls.values():
        call()
    rounds = [{name: _least_ms(call, 5) for name, call in calls.items()} for _ in range(2 if quick else 5)]
    return {name: min(one[name] for one in rounds) for name in calls}


def measure(quick: bool) -> dict[str, Any]:
    """The rows of both tables, printed as they are made."""
    rows = []
    with running("service", "service") as server:
        for form in ("binary", "JSON"):
            row = _over_http(server, form, quick)
            rows.append(row)
            low, high = row["cpu_spread"]
            print(
                f"report {row['case']:20} {row['report_ms']:9.3f} ms, the loss {row['loss_ms']:8.3f} ms   wall"
                f" {row['wall']:5.2f}, CPU {row['cpu']:5.2f} of the loss [{low:.2f}-{high:.2f}]  goal {row['goal']:g}",
                flush=True,
            )
    calls = _in_process(quick)
    print("report in process, ms: " + ", ".join(f"{name} {value:.2f}" for name, value in calls.items()), flush=True)
    return {"requests": rows, "calls_ms": calls}


if __name__ == "__main__":
    table.record("reports", measure(quick=False))
