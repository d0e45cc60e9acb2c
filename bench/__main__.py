"""python -m bench: the tables of README.md, measured anew. QUICK=1 is shorter; AGAINST=DIR adds another checkout."""

import json
import os
import platform
import time
from collections import defaultdict
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench import inprocess, memory, report, reports
from bench.driver import Window, window
from bench.servers import Server, running
from bench.work import WORKS, Work

PACKAGES = ("fastapi", "httptools", "numpy", "onnxruntime", "orjson", "pysimdjson", "torch", "uvicorn", "uvloop")


def compare(work: Work, servers: list[Server], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Windows of each server in turn, `rounds` times; a row for each server, in multiples of the floor."""
    windows: dict[str, list[Window]] = defaultdict(list)
    requests = {server.kind: work.request(server.kind) for server in servers}
    least = 2 if work.rows * work.classes > 10**8 else 5
    for number in range(rounds + 1):
        for server in servers:

            def is_right(body: bytes, kind: str = server.kind) -> bool:
                return work.is_right(kind, body)

            request = requests[server.kind]
            found = window(server.port, server.pid, request, is_right, work.connections, seconds, least)
            if number:  # the first round warms
                windows[server.name].append(found)
    floors = windows["floor"]
    rows = []
    for server in servers:
        own = windows[server.name]
        cpu = sorted(one.cpu_ms / floor.cpu_ms for one, floor in zip(own, floors, strict=True))
        rate = median(one.rate / floor.rate for one, floor in zip(own, floors, strict=True))
        row = {
            "work": work.title,
            "server": server.name,
            "cpu_ms": median(one.cpu_ms for one in own),
            "rate": median(one.rate for one in own),
            "wall_ms": median(1e3 * work.connections / one.rate for one in own),
            "cpu_floors": median(cpu),
            "cpu_floors_spread": (cpu[0], cpu[-1]),
            "rate_floors": rate,
            "goal": work.goal,
        }
        rows.append(row)
        goal = f"  goal {work.goal:g}" if server.kind == "service" and work.goal else ""
        print(
            f"{work.title:24} {server.name:8} {row['cpu_ms']:9.3f} ms CPU {row['rate']:9.1f}/s {row['wall_ms']:9.3f} ms"
            f"   CPU {row['cpu_floors']:6.2f} floors [{cpu[0]:.2f}-{cpu[-1]:.2f}], rate {rate:5.2f}{goal}",
            flush=True,
        )
    return rows


def over_http(quick: bool, against: str) -> list[dict[str, Any]]:
    """The table of requests."""
    works = WORKS[:-1] if quick else WORKS
    with ExitStack() as stack:
        servers = [stack.enter_context(running(kind, kind)) for kind in ("floor", "received", "service")]
        if against:
            servers.append(stack.enter_context(running("against", "service", Path(against).resolve())))
        servers.append(stack.enter_context(running("naive", "naive")))
        rows = []
        for work in works:
            rows += compare(work, servers, 3 if quick else 7, 0.7 if quick else 1.5)
    return rows


def in_process(quick: bool) -> list[dict[str, Any]]:
    """The table of calls."""
    rows = inprocess.measure(quick)
    for row in rows:
        low, high = row["spread"]
        print(
            f"{row['case']:52} core {row['core_ms']:8.3f} ms, torch {row['torch_ms']:8.3f} ms"
            f"   {row['ratio']:5.2f} of torch [{low:.2f}-{high:.2f}]  goal {row['goal']:.2f}",
            flush=True,
        )
    return rows


def _machine() -> dict[str, Any]:
    """Where this is measured, and with what."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.partition(": ")[2] for line in lines if line.startswith("model name")), ""),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def main() -> None:
    """Measure, print, write."""
    quick, against = bool(os.environ.get("QUICK")), os.environ.get("AGAINST", "")
    began = time.time()
    machine = _machine()
    print(json.dumps(machine))
    results: dict[str, Any] = {"machine": machine, "quick": quick, "calls": in_process(quick)}
    results["requests"] = over_http(quick, against)
    results["reports"] = reports.measure(quick)
    with running("service", "service") as server:
        results["memory"] = memory.measure(server)
    print(f"{time.time() - began:.0f} s")
    if not quick and not against:
        report.write(results)


if __name__ == "__main__":
    main()
