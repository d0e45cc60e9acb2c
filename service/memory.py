"""Memory that large bodies took is kept for the next ones while they come, and given back when they do not.

Pages that are touched for the first time cost 0.5 ms a MB, more than all the rest of a request, so glibc's own limits,
which keep what is freed up to 32 MiB at a time, stay as they are. What they keep is more than an idle service should
have. What is larger than that glibc unmaps as it is freed, which takes 0.1 ms a MB and holds the interpreter: the pages
are given back before, without it.
"""

import asyncio
import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from service.telemetry import Metrics

SECONDS = 1.0  # between looks
LARGE = 2**25  # bytes; glibc keeps what is smaller


def _of_libc(name: str, *types: Any) -> Callable[..., int] | None:
    try:
        found: Any = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    found.argtypes = types
    return found  # type: ignore[no-any-return]


trim = _of_libc("malloc_trim", ctypes.c_size_t)
_advise = _of_libc("madvise", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def discard(content: bytes | bytearray | np.ndarray[Any, Any]) -> None:
    """Lose what is in `content`, which nobody may read any more, if it is large: its pages go back to the system."""
    if (content.nbytes if isinstance(content, np.ndarray) else len(content)) <= LARGE or _advise is None:
        return
    view = np.frombuffer(content, np.uint8)
    begin = -(-view.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (view.ctypes.data + view.size) // mmap.PAGESIZE * mmap.PAGESIZE
    _advise(begin, end - begin, mmap.MADV_DONTNEED)


async def give_back_when_idle(
    metrics: Metrics, trim: Callable[..., int] | None = trim, seconds: float = SECONDS
) -> None:
    """Once no loss has been asked for a while, give back what is free. Runs until it is cancelled."""
    given_back = metrics.computed
    while trim is not None:
        begun = metrics.computed
        await asyncio.sleep(seconds)
        if metrics.computed == begun != given_back and not metrics.in_flight:
            await asyncio.to_thread(trim, 0)
            given_back = begun
