"""The command, started as anyone starts it, in a process of its own that a long run can watch."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 60


@dataclass(frozen=True)
class Served:
    """A running service."""

    host: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    def resident(self) -> int:
        """Bytes of the process in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """How many files and sockets the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")


@contextmanager
def started(**settings: Any) -> Iterator[Served]:
    """`lossmeter serve` on a free port of this machine, on one thread unless `settings` say otherwise."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    wanted = {"port": port, "device": "cpu", "threads": 1, "log_level": "error"} | settings
    environment = os.environ | {f"LOSSMETER_{name.upper()}": str(value) for name, value in wanted.items()}
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        command = [sys.executable, "-m", "service", "serve"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            served = Served("127.0.0.1", port, process, Path(log.name))
            _wait_until_ready(served)
            yield served
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_until_ready(served: Served) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{served.host}:{served.port}/readyz", timeout=5):
                return
        except OSError:
            if served.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the service did not start: {served.said()[-500:]}") from None
            time.sleep(0.1)
