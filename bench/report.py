"""The results as the tables of README.md."""

import json
from pathlib import Path
from typing import Any

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results.json"
MARK = "## Last run\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) + ("--:",) * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _spread(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


def _reports(reports: dict[str, Any]) -> list[str]:
    """Those of reports."""
    rows: list[tuple[str, ...]] = [
        (
            row["case"],
            f"{row['report_ms']:.2f}",
            f"{row['loss_ms']:.2f}",
            f"{row['wall']:.2f}",
            f"{row['cpu']:.2f}",
            _spread(*row["cpu_spread"]),
            f"{row['goal']:g}",
        )
        for row in reports["requests"]
    ]
    head = ("multiclass report", "ms", "cross_entropy, ms", "wall, ratio", "CPU, ratio", "spread", "goal")
    calls = ", ".join(f"{name} {value:.1f} ms" for name, value in reports["calls_ms"].items())
    return [_table(head, rows), f"In process, the same metrics of 1024x1000: {calls}.\n"]


def tables(results: dict[str, Any]) -> str:
    """Markdown."""
    machine, memory = results["machine"], results["memory"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    requests: list[tuple[str, ...]] = [
        (
            row["work"],
            row["server"],
            f"{row['cpu_ms']:.3f}",
            f"{row['rate']:.0f}",
            f"{row['cpu_floors']:.2f}",
            _spread(*row["cpu_floors_spread"]),
            f"{row['rate_floors']:.2f}",
            f"{row['goal']:g}" if row["server"] == "service" and row["goal"] else "",
        )
        for row in results["requests"]
    ]
    calls: list[tuple[str, ...]] = [
        (
            row["case"],
            f"{row['core_ms']:.3f}",
            f"{row['torch_ms']:.3f}",
            f"{row['ratio']:.2f}",
            _spread(*row["spread"]),
            f"{row['goal']:.2f}",
        )
        for row in results["calls"]
    ]
    return "\n".join(
        [
            f"{machine['cpu']}, {machine['cores']} cores; Python {machine['python']}, {packages}.\n",
            _table(
                ("request", "server", "CPU ms", "requests/s", "CPU, floors", "spread", "rate, floors", "goal"), requests
            ),
            _table(("call", "core, ms", "torch, ms", "core / torch", "spread", "goal"), calls),
            *_reports(results["reports"]),
            "Memory of one worker, MiB: "
            + ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in memory.items())
            + ".\n",
        ]
    )


def record(name: str, part: Any) -> None:
    """Put one part of the results, measured anew, beside those of the last run."""
    write(json.loads(RESULTS.read_text()) | {name: part})


def write(results: dict[str, Any]) -> None:
    """Keep the results, and put their tables into README.md."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    before = README.read_text().partition(MARK)[0]
    README.write_text(f"{before}{MARK}\n{tables(results)}")
