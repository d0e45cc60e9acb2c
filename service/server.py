"""How uvicorn serves the app."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.settings import Settings

KEEP_ALIVE_SECONDS = 75  # longer than the idle time-out of common load balancers, 60 s
GRACE_SECONDS = 20  # after SIGTERM, for requests that are being answered
BACKLOG = 128


class Server(uvicorn.Server):
    """uvicorn's server, for which SIGTERM is the ordinary end: it does not die of the signal once it has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take note of signals, and do not raise them again."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # uvicorn would raise them once more; it has no setting for this


def config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for `app`."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="service.protocol:Protocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody asks who the client is
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
