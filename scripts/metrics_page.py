"""Writes docs/metrics.md: the definition of every metric of a report, from its declaration. `make docs`."""

import json
import math
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from core.reports.declare import Metric, Task  # noqa: E402
from core.reports.tasks import TASKS  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
HEAD = """# The metrics of a report

Written by `make docs` from the declarations in `core/reports/`; `GET /v1/reports` answers the same as a document.
`w` are the weights of the samples (1 if none are given), `p` probabilities, `t` true classes, `n` weights of samples
by true and predicted class. What is undefined is NaN. How a metric is kept, and how states merge, stands in
[reports.md](reports.md).
"""


def _number(value: float) -> str:
    return ("-" if value < 0 else "") + "∞" if math.isinf(value) else f"{value:g}"


def _examples(metric: Metric, task: Task) -> str:
    value = metric.examples[task.name]
    return ", ".join(f"{one:.6g}" for one in (value if isinstance(value, tuple) else (value,)))


def _entry(metric: Metric, task: Task) -> str:
    return (
        f"### {metric.name}\n\n{metric.doc}\n\n$${metric.formula}$$\n\n"
        f"In [{_number(metric.low)}, {_number(metric.high)}]."
        f" Read from: {', '.join(part.name for part in task.parts if part.name in metric.needs)}."
        f" As in: {metric.source}. On the example: {_examples(metric, task)}.\n"
    )


def _task(task: Task) -> str:
    head, _, rest = task.doc.strip().partition("\n")
    parts = "\n".join(f"| `{part.name}` | {part.doc} |" for part in task.parts)
    many = "" if task.state_bytes(1) == task.state_bytes(1000) else " for 1,000 classes"
    return "\n".join(
        [
            f"## {task.name}\n\n{head}\n{rest}\n",
            f"The example is\n\n```json\n{json.dumps(task.example)}\n```\n",
            f"A state{many} has at most {task.state_bytes(1000) / 2**20:.1f} MiB, without weights and groups, whatever",
            "the number of samples. It holds:\n",
            f"| part | what it is |\n|---|---|\n{parts}\n",
            *(_entry(metric, task) for metric in task.metrics),
        ]
    )


def page() -> str:
    """The text of the page."""
    return "\n".join([HEAD, *(_task(task) for task in TASKS.values())])


if __name__ == "__main__":
    PAGE.write_text(page())
