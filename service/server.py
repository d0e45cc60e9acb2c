"""How uvicorn serves the app: in this process, or in several that share the port."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from core.measures import MEASURES
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from service.app import create_app
from service.counters import Shared
from service.logs import set_up_logging
from service.settings import Settings
from service.telemetry import Metrics

KEEP_ALIVE_SECONDS = 75  # longer than the idle time-out of common load balancers, 60 s
GRACE_SECONDS = 20  # after SIGTERM, for requests that are being answered
BACKLOG = 128


START_FAILED = 3
_PR_SET_PDEATHSIG = 1


class Server(uvicorn.Server):
    """uvicorn's server, for which SIGTERM is the ordinary end: it does not die of the signal once it has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take note of signals, and do not raise them again."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # uvicorn would raise them once more; it has no setting for this


def config(app: FastAPI | Callable[[], FastAPI], settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for an app, or for what makes one in each worker."""
    return uvicorn.Config(
        app,
        factory=not isinstance(app, FastAPI),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http="service.protocol:Protocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks who the client is
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def worker_app(settings: Settings, shared: Shared, parent: int) -> FastAPI:
    """The app of one worker, in its own process, which on Linux ends when `parent`, which started it, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended already
            sys.exit(START_FAILED)
    set_up_logging(settings.log_level, settings.log_format)
    return create_app(settings, shared=shared)


def serve(settings: Settings) -> int:
    """Serve until a signal says to stop. The exit code: 0, or 3 where the start failed."""
    if settings.workers == 1:
        server = Server(config(create_app(settings), settings))
        server.run()
        return 0 if server.started else START_FAILED
    shared = Shared(multiprocessing.get_context("spawn"), Metrics(MEASURES).size, settings.workers)
    made = config(partial(worker_app, settings, shared, os.getpid()), settings)
    try:
        listener = made.bind_socket()
    except SystemExit:  # uvicorn has logged why
        return START_FAILED
    workers = Multiprocess(made, [listener])
    workers.run()
    return START_FAILED if any(worker.exitcode == START_FAILED for worker in workers.processes) else 0
