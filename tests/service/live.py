"""The app in the command's server, on a thread of this process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from service.app import create_app
from service.server import Server, config
from service.settings import Settings


@contextmanager
def listening(**settings: Any) -> Iterator[str]:
    """The host and port of an app with some settings of its own."""
    merged: Any = {"device": "cpu", "threads": 2} | settings
    made = Settings(**merged)
    with served(config(create_app(made), made)) as address:
        yield address


@contextmanager
def served(how: uvicorn.Config) -> Iterator[str]:
    """The host and port of what uvicorn serves by `how`."""
    server = Server(how)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
    assert not thread.is_alive()
