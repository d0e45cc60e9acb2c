"""From files to the state of their rows: read ahead, computed, added up."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from core.arguments import Untyped
from core.check import Batch
from core.dtypes import numbers
from core.errors import BadState, InvalidInput, refuse
from core.reduction import Values
from core.reports.declare import Labels, Task
from core.reports.prepare import Job, prepare
from core.reports.spec import SCORES
from core.reports.state import State, gather
from core.reports.tally import Tally

from offline.ahead import Ahead
from offline.errors import Refused, of_file
from offline.formats import open_source
from offline.source import Piece, Source

Compute = Callable[[Batch], Values]
Watch = Callable[[Piece], None]


@dataclass(frozen=True)
class Plan:
    """What a run is asked for: `options` by name, the columns' own names by the input's, the dtype if it is said, and
    which part of how many of the rows of each file, counted from 1."""

    task: Task
    options: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None
    shard: tuple[int, int] = (1, 1)

    @property
    def by_row(self) -> frozenset[str]:
        """The inputs that have a value for each row."""
        lists = (name for name, one in self.task.lists.items() if isinstance(one, Labels))
        return frozenset([*(tensor.name for tensor in self.task.request.tensors), *lists])


@dataclass(frozen=True)
class Part:
    """The rows from `start` up to `stop` of an open file."""

    source: Source
    wanted: Mapping[str, str]
    rows: int
    start: int
    stop: int


def parts(plan: Plan, paths: Sequence[str]) -> list[Part]:
    """The files, open, and which rows of each are meant. Raises Ended."""
    names: dict[str, str] = {}
    for path in paths:
        name = Path(path).name
        if name in names:
            raise Refused(f"{path}: there is a {name} already, {names[name]}: files must differ in their base names")
        names[name] = path
    return [_part(plan, open_source(path)) for path in paths]


def _part(plan: Plan, source: Source) -> Part:
    wanted = {name: own for name in plan.by_row if (own := plan.columns.get(name, name)) in source.names}
    missing = sorted(set(plan.columns.values()) - source.names)
    if missing:
        found = ", ".join(sorted(source.names))
        raise Refused(f"{source.path}: there is no column {missing[0]}: there are {found}")
    said = plan.columns.keys() & set(SCORES)
    if said:  # other scores that happen to be in the file are not meant
        wanted = {name: own for name, own in wanted.items() if name in said or name not in SCORES}
    if not wanted.keys() & set(SCORES) or "targets" not in wanted:
        found, must = ", ".join(sorted(source.names)), f"one of {', '.join(SCORES)}, and targets"
        raise Refused(f"{source.path}: the columns are {found}, but must be {must}; --column NAME=OWN says others")
    rows, (number, count) = source.count(wanted), plan.shard
    return Part(source, wanted, rows, (number - 1) * rows // count, number * rows // count)


def state_of(plan: Plan, files: Sequence[Part], compute: Compute, watch: Watch) -> State:
    """The state of the rows of `files`; `watch` is told of each piece when it is done. Raises Ended."""
    tally, spec = Tally[State](add), None
    ahead = Ahead(_pieces(files))
    try:
        for source, piece in ahead:
            one = _state(plan, source.path, piece, compute)
            spec = spec or one.spec
            try:
                spec.require_same(one.spec)
            except BadState as error:
                raise Refused(f"{source.path}: {error}") from error
            tally.add(one)
            watch(piece)
            source.release(piece)
    finally:
        ahead.close()
    return tally.total() or _nothing(plan, files, compute)


def _pieces(files: Iterable[Part]) -> Iterator[tuple[Source, Piece]]:
    for part in files:
        if part.start < part.stop:
            for piece in part.source.pieces(part.wanted, part.start, part.stop):
                yield part.source, piece


def _nothing(plan: Plan, files: Sequence[Part], compute: Compute) -> State:
    """The state of a shard that has no rows: what it is of is seen of the first row that there is."""
    for part in files:
        if part.rows:
            piece = next(iter(part.source.pieces(part.wanted, 0, 1)))
            columns = {name: column[:0] for name, column in piece.columns.items()}
            return _state(plan, part.source.path, Piece(0, 0, columns, 0), compute)
    raise Refused(f"{files[0].source.path}: there are no rows")


def _state(plan: Plan, path: str, piece: Piece, compute: Compute) -> State:
    try:
        job = _job(plan, path, piece)
        return gather(job, compute(job.batch))
    except InvalidInput as error:
        raise of_file(error, path, piece.first, plan.by_row) from error


def _job(plan: Plan, path: str, piece: Piece) -> Job:
    columns = {name: _column(plan, name, column) for name, column in piece.columns.items()}
    given = {**plan.options, **columns, "shard": Path(path).name}
    return prepare(plan.task, given, dtype=plan.dtype or "float32", first=piece.first)


def _column(plan: Plan, name: str, column: Any) -> Any:
    """`column` as the core takes it: scores in the dtype that is asked for, one value of a binary row without its
    axis."""
    if plan.task.name == "binary" and isinstance(column, np.ndarray) and column.ndim > 1:
        if column.shape[1:] != (1,):
            raise refuse(name, f"{name} has rows of shape {column.shape[1:]}, but must have one value for each")
        column = column[:, 0]
    if name not in SCORES:
        return column
    if plan.dtype == "float64":
        return np.asarray(numbers(column), np.float64)
    return Untyped(column) if plan.dtype and column.dtype == np.float64 else column
