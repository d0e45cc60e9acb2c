"""python -m tests.soak [ROW ...]: run the long rows, all or some, and write what they printed to bench/soak.md.

The rows that are not run again keep what they had.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "bench"
KEPT, PAGE = FOLDER / "soak.json", FOLDER / "soak.md"
HEAD = """# The long rows

`make soak` runs them whole; `.venv/bin/python -m tests.soak ROW` one of them. Each judges itself; this is what the last
run of each printed.
"""


@dataclass(frozen=True)
class Row:
    """A command, and what of its output says nothing."""

    title: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


ROWS = {
    "oracle": Row(
        "A million random requests against live PyTorch",
        ("pytest", "tests/oracle", "-m", "oracle", "-s", "-q", "-p", "no:randomly"),
        {"ORACLE_CASES": "1000000"},
    ),
    "reports": Row(
        "10,000 random reports a task beside scikit-learn, SciPy, PyTorch and torchmetrics",
        ("pytest", "tests/oracle/test_reports_oracle.py", "-m", "oracle", "-s", "-q", "-p", "no:randomly"),
        {"REPORTS_CASES": "10000"},
    ),
    "bodies": Row("200,000 mutated bodies", ("tests.fuzz", "200000")),
    "wire": Row("A million mutated requests over sockets", ("tests.fuzz.wire", "1000000")),
    "decoders": Row("Decoders, fuzzed by coverage", ("tests.fuzz.coverage_guided", "10000000")),
    "schemas": Row("schemathesis, 10,000 cases an operation", ("tests.soak.schemas", "10000")),
    "drain": Row("SIGTERM under load, 20 times with one worker and 20 with two", ("tests.soak.drain", "20")),
    "overload": Row("Five times the capacity for a minute", ("tests.soak.overload", "60")),
    "slow": Row("A thousand slow clients", ("tests.soak.slow", "1000")),
    "idle": Row("Ten thousand idle connections", ("tests.soak.idle", "10000")),
    "stalls": Row("Probes beside large bodies", ("tests.soak.stalls", "50")),
    "peaks": Row("Memory at most, and after many shapes", ("tests.soak.peaks",)),
    "memory": Row("Memory after refusals and a million mixed requests", ("tests.soak.memory", "1000000")),
}


def run(row: Row) -> dict[str, Any]:
    """Run a row: its lines are shown as they come, and kept."""
    began, lines = time.time(), []
    command = [sys.executable, "-m", *row.arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | row.environment
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    ended = "as it must be" if process.returncode == 0 else f"exit code {process.returncode}"
    return {
        "command": " ".join(
            [*(f"{name}={value}" for name, value in row.environment.items()), "python -m", *row.arguments]
        ),
        "date": time.strftime("%Y-%m-%d", time.gmtime(began)),
        "seconds": round(time.time() - began),
        "ended": ended,
        "lines": [line for line in lines if line][-40:],
    }


def page(results: dict[str, Any]) -> str:
    """The page of all rows that have been run."""
    parts = [HEAD]
    for name, row in ROWS.items():
        if name in results:
            found = results[name]
            parts.append(
                f"## {row.title}\n\n`{found['command']}`, {found['date']}, {found['seconds']} s: {found['ended']}.\n"
            )
            parts.append("```\n" + "\n".join(found["lines"]) + "\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Run the rows that are asked for."""
    names = sys.argv[1:] or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        sys.exit(f"{unknown[0]} is none of {', '.join(ROWS)}")
    results: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in names:
        print(f"== {ROWS[name].title}", flush=True)
        results[name] = run(ROWS[name])
        KEPT.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))
    sys.exit(any(results[name]["ended"] != "as it must be" for name in names))


if __name__ == "__main__":
    main()
