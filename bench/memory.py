"""How much memory the service takes: idle, at most, and after batches of many shapes."""

import http.client
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.servers import Server
from bench.work import Work

BATCHES = 60
MOST = 4000  # rows and classes
MIB = 2**20


def resident(pid: int, line: str = "VmRSS") -> float:
    """MiB that a process has in memory, or had at most ("VmHWM")."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) / 1024


def _ask(connection: http.client.HTTPConnection, rows: int, classes: int) -> int:
    """Ask for the losses of one batch: the bytes of its body."""
    _, headers, body = Work("binary", rows, classes, 1, 0).parts("service")
    connection.request("POST", "/v2/models/cross_entropy/infer", body, headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(str(response.read()[:500]))
    response.read()
    return len(body)


def measure(server: Server) -> dict[str, Any]:
    """The service's memory, in MiB, over batches of random shapes and then small ones."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    rng = np.random.default_rng(8)
    idle = resident(server.pid)
    for _ in range(200):
        _ask(connection, 64, 10)
    base = resident(server.pid)
    largest = max(_ask(connection, *map(int, rng.integers(1, MOST, 2))) for _ in range(BATCHES))
    peak = resident(server.pid, "VmHWM")
    for _ in range(200):
        _ask(connection, 64, 10)
    time.sleep(3)
    after = resident(server.pid)
    connection.close()
    row = {"idle": idle, "base": base, "peak": peak, "largest_body": largest / MIB, "after": after}
    print("memory, MiB: " + ", ".join(f"{name} {value:.0f}" for name, value in row.items()), flush=True)
    return row
