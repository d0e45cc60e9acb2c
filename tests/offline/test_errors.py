"""What is wrong is said in one line, with the file, the row and what it must be; and the exit code says whose it is."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from offline import source
from tests.offline.conftest import Lossmeter
from tests.offline.files import CLASSES, file, multiclass, npz, table

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(lossmeter: Lossmeter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """The exit code and the one line of a command that answers nothing; rows are read ten at a time."""
    monkeypatch.setattr(source, "ELEMENTS", 10 * CLASSES)

    def run(*arguments: object) -> tuple[int, str]:
        code = lossmeter(*arguments)
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), err[:11]) == ("", 1, "lossmeter: ")
        return code, err[11:-1]

    return run


def changed(name: str, place: Any, value: object) -> dict[str, Any]:
    """The columns with one value changed."""
    columns = multiclass()
    columns[name][place] = value
    return columns


def without(name: str, row: int) -> Any:
    """A table in which the row of a column is null."""
    made = table(multiclass(), "list")
    values = made[name].to_pylist()
    values[row] = None
    return made.set_column(made.schema.get_field_index(name), name, pa.array(values, made[name].type))


def with_logits(row: int, entries: list[float | None]) -> Any:
    """A table in which a row of logits has other entries."""
    made = table(multiclass(), "list")
    values = made["logits"].to_pylist()
    values[row] = entries
    return made.set_column(0, "logits", pa.array(values, made["logits"].type))


WITHIN = f"must be a class index in [0, {CLASSES}) or ignore_index -100"
ROWS: dict[str, tuple[Any, str]] = {
    "target": (table(changed("targets", 17, 99)), f"row 17: targets is 99, but {WITHIN}"),
    "later target": (table(changed("targets", 43, -7)), f"row 43: targets is -7, but {WITHIN}"),
    "weight": (table(changed("sample_weight", 55, -1)), "row 55: sample_weight is -1.0, but must be finite and at"),
    "null": (without("targets", 33), "row 33: targets is null, but must be there"),
    "null list": (without("logits", 34), "row 34: logits is null, but must be there"),
    "null entry": (with_logits(35, [0.0] * 6 + [None]), "row 35: logits is null, but must be there"),
    "ragged": (with_logits(23, [0.0] * 9), "row 23: logits has 9 entries, but must have 7, as the rows before it"),
    "ragged at a piece": (with_logits(20, [0.0]), "row 20: logits has 1 entries, but must have 7, as the rows"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row_is_named_by_its_place_in_the_file(said: Said, tmp_path: Path, case: str) -> None:
    made, text = ROWS[case]
    pq.write_table(made, tmp_path / "a.parquet", 15)
    code, line = said("report", "a.parquet", "--task", "multiclass")
    assert (code, line[: len("a.parquet: ") + len(text)]) == (2, f"a.parquet: {text}")


def test_a_place_within_a_row_is_named(said: Said, tmp_path: Path) -> None:
    probabilities = np.full((40, 4), 0.25)
    probabilities[31, 2] = -0.5
    np.savez(tmp_path / "a.npz", probabilities=probabilities, targets=np.zeros(40, np.int64))
    code, line = said("report", "a.npz", "--task", "multiclass")
    assert (code, line) == (2, "a.npz: row 31: probabilities[2] is -0.5, but must be between 0.0 and 1.0")


USAGE: dict[str, tuple[tuple[object, ...], str]] = {
    "no task": (("a.npz",), "the following arguments are required: --task"),
    "unknown task": (("a.npz", "--task", "ranking"), "argument --task: invalid choice: 'ranking'"),
    "unknown flag": (("a.npz", "--task", "binary", "--nothing"), "unrecognized arguments: --nothing"),
    "another task's": (("a.npz", "--task", "binary", "--top-k", "1"), "--top-k is not known: binary takes --binning"),
    "value": (("a.npz", "--task", "multiclass", "--bins", "0"), "bins is 0, but must be between 1 and 1000"),
    "pick": (
        ("a.npz", "--task", "multiclass", "--top-k", "1,1"),
        "top_k[1] is 1, but must be an integer from 1 on, each once",
    ),
    "word": (("a.npz", "--task", "multiclass", "--binning", "x"), 'binning is "x", but must be one of "width", "mass"'),
    "number": (("a.npz", "--task", "multiclass", "--bins", "x"), 'argument --bins: "x" is no integer'),
    "float": (("a.npz", "--task", "multiclass", "--confidence", "x"), 'argument --confidence: "x" is no number'),
    "boolean": (("a.npz", "--task", "multiclass", "--confusion", "1"), 'argument --confusion: "1" is neither true'),
    "threads": (("a.npz", "--task", "multiclass", "--threads", "-1"), "argument --threads: -1 is not between 0 and"),
    "shard": (("a.npz", "--task", "multiclass", "--shard", "3/2"), 'argument --shard: "3/2" must be i/n with 1 <= i'),
    "column": (("a.npz", "--task", "multiclass", "--column", "x"), 'argument --column: "x" must be NAME=OWN'),
    "column's name": (("a.npz", "--task", "multiclass", "--column", "x=y"), "--column x is not known: multiclass has"),
    "own name": (("a.npz", "--task", "multiclass", "--column", "targets=y"), "a.npz: there is no column y: there are"),
    "twice": (
        ("a.npz", "--task", "multiclass", "--column", "targets=y", "--column", "targets=z"),
        "--column targets is there twice",
    ),
    "axis": (("a.npz", "--task", "tokens", "--class-axis", "0"), "class_axis is 0, but must not be the first"),
    "shape": (("a.npz", "--task", "binary"), "a.npz: logits has rows of shape (7,), but must have one value for each"),
    "same name": (("a.npz", "./a.npz", "--task", "multiclass"), "./a.npz: there is a a.npz already, a.npz: files must"),
    "other spec": (("a.npz", "b.npz", "--task", "multiclass"), "b.npz: the states differ: classes is 7 in one and 5"),
    "no folder": (("a.npz", "--task", "multiclass", "--state-out", "no/state"), "no/state: there is no folder no"),
    "a folder": (("a.npz", "--task", "multiclass", "--state-out", "."), ".: this is a folder, but must be a file"),
    "columns": (("c.npz", "--task", "multiclass"), "c.npz: the columns are x, but must be one of logits, log_prob"),
    "no rows": (("d.npz", "--task", "multiclass"), "d.npz: there are no rows"),
    "rows": (("e.npz", "--task", "multiclass"), "e.npz: "),
    "format": (("f.txt", "--task", "multiclass"), "f.txt: this is none of .parquet, .arrow, .feather, .ipc, .arrows"),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage_and_input_that_are_wrong_are_refused(said: Said, tmp_path: Path, case: str) -> None:
    arguments, text = USAGE[case]
    made: dict[str, dict[str, Any]] = {
        "a.npz": multiclass(),
        "b.npz": multiclass(classes=5),
        "c.npz": {"x": np.zeros(3)},
        "d.npz": {"logits": np.zeros((0, 3)), "targets": np.zeros(0, np.int64)},
        "e.npz": {"logits": np.zeros((4, 3)), "targets": np.zeros(5, np.int64)},
    }
    for name, columns in made.items():
        np.savez(tmp_path / name, **columns)
    (tmp_path / "f.txt").write_text("text")
    code, line = said("report", *arguments)
    assert (code, line[: len(text)]) == (2, text)


def test_columns_that_are_no_numbers_are_refused(said: Said, tmp_path: Path) -> None:
    for name, columns in (("targets", {"targets": ["a"]}), ("ids", {"targets": [0], "ids": [1.5]})):
        pq.write_table(pa.table({"logits": [[1.0, 2.0]], **columns}), tmp_path / "a.parquet")
        code, line = said("report", "a.parquet", "--task", "multiclass")
        assert (code, line.split(" is a column of ")[0]) == (2, f"a.parquet: {name}")
    np.savez(tmp_path / "a.npz", logits=np.zeros((1, 2)), targets=np.array([b"x"]))
    assert said("report", "a.npz", "--task", "multiclass")[0] == 2
    np.savez(tmp_path / "b.npz", logits=np.zeros((1, 2)), targets=np.int64(3))
    assert said("report", "b.npz", "--task", "multiclass")[1] == "b.npz: targets is a single value, but must have rows"


def header(entries: object, tensors: bytes = b"") -> bytes:
    """A safetensors file of a header that may be wrong."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + tensors


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
GOOD = save({"logits": np.zeros((2, 2), np.float32), "targets": np.zeros(2, np.int64)})
BROKEN: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.npz", b"", "cannot mmap an empty file"),
    "npz": ("a.npz", b"PK\x03\x04" + bytes(100), "File is not a zip file"),
    "parquet": ("a.parquet", b"PAR1" + bytes(100), "Parquet magic bytes not found in footer"),
    "arrow": ("a.arrow", b"ARROW1" + bytes(100), "Not an Arrow file"),
    "stream": ("a.arrows", bytes(range(100)), ""),
    "short": ("a.safetensors", b"1234", "the header is said to have"),
    "long": ("a.safetensors", struct.pack("<Q", 2**40) + b"{}", "the header is said to have 1099511627776 bytes"),
    "no JSON": ("a.safetensors", header(b"{nothing"), "Expecting property name"),
    "a list": ("a.safetensors", header([1]), "the header is no JSON object"),
    "twice": ("a.safetensors", header(b'{"a": 1, "a": 2}'), "the header has a name twice"),
    "members": ("a.safetensors", header({"a": {"dtype": "F32"}}), "a must have data_offsets, dtype, shape and nothing"),
    "negative": ("a.safetensors", header({"a": {**ENTRY, "shape": [-1]}}), "shape of a must be integers"),
    "offsets": ("a.safetensors", header({"a": {**ENTRY, "data_offsets": [1]}}), "a must have a dtype that is a string"),
    "hole": ("a.safetensors", header({"a": {**ENTRY, "data_offsets": [4, 8]}}, bytes(8)), "data_offsets of a are 4"),
    "cut off": ("a.safetensors", GOOD[:-1], "the tensors end at byte"),
    "dtype": ("a.safetensors", GOOD.replace(b'"I64"', b'"Q64"'), "targets is of Q64, but must be of F16"),
    "size": ("a.safetensors", GOOD.replace(b"[2,2]", b"[2,3]"), "logits of shape (2, 3) cannot have 16 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_cannot_be_read_are_said_to_be(said: Said, tmp_path: Path, case: str) -> None:
    name, content, text = BROKEN[case]
    (tmp_path / name).write_bytes(content)
    code, line = said("report", name, "--task", "multiclass")
    assert (code, line[: len(name) + 2 + len(text)]) == (1, f"{name}: {text}")


def test_a_file_that_is_not_there_is_said_to_be_missing(said: Said) -> None:
    assert said("report", "no.npz", "--task", "binary") == (1, "no.npz: No such file or directory")
    assert said("merge", "no") == (1, "no: No such file or directory")


def test_a_parquet_file_that_breaks_off_within_is_unreadable(said: Said, tmp_path: Path) -> None:
    pq.write_table(table(multiclass()), tmp_path / "a.parquet", compression="snappy", use_dictionary=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[40:400] = bytes(360)
    (tmp_path / "a.parquet").write_bytes(content)
    assert said("report", "a.parquet", "--task", "multiclass")[0] == 1


def test_an_arrow_file_that_breaks_off_within_is_unreadable(said: Said, tmp_path: Path) -> None:
    file(tmp_path / "a.arrow", table(multiclass()), "lz4")
    content = (tmp_path / "a.arrow").read_bytes()
    for name, start in (("in.arrow", 2000), ("before.arrow", 700)):
        (tmp_path / name).write_bytes(content[:start] + b"\xff" * 1500 + content[start + 1500 :])
        assert said("report", name, "--task", "multiclass")[0] == 1


def test_members_of_an_archive_that_are_damaged_are_unreadable(said: Said, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("logits.npy", b"nothing of the kind")
        archive.writestr("targets.npy", b"nothing of the kind")
    assert said("report", "a.npz", "--task", "multiclass")[0] == 1
    np.savez(tmp_path / "b.npz", **multiclass())  # type: ignore[arg-type]
    content = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content.replace(b"(57, 7)", b"(57, 9)"))
    code, line = said("report", "b.npz", "--task", "multiclass")
    assert (code, line) == (1, "b.npz: logits: its header says 2052 bytes, but there are 1596")


def test_objects_in_an_archive_are_refused(said: Said, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", logits=np.zeros((1, 2)), targets=np.array([{}], object))
    assert said("report", "a.npz", "--task", "multiclass")[0] == 2


def test_states_that_do_not_merge_are_refused(said: Said, lossmeter: Lossmeter, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **multiclass())  # type: ignore[arg-type]
    said_nothing = ("--task", "multiclass", "--state-out")
    assert lossmeter("report", "a.npz", *said_nothing, "state", "--json") == 0
    assert lossmeter("report", "a.npz", *said_nothing, "other", "--bins", "3") == 0
    np.savez(tmp_path / "b.npz", **multiclass())  # type: ignore[arg-type]
    assert lossmeter("report", "b.npz", *said_nothing, "third") == 0
    with pytest.raises(AssertionError):  # it answers
        said("merge", "state")
    code, line = said("merge", "state", "state")
    assert (code, line.startswith("state: the shard 'a.npz' is in both")) == (2, True)
    differ = (2, "other: the states differ: bins is 15 in one and 3 in another")
    assert said("merge", "state", "other") == differ
    assert said("merge", "state", "third", "other") == differ
    code, line = said("merge", "state", "third", "third")
    assert (code, line.startswith("third: the shard 'b.npz' is in both")) == (2, True)
    (tmp_path / "damaged").write_bytes((tmp_path / "state").read_bytes()[:-1] + b"?")
    (tmp_path / "empty").write_bytes(b"")
    assert [said("merge", name)[0] for name in ("damaged", "empty", "a.npz")] == [1, 1, 1]


def test_a_state_does_not_replace_an_input(said: Said, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    npz(path, multiclass())
    before = path.read_bytes()
    code, error = said("report", path, "--task", "multiclass", "--state-out", path)
    assert (code, error) == (2, f"{path}: this is an input, which the state would replace")
    assert path.read_bytes() == before


def test_what_may_never_end_is_not_read(said: Said) -> None:
    assert said("merge", "/dev/zero") == (2, "/dev/zero: this is no regular file")
