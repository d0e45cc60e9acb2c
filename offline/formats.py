"""Which format a file has: by its extension, else by the bytes that it begins with."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from offline.errors import Refused, Unreadable
from offline.source import Source

PARQUET, IPC, NPZ, SAFETENSORS = "parquet.Parquet", "ipc.Ipc", "npz.Npz", "safetensors.Safetensors"
EXTENSIONS = {
    ".parquet": PARQUET,
    **dict.fromkeys((".arrow", ".feather", ".ipc", ".arrows"), IPC),
    ".npz": NPZ,
    ".safetensors": SAFETENSORS,
}
MAGICS = {b"PAR1": PARQUET, b"ARROW1": IPC, b"PK\x03\x04": NPZ, b"\xff\xff\xff\xff": IPC}
NEEDS = "needs pyarrow, which is not installed: pip install 'lossmeter[parquet]'"


def open_source(path: str) -> Source:
    """The file at `path`, open. Raises Refused for a format that is none of these, and Unreadable."""
    try:
        return _opener(path)(path)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # nothing to map
        raise Unreadable(f"{path}: {error}") from error


def _opener(path: str) -> Callable[[str], Source]:
    with open(path, "rb") as file:
        head = file.read(9)
    found = EXTENSIONS.get(Path(path).suffix.lower()) or _by_magic(head)
    if found is None:
        raise Refused(f"{path}: this is none of {', '.join(EXTENSIONS)}, by its name and by its first bytes")
    module, name = found.split(".")
    try:
        opener: Callable[[str], Source] = getattr(import_module(f"offline.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        raise Refused(f"{path}: a .{module} file {NEEDS}") from None
    return opener


def _by_magic(head: bytes) -> str | None:
    if head[8:9] == b"{":  # after the length of the header
        return SAFETENSORS
    return next((found for magic, found in MAGICS.items() if head.startswith(magic)), None)
