"""A report as JSON, with the words "NaN", "Infinity" and "-Infinity" for what JSON has no numbers for."""

import json
from typing import Any

import numpy as np


def to_json(report: dict[str, Any]) -> str:
    """The text, indented: a report is read by people too."""
    return json.dumps(_plain(report), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """`value` of what JSON has."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value
