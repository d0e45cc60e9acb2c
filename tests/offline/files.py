"""The same rows in every format that is read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from core.rules import Array

Columns = Mapping[str, Array]
ROWS, CLASSES = 57, 7


def multiclass(rows: int = ROWS, classes: int = CLASSES, seed: int = 5) -> dict[str, Array]:
    """Logits, targets and weights."""
    random = np.random.default_rng(seed)
    return {
        "logits": random.standard_normal((rows, classes), np.float32),
        "targets": random.integers(0, classes, rows),
        "sample_weight": random.random(rows),
    }


def listed(array: Array, kind: str = "fixed") -> Any:
    """An array as a column of Arrow: of lists of `kind` where it has several axes."""
    if array.ndim == 1:
        return pa.array(array)
    values, width = listed(array.reshape(-1, *array.shape[2:]), kind), array.shape[1]
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, width)
    offsets = np.arange(0, len(values) + 1, width)
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def table(columns: Columns, kind: str = "fixed") -> Any:
    """A table of Arrow's."""
    return pa.table({name: listed(array, kind) for name, array in columns.items()})


def tensors(columns: Columns) -> Any:
    """A table whose scores are a FixedShapeTensor."""
    made = {name: listed(array) for name, array in columns.items()}
    made["logits"] = pa.FixedShapeTensorArray.from_numpy_ndarray(columns["logits"])
    return pa.table(made)


def stream(path: Path, made: Any, rows: int = 10) -> None:
    """Write an Arrow stream of record batches of `rows`."""
    with pa.ipc.new_stream(str(path), made.schema) as writer:
        writer.write_table(made, max_chunksize=rows)


def file(path: Path, made: Any, compression: str | None = None) -> None:
    """Write an Arrow file of record batches of 10 rows."""
    with pa.ipc.new_file(str(path), made.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(made, max_chunksize=10)


def big_endian(columns: Columns) -> dict[str, Array]:
    """The columns in the other order of bytes."""
    return {name: array.astype(array.dtype.newbyteorder(">")) for name, array in columns.items()}


def columnwise(columns: Columns) -> dict[str, Array]:
    """The columns as Fortran has them."""
    return {name: np.asfortranarray(array) for name, array in columns.items()}


def npz(path: Path, columns: Columns, *, compressed: bool = False) -> None:
    """Write an .npz file."""
    (np.savez_compressed if compressed else np.savez)(path, **columns)  # type: ignore[arg-type]


WRITERS: dict[str, tuple[str, Callable[[Path, Columns], None]]] = {
    "parquet, one group": (".parquet", lambda path, columns: pq.write_table(table(columns), path)),
    "parquet, groups": (".parquet", lambda path, columns: pq.write_table(table(columns, "list"), path, 11)),
    "parquet, large lists": (".parquet", lambda path, columns: pq.write_table(table(columns, "large"), path, 20)),
    "parquet, tensors": (".parquet", lambda path, columns: pq.write_table(tensors(columns), path, 20)),
    "parquet, unnamed": (".data", lambda path, columns: pq.write_table(table(columns), path, 20)),
    "arrow": (".arrow", lambda path, columns: file(path, table(columns))),
    "arrow, tensors": (".ipc", lambda path, columns: file(path, tensors(columns))),
    "feather": (".feather", lambda path, columns: file(path, table(columns, "list"), "lz4")),
    "stream": (".arrows", lambda path, columns: stream(path, table(columns))),
    "stream, unnamed": (".data", lambda path, columns: stream(path, table(columns))),
    "file, as a stream": (".arrows", lambda path, columns: file(path, table(columns))),
    "npz": (".npz", npz),
    "npz, compressed": (".npz", lambda path, columns: npz(path, columns, compressed=True)),
    "npz, big-endian": (".npz", lambda path, columns: npz(path, big_endian(columns))),
    "npz, Fortran": (".npz", lambda path, columns: npz(path, columnwise(columns))),
    "safetensors": (".safetensors", lambda path, columns: save_file(dict(columns), path)),
    "safetensors, unnamed": (".data", lambda path, columns: save_file(dict(columns), path)),
}
