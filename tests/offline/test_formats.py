"""Every format gives the state that the rows have, whatever pieces they are read in."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from core.reports import storage
from core.reports.prepare import prepare
from core.reports.state import gather
from core.reports.tasks import TASKS
from offline import parquet, source
from tests.offline.conftest import Lossmeter, engine_of
from tests.offline.files import CLASSES, ROWS, WRITERS, multiclass, table

TASK = TASKS["multiclass"]


def whole(name: str) -> bytes:
    """The state of the rows as one batch."""
    job = prepare(TASK, {**multiclass(), "shard": name, "bins": 4, "top_k": [1, 3]})
    return storage.write(gather(job, engine_of(TASK.columns).per_sample(job.batch)))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("elements", [2**21, 63])
def test_a_format_gives_the_state_of_its_rows(
    lossmeter: Lossmeter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, elements: int
) -> None:
    monkeypatch.setattr(source, "ELEMENTS", elements)
    monkeypatch.setattr(parquet, "DECODED", elements // 3)
    extension, write = WRITERS[kind]
    path = tmp_path / f"some{extension}"
    write(path, multiclass())
    options = ("--task", "multiclass", "--bins", 4, "--top-k", "3,1", "--state-out", "state", "--device", "cpu")
    assert lossmeter("report", path, *options) == 0
    assert (tmp_path / "state").read_bytes() == whole(path.name)


@pytest.mark.parametrize("kind", ["parquet, groups", "arrow", "stream", "npz", "safetensors"])
@pytest.mark.parametrize("count", [2, 7])
def test_shards_merge_to_the_bytes_of_one_run(lossmeter: Lossmeter, tmp_path: Path, kind: str, count: int) -> None:
    extension, write = WRITERS[kind]
    for name, rows in (("a", 50), ("b", 3)):  # some shards have none
        write(tmp_path / f"{name}{extension}", multiclass(rows, seed=rows))
    run = ("report", f"a{extension}", f"b{extension}", "--task", "multiclass", "--state-out")
    assert lossmeter(*run, "whole") == 0
    shards = [f"shard{number}" for number in range(1, count + 1)]
    for number, name in enumerate(shards, 1):
        assert lossmeter(*run, name, "--shard", f"{number}/{count}") == 0
    assert lossmeter("merge", *reversed(shards), "--state-out", "merged") == 0
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("kind", ["parquet, groups", "arrow", "stream", "npz", "safetensors"])
def test_a_shard_without_rows_is_of_the_same_kind_as_others(lossmeter: Lossmeter, tmp_path: Path, kind: str) -> None:
    extension, write = WRITERS[kind]
    write(tmp_path / f"a{extension}", multiclass(1))
    run = ("report", f"a{extension}", "--task", "multiclass", "--state-out")
    assert [lossmeter(*run, "none", "--shard", "1/2"), lossmeter(*run, "whole")] == [0, 0]
    assert lossmeter("merge", "none", "none", "whole", "--state-out", "merged") == 0
    assert (tmp_path / "none").read_bytes() != (tmp_path / "whole").read_bytes()
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


def test_ids_and_groups_come_along(lossmeter: Lossmeter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of Parquet as strings piece by piece, of npz as an array of them."""
    monkeypatch.setattr(source, "ELEMENTS", 10 * CLASSES)
    monkeypatch.setattr(parquet, "DECODED", 3 * CLASSES)
    columns = multiclass()
    more = {"ids": np.array([f"x{i}" for i in range(ROWS)]), "groups": np.arange(ROWS) % 3}
    (tmp_path / "parquet").mkdir()
    made = table(columns).append_column("ids", [more["ids"].tolist()]).append_column("groups", [more["groups"]])
    pq.write_table(made, tmp_path / "parquet" / "rows")
    np.savez(tmp_path / "rows.npz", **columns, **more)  # type: ignore[arg-type]
    (tmp_path / "rows.npz").rename(tmp_path / "rows")
    states = []
    for path in ("rows", "parquet/rows"):
        assert lossmeter("report", path, "--task", "multiclass", "--state-out", "state") == 0
        states.append((tmp_path / "state").read_bytes())
    assert states[0] == states[1]
    state = storage.read(states[0], TASKS)
    assert (list(state.groups), state.whole["worst"].entries[0].id[1][0]) == (["0", "1", "2"], "x")


def test_states_one_after_another_in_a_file_are_merged_too(lossmeter: Lossmeter, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **multiclass())  # type: ignore[arg-type]
    run = ("report", "a.npz", "--task", "multiclass", "--state-out")
    assert [lossmeter(*run, name, "--shard", f"{name}/2") for name in ("1", "2")] == [0, 0]
    assert lossmeter(*run, "whole") == 0
    (tmp_path / "both").write_bytes((tmp_path / "1").read_bytes() + (tmp_path / "2").read_bytes())
    assert lossmeter("merge", "both", "--state-out", "merged") == 0
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_its_example(lossmeter: Lossmeter, tmp_path: Path, task: str) -> None:
    names = {tensor.name: tensor.kind.value for tensor in TASKS[task].request.tensors}
    given = {n: v for n, v in TASKS[task].example.items() if n in names}
    columns = {n: np.asarray(v, np.float32 if names[n] == "float" else np.int64) for n, v in given.items()}
    (tmp_path / "parquet").mkdir()
    pq.write_table(table(columns, "list"), tmp_path / "parquet" / "rows")
    save_file(columns, tmp_path / "rows")
    states = []
    for path in ("rows", "parquet/rows"):
        assert lossmeter("report", path, "--task", task, "--worst", 3, "--state-out", "state") == 0
        states.append((tmp_path / "state").read_bytes())
    assert states[0] == states[1]
