"""The results as the tables of README.md."""

from pathlib import Path
from typing import Any

README = Path(__file__).parent / "README.md"
MARK = "## Last run\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) + ("--:",) * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _spread(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


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
            "Memory of one worker, MiB: "
            + ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in memory.items())
            + ".\n",
        ]
    )


def write(results: dict[str, Any]) -> None:
    """Put the tables into README.md."""
    before = README.read_text().partition(MARK)[0]
    README.write_text(f"{before}{MARK}\n{tables(results)}")
