"""Ends a process whose event loop is stuck, and says in which line it is."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from ctypes import Array, c_longlong

STUCK = 70  # the exit code; EX_SOFTWARE of sysexits.h
Turns = list[int] | Array[c_longlong]  # one number; an Array is in memory that processes share
TICKS = 10  # in the time that is allowed


def watch(turns: Turns, seconds: float) -> None:
    """Have a thread look at `turns[0]`, which the event loop counts up, unless `seconds` is 0.

    Once it has begun, `seconds` without a turn end the process.
    """
    if seconds:
        threading.Thread(target=_watch, args=(turns, seconds, _end), name="watchdog", daemon=True).start()


def _watch(turns: Turns, seconds: float, end: Callable[[float], None]) -> None:
    # It counts its own ticks, not the time: a process that was stopped, or a machine that slept, has missed one.
    last = missed = 0
    while missed < TICKS:
        time.sleep(seconds / TICKS)
        now = turns[0]
        missed, last = missed + 1 if now == last and now else 0, now
    end(seconds)


def _end(seconds: float) -> None:
    print(f"lossmeter: the event loop has made no turn for {seconds:g} s; this is what it does:", file=sys.stderr)
    sys.stderr.flush()
    faulthandler.dump_traceback()
    os._exit(STUCK)
