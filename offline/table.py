"""A report as a person reads it in a terminal: plain ASCII, numbers to six digits, no line wider than there is room."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

UNDEFINED, GAP = "-", "  "
OF_GROUPS = ("accuracy", "subset_accuracy", "f1", "f1_macro", "auroc", "auroc_macro", "ece", "bits_per_byte")
WORST_CLASSES = 5

Table = Sequence[tuple[str, ...]]  # its head first


def to_text(report: Mapping[str, Any], width: int = 100) -> str:
    """Metrics with their intervals, the classes with the lowest F1, calibration in short, the worst samples, and a line
    for each group. A line has at most `width` characters; of a table that needs more, the last columns are left out."""
    tables = [_metrics(report["metrics"])]
    if "per_class" in report:
        tables.append(_classes(report["per_class"]))
    if "calibration" in report:
        tables.append(_calibration(report["calibration"]))
    if report["worst"]:
        tables.append(_worst(report["worst"]))
    if report.get("groups"):
        tables.append(_groups(report["groups"]))
    blocks = [_head(report), *(_aligned(table, width) for table in tables)]
    return "\n\n".join("\n".join(line[:width] for line in block) for block in blocks)


def _head(report: Mapping[str, Any]) -> list[str]:
    counts = [f"{report['samples']:,} samples"]
    counts += [f"{report['tokens']:,} tokens"] if "tokens" in report else []
    counts += [f"{report['ignored']:,} ignored"] if report["ignored"] else []
    counts += [f"{report['non_finite']:,} non-finite"] if report["non_finite"] else []
    counts += [f"weight {_number(report['weight'])}"] if report["weight"] != report["samples"] else []
    return [f"{report['task']}: {', '.join(counts)}"]


def _metrics(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for name, one in metrics.items():
        low, high = one["interval"]
        known = low == low or high == high
        rows.append((name, _number(one["value"]), f"{_number(low)} to {_number(high)}" if known else "", one["method"]))
    shown = [(*row[:3], row[3] if row[2] else "") for row in rows]
    return [("metric", "value", "interval", "method"), *shown]


def _classes(per_class: Mapping[str, Any]) -> Table:
    """The classes that there are with the lowest F1, of equal ones those with the most support."""
    f1, support = per_class["f1"], per_class["support"]
    there = np.flatnonzero(support > 0)
    lowest = there[np.lexsort((-support[there], f1[there]))][:WORST_CLASSES]
    rows = [(str(place), *(_number(values[place]) for values in per_class.values())) for place in lowest.tolist()]
    return [("class of lowest f1", *per_class), *rows]


def _calibration(calibration: Mapping[str, Any]) -> Table:
    edges, bins = calibration.get("edges"), range(len(calibration["weight"]))
    # Bins of equal weight have no edges that are known: they have numbers.
    names = [str(n + 1) if edges is None else f"{_number(edges[n])} to {_number(edges[n + 1])}" for n in bins]
    columns = (names, *(calibration[name] for name in ("weight", "confidence", "accuracy")))
    rows = [(name, *map(_number, numbers)) for name, *numbers in zip(*columns, strict=True) if numbers[0] > 0]
    return [("calibration", "weight", "confidence", "accuracy"), *rows]


def _worst(worst: Sequence[Mapping[str, Any]]) -> Table:
    names = list(worst[0])
    rows = [tuple(_cell(one[name]) for name in names) for one in worst]
    return [(f"worst {names[0]}", *names[1:]), *rows]


def _groups(groups: Mapping[str, Any]) -> Table:
    first, *others = next(iter(groups.values()))["metrics"]
    names = [first, *(name for name in others if name in OF_GROUPS)]
    rows = [
        (_cell(label), f"{one['samples']:,}", *(_number(one["metrics"][name]["value"]) for name in names))
        for label, one in groups.items()
    ]
    return [("group", "samples", *names), *rows]


def _aligned(rows: Table, width: int) -> Iterator[str]:
    """The lines of a table: the first column to the left, others to the right, as many as there is room for."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while len(widths) > 2 and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widths.pop()
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(size) for cell, size in zip(rest, widths[1:], strict=False))]
        yield GAP.join(cells).rstrip()


def _cell(value: object) -> str:
    """A value in one line of ASCII: labels and ids are data, and may hold anything."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else ascii(value)[1:-1]
    return str(value) if isinstance(value, int) else _number(value)


def _number(value: Any) -> str:
    return UNDEFINED if value != value else f"{float(value):.6g}"
