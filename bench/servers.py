"""The servers that are asked, each a process on a port of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Server:
    """A process that listens. `kind` is "service" or an app of bench.apps."""

    name: str
    kind: str
    port: int
    pid: int


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, kind: str, folder: Path = ROOT) -> Iterator[Server]:
    """A server in a process of its own; the service is that of the checkout in `folder`."""
    port = _free_port()
    if kind == "service":
        command = [sys.executable, "-m", "service", "serve"]
    else:
        command = [sys.executable, "-m", "bench.apps", kind, str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSMETER_")}
    environment |= {"LOSSMETER_PORT": str(port), "LOSSMETER_DEVICE": "cpu", "LOSSMETER_THREADS": "2"}
    environment |= {"PYTHONPATH": str(folder)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield Server(name, kind, port, process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not listen")
