"""What ends a command before its time, with its exit code.

Ended
├── Refused     bad usage or input (2)
└── Unreadable  a file cannot be read, or a device not be had (1)
"""

from core.errors import Fault, InvalidInput, at


class Ended(Exception):
    """The root: its text is the one line that is said."""

    code = 1


class Refused(Ended):
    """Bad usage or input: what was given is there, and is wrong."""

    code = 2


class Unreadable(Ended):
    """A file that cannot be read, or a device that cannot be had."""


def refused_row(path: str, row: int, detail: str) -> Refused:
    """A Refused that names a row of a file; rows are counted from 0."""
    return Refused(f"{path}: row {row}: {detail}")


def of_file(error: InvalidInput, path: str, first: int, by_row: frozenset[str]) -> Refused:
    """What is wrong with the rows of `path` from `first` on; `by_row` are the inputs that have a value for each row.

    Only the first fault is said: one line.
    """
    fault = error.faults[0]
    name, *index = fault.where or ("",)
    if not index:
        return Refused(f"{path}: {fault.detail}" if name in by_row or not name else fault.detail)
    if name not in by_row:
        return Refused(fault.detail)
    return refused_row(path, first + int(index[0]), _within_row(fault, str(name), [int(place) for place in index]))


def _within_row(fault: Fault, name: str, index: list[int]) -> str:
    """The sentence of `fault`, which names a place of a batch, as one of a row."""
    of_batch, of_row = at(name, tuple(index)), at(name, tuple(index[1:]))
    return of_row + fault.detail.removeprefix(of_batch) if fault.detail.startswith(of_batch) else fault.detail
