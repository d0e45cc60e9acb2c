"""Memory that large bodies took is kept for the next ones while they come, and given back when they do not.

Pages that are touched for the first time cost 0.5 ms a MB, more than all the rest of a request, so glibc's own limits,
which keep what is freed up to 32 MiB at a time, stay as they are. What they keep is more than an idle service should
have.
"""

import asyncio
import ctypes
from collections.abc import Callable

from service.telemetry import Metrics

SECONDS = 1.0  # between looks


def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    found.argtypes = (ctypes.c_size_t,)  # type: ignore[attr-defined]
    return found


trim = _trim()


async def give_back_when_idle(
    metrics: Metrics, trim: Callable[[int], int] | None = trim, seconds: float = SECONDS
) -> None:
    """Once no loss has been asked for a while, give back what is free. Runs until it is cancelled."""
    given_back = metrics.computed
    while trim is not None:
        begun = metrics.computed
        await asyncio.sleep(seconds)
        if metrics.computed == begun != given_back and not metrics.in_flight:
            await asyncio.to_thread(trim, 0)
            given_back = begun
