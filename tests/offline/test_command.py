"""The commands as they are run: what they answer, what they leave behind, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.dtypes import BFLOAT16
from core.reports import storage
from core.reports.tasks import TASKS
from offline import formats, npz, source, write
from offline.errors import Unreadable
from tests.offline.conftest import Lossmeter
from tests.offline.files import multiclass, table

ROOT = Path(__file__).parents[2]
SIMPLE = {"logits": np.array([[2.0, 0.5], [0.1, 0.2]], np.float32), "targets": np.array([0, 0])}


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """What was answered, as strict JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(capsys.readouterr().out, parse_constant=refuse)


def test_json_is_strict_and_says_what_is_undefined_in_words(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", logits=np.array([1.0, np.inf]), targets=np.array([1, 0]))
    assert lossmeter("report", "a.npz", "--task", "binary", "--json") == 0
    found = document(capsys)
    assert (found["task"], found["samples"], found["worst"][0]["id"]) == ("binary", 2, "a.npz:1")
    assert found["metrics"]["binary_cross_entropy"]["value"] == "Infinity"
    assert found["metrics"]["ece"]["interval"] == ["NaN", "NaN"]
    assert found["dtype"] == "float64"  # as the service says it


def test_the_table_has_metrics_calibration_worst_samples_and_groups(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    columns = {name: pa.array(array.tolist()) for name, array in SIMPLE.items()}
    groups = pa.array(["one", "zwölf"]).dictionary_encode()
    pq.write_table(pa.table({**columns, "ids": ["x\n", "y"], "groups": groups}), tmp_path / "a.parquet")
    assert lossmeter("report", "a.parquet", "--task", "multiclass", "--dtype", "float32") == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.startswith("multiclass: 2 samples\n\nmetric ")
    lines = {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}
    assert lines["accuracy"] == ["0.5", "0.0945312", "to", "0.905469", "Wilson"]
    assert lines["f1_macro"] == ["0.333333"]
    assert lines["calibration"] == ["weight", "confidence", "accuracy"]
    assert lines["0.8"] == ["to", "0.866667", "1", "0.817574", "1"]
    assert lines["x\\n"][1:3] == ["0", "0"]
    assert (lines["group"][:2], lines["one"][:2], lines["zw\\xf6lf"][0]) == (
        ["samples", "cross_entropy"],
        ["1", "0.201413"],
        "1",
    )


def test_bins_of_equal_weight_have_numbers_for_edges(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", logits=np.linspace(-3, 3, 12), targets=np.arange(12) % 2)
    assert lossmeter("report", "a.npz", "--task", "binary", "--binning", "mass", "--bins", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("calibration"))
    assert [line.split()[:2] for line in lines[start + 1 : start + 4]] == [["1", "4"], ["2", "4"], ["3", "4"]]


def test_the_classes_of_lowest_f1_are_named(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    targets = np.array([0, 0, 1, 1, 1, 2, 4])
    logits = np.eye(5, dtype=np.float32)[[0, 0, 1, 1, 2, 1, 3]]  # F1: 1, 2/3, 0, nothing true, 0
    np.savez(tmp_path / "a.npz", logits=logits, targets=targets)
    assert lossmeter("report", "a.npz", "--task", "multiclass") == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("class of lowest f1"))
    assert [line[:1] for line in lines[start + 1 : start + 6]] == ["2", "4", "1", "0", ""]


def test_no_line_is_wider_than_there_is_room(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    columns = {**multiclass(), "ids": [f"a sample of a very long name, the {number}th" for number in range(57)]}
    np.savez(tmp_path / "a.npz", **columns)  # type: ignore[arg-type]
    widest = {}
    for width in (40, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        assert lossmeter("report", "a.npz", "--task", "multiclass") == 0
        out = capsys.readouterr().out
        widest[width] = max(map(len, out.splitlines()))
        assert ("margin" in out, "method" in out) == (width == 200, width == 200)
    assert widest[40] <= 40 < widest[200] < 200


def test_the_head_of_the_table_says_what_is_unusual(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[0, 0] = np.nan
    np.savez(tmp_path / "a.npz", logits=logits, targets=[[0, 0], [1, -100], [-100, -100]], sample_weight=[1.0, 2, 3])
    assert lossmeter("report", "a.npz", "--task", "tokens", "--worst", 0) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "tokens: 2 samples, 3 tokens, 1 ignored, 1 non-finite, weight 3"
    assert "worst" not in out


@pytest.mark.parametrize(("dtype", "given", "computed"), [
    (None, "float32", "float32"),
    (None, "float16", "float32"),
    (None, "float64", "float64"),
    ("float32", "float64", "float32"),
    ("float64", "float32", "float64"),
])  # fmt: skip
def test_scores_are_computed_in_the_dtype_that_is_asked_for(
    lossmeter: Lossmeter, tmp_path: Path, dtype: str | None, given: str, computed: str
) -> None:
    columns = {**SIMPLE, "logits": SIMPLE["logits"].astype(given)}
    pq.write_table(table(columns), tmp_path / "a.parquet")
    more = ("--dtype", dtype) if dtype else ()
    assert lossmeter("report", "a.parquet", "--task", "multiclass", "--state-out", "state", *more) == 0
    assert storage.read((tmp_path / "state").read_bytes(), TASKS).spec.dtype == computed


def test_bfloat16_is_taken_of_safetensors(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    halves = np.array([[1.0, 3.0]], np.float32).view(np.uint16)[:, 1::2]
    assert BFLOAT16.itemsize == 2
    head = json.dumps({
        "logits": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]},
        "targets": {"dtype": "BOOL", "shape": [1], "data_offsets": [4, 5]},
        "ids": {"dtype": "U64", "shape": [1], "data_offsets": [5, 13]},
        "__metadata__": {"format": "pt"},
    }).encode()  # fmt: skip
    content = len(head).to_bytes(8, "little") + head + halves.tobytes() + b"\1" + (7).to_bytes(8, "little")
    (tmp_path / "a.safetensors").write_bytes(content)
    assert lossmeter("report", "a.safetensors", "--task", "multiclass", "--json") == 0
    found = document(capsys)
    assert found["worst"][0]["id"] == 7
    assert found["worst"][0]["loss"] == pytest.approx(np.log1p(np.exp(-2)), rel=1e-6)


def test_columns_may_have_other_names_and_a_binary_row_an_axis_of_its_own(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    columns = {"probabilities": [[0.5], [0.25]], "logits": [7.0, 7.0], "label": [True, False], "targets": [9, 9]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    names = ("--column", "targets=label", "--column", "probabilities=probabilities")
    assert lossmeter("report", "a.parquet", "--task", "binary", *names, "--json") == 0
    assert document(capsys)["metrics"]["brier_score"]["value"] == (0.5**2 + 0.25**2) / 2


def test_the_axis_of_the_classes_may_be_another(lossmeter: Lossmeter, tmp_path: Path) -> None:
    logits = np.random.default_rng(1).standard_normal((5, 3, 4), np.float32)
    targets = np.zeros((5, 3), np.int64)
    np.savez(tmp_path / "a.npz", logits=logits, targets=targets)
    (tmp_path / "turned").mkdir()
    np.savez(tmp_path / "turned" / "a.npz", logits=logits.transpose(0, 2, 1), targets=targets)
    run = ("report", "--task", "tokens", "--state-out")
    assert lossmeter(*run, "1", "a.npz") == lossmeter(*run, "2", "turned/a.npz", "--class-axis", 1) == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_progress_is_on_stderr_where_it_is_asked_for(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **multiclass())  # type: ignore[arg-type]
    shown = {}
    for how in ("always", "never", "auto"):
        assert lossmeter("report", "a.npz", "--task", "multiclass", "--progress", how) == 0
        shown[how] = capsys.readouterr().err
    assert (shown["never"], shown["auto"]) == ("", "")
    assert "] 100%  57 of 57 rows  " in shown["always"]
    bar, last = shown["always"].rsplit("\r\x1b[K", 1)
    assert bar.endswith("0:00 left")
    assert last.startswith("57 rows in ")
    assert last.endswith(" MB/s\n")


def test_a_bar_is_taken_away_before_what_is_wrong_is_said(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(source, "MOST_ROWS", 20)
    columns = multiclass()
    columns["targets"][50] = 99
    np.savez(tmp_path / "a.npz", **columns)  # type: ignore[arg-type]
    assert lossmeter("report", "a.npz", "--task", "multiclass", "--progress", "always") == 2
    shown = capsys.readouterr().err
    assert "left\r\x1b[Klossmeter: a.npz: row 50: targets is 99, " in shown
    assert "rows in" not in shown


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_every_column_of_a_binary_row_may_have_an_axis_of_its_own(
    lossmeter: Lossmeter, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    columns = {"logits": np.array([1.0, 2, 3]), "targets": np.array([0, 1, 1]), "sample_weight": np.array([1.0, 2, 1])}
    np.savez(tmp_path / "a.npz", **columns)  # type: ignore[arg-type]
    assert lossmeter("report", "a.npz", "--task", "binary", "--state-out", "flat") == 0
    np.savez(tmp_path / "a.npz", **{name: array.reshape(shape) for name, array in columns.items()})  # type: ignore[arg-type]
    assert lossmeter("report", "a.npz", "--task", "binary", "--state-out", "own") == 0
    assert (tmp_path / "own").read_bytes() == (tmp_path / "flat").read_bytes()


def test_without_pyarrow_one_line_says_what_to_install(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pq.write_table(table(SIMPLE), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", **SIMPLE)  # type: ignore[arg-type]
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("parquet", "ipc", "arrow_columns"):
        monkeypatch.delitem(sys.modules, f"offline.{name}", raising=False)
    assert lossmeter("report", "a.parquet", "--task", "multiclass") == 2
    assert capsys.readouterr().err == f"lossmeter: a.parquet: a .parquet file {formats.NEEDS}\n"
    assert lossmeter("report", "a.npz", "--task", "multiclass") == 0


def test_a_module_that_is_missing_otherwise_is_no_matter_of_pyarrow(
    lossmeter: Lossmeter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    monkeypatch.setitem(formats.EXTENSIONS, ".npz", "nothing.Nothing")
    with pytest.raises(ModuleNotFoundError, match=r"offline\.nothing"):
        lossmeter("report", "a.npz", "--task", "multiclass")


def test_a_state_is_written_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write.write(str(path), b"before")
    with path.open("rb") as reading:
        write.write(str(path), b"first")
        assert reading.read() == b"before"  # whoever reads a file goes on reading all of it

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unreadable, match="state: No space left on device"):
        write.write(str(path), b"second")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"state": b"first"}


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    write.write("/dev/null", b"content")
    assert Path("/dev/null").is_char_device()


def test_an_interrupt_leaves_nothing(lossmeter: Lossmeter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **multiclass())  # type: ignore[arg-type]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(npz.Npz, "release", interrupt)
    assert lossmeter("report", "a.npz", "--task", "multiclass", "--state-out", "state") == 130
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


def test_lists_of_options_may_be_empty_and_truths_are_words(
    lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **multiclass())  # type: ignore[arg-type]
    options = ("--top-k", "", "--averages", "macro", "--metrics", "auroc", "--confusion", "true", "--confidence", "0.9")
    assert lossmeter("report", "a.npz", "--task", "multiclass", "--json", *options, "--ignore-index", "-1") == 0
    found = document(capsys)
    assert np.shape(found["confusion"]["matrix"]) == (7, 7)
    assert {"auroc_macro", "f1_macro"} <= found["metrics"].keys()
    assert not {"f1_micro", "top_1_accuracy"} & found["metrics"].keys()


def program(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """`lossmeter`, started."""
    words = [sys.executable, "-m", "service", *arguments]
    return subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def opened(fifo: Path) -> int:
    """The end of `fifo` to write to, once somebody waits at the other."""
    end = time.monotonic() + 60
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_program_without_a_trace(tmp_path: Path, number: int, code: int) -> None:
    fifo = tmp_path / "a.npz"
    os.mkfifo(fifo)  # opening it waits until somebody writes
    with program("report", str(fifo), "--task", "multiclass", "--state-out", str(tmp_path / "state")) as process:
        try:
            end = opened(fifo)
            time.sleep(1)  # until it waits to read: Python does not see a signal that comes just before
            process.send_signal(number)
            said = process.communicate(timeout=60)
        finally:
            process.kill()
    os.close(end)
    assert (process.returncode, *said) == (code, "", "")
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


def test_a_report_needs_no_web_server() -> None:
    code = """
import sys
sys.argv = ["lossmeter", "report", "--help"]
from service.__main__ import main
try:
    main()
finally:
    print([name for name in ("fastapi", "starlette", "uvicorn", "pydantic", "pyarrow") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
    assert "--binning width|mass" in found.stdout
    assert "--metrics auroc,average_precision,ranking_loss,coverage_error" in found.stdout


def test_the_program_answers_and_ends_where_nobody_reads(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **SIMPLE)  # type: ignore[arg-type]
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "service", "report", str(tmp_path / "a.npz"), "--task", "multiclass"]
    found = subprocess.run(words, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, b"")
