"""Files that are there as a whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from offline.errors import Refused, Unreadable


def require_writable(path: str, inputs: Sequence[str]) -> None:
    """Raise Refused where no file can be at `path`, or one of the `inputs` is: before hours of work, not after."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise Refused(f"{path}: there is no folder {folder}")
    if Path(path).is_dir():
        raise Refused(f"{path}: this is a folder, but must be a file")
    if any(Path(one).exists() and Path(path).exists() and Path(path).samefile(one) for one in inputs):
        raise Refused(f"{path}: this is an input, which the state would replace")


def require_regular(path: str) -> None:
    """Raise Refused for a folder, a pipe or a device: reading one may never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise Refused(f"{path}: this is no regular file")


def write(path: str, content: bytes) -> None:
    """Write `content` beside `path`, then rename it. Raises Unreadable."""
    own = Path(path)
    if own.exists() and not own.is_file():  # a pipe or a device: what replaced it would be no such
        own.write_bytes(content)
        return
    half = own.with_name(f".{own.name[:200]}.{os.getpid()}.part")
    try:
        with open(half, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, own)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    finally:
        half.unlink(missing_ok=True)
