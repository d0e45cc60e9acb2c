"""PyTorch's answers in a file, for tests where it is not installed: one gzipped JSON list of cases and answers."""

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.cases import Case

FILE = Path(__file__).parent / "golden.json.gz"


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.name, "shape": value.shape, "b64": base64.b64encode(value.tobytes()).decode()}
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["b64"]), value["dtype"]).reshape(value["shape"])
    return value


def write(rows: Iterable[tuple[Case, Any, float | None, str]], file: Path = FILE) -> None:
    """Write cases with PyTorch's per-sample values, loss and refusal."""
    entries = [
        {
            "measure": case.measure,
            "fields": {name: _pack(value) for name, value in case.fields.items()},
            "per_sample": _pack(per_sample),
            "loss": loss,
            "refused": refused,
        }
        for case, per_sample, loss, refused in rows
    ]
    file.write_bytes(gzip.compress(json.dumps(entries).encode(), mtime=0))


def read(file: Path = FILE) -> Iterator[tuple[Case, Any, float | None, str]]:
    """What was written."""
    for entry in json.loads(gzip.decompress(file.read_bytes())):
        fields = {name: _unpack(value) for name, value in entry["fields"].items()}
        yield Case(entry["measure"], fields), _unpack(entry["per_sample"]), entry["loss"], entry["refused"]
