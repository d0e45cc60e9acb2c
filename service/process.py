"""A process that serves, from its app to its exit code."""

import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from service.app import create_app
from service.counters import Shared
from service.server import Server, config
from service.settings import Settings
from service.watchdog import Turns, watch

log = logging.getLogger("lossmeter.server")

START_FAILED = 3
LAST_THREADS_SECONDS = 0.5  # for threads to end after the server


def run(
    settings: Settings, sockets: Sequence[socket.socket], shared: Shared | None = None, turns: Turns | None = None
) -> int:
    """Serve in this process until a signal says to stop. The exit code: 0, or 3 where the start failed.

    With `shared` and `turns`, which its supervisor reads, it is one of several workers.
    """
    app = create_app(settings, shared=shared)
    server = Server(
        config(app, settings),
        app.running,
        drain_seconds=settings.drain_seconds,
        grace_seconds=settings.grace_seconds,
        turns=turns,
        worker=shared is not None,
    )
    gc.collect()
    gc.freeze()  # what is here stays: to look through it again would take 50 ms, with every request waiting
    watch(server.turns, settings.watchdog_seconds)
    server.run(list(sockets))
    if not server.started:
        return START_FAILED
    leave_stuck_threads()
    return 0


def leave_stuck_threads() -> None:
    """End this process if one of its threads does not: the interpreter would wait for it."""
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    for thread in others:
        thread.join(LAST_THREADS_SECONDS / len(others))
    if any(thread.is_alive() for thread in others):
        log.warning("leaves work that does not end")
        leave(0)


def leave(code: int) -> NoReturn:
    """End this process here and now, with all that it has written."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
