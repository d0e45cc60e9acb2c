"""States that an earlier program wrote, and the reports of them: `make golden` writes both anew.

Only a new version of the format is a reason to: states that people keep must still be read.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from core.engine import Engine
from core.reports import storage
from core.reports.columns import COLUMNS
from core.reports.report import report
from tests.core.reports.states import data_sets, state_of

FOLDER = Path(__file__).parent / "golden"
SEED = 20_261


def plain(value: Any) -> Any:
    """A document as JSON can hold it, each number as Python writes it: a float is read back as it was."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list | np.ndarray):
        return [plain(entry) for entry in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return value


def path_of(name: str, ending: str) -> Path:
    """The file of one of the data sets."""
    return FOLDER / f"{name.replace(', ', '_').replace(' ', '_')}.{ending}"


def main() -> None:
    """Write a state and its report for each data set."""
    FOLDER.mkdir(exist_ok=True)
    engine = Engine(COLUMNS.values(), device="cpu", threads=1)
    for name, (task, fields) in data_sets(SEED).items():
        state = state_of(engine, task, fields)
        path_of(name, "state").write_bytes(storage.write(state))
        path_of(name, "json").write_text(json.dumps(plain(report(state)), indent=1) + "\n")
    engine.close()


if __name__ == "__main__":
    main()
