"""What can go wrong in the core.

CoreError
├── InvalidInput        an input or option breaks its declaration; holds one Fault for each
├── UnknownMeasure      there is no measure of that name
├── DeviceUnavailable   the device that was asked for cannot be had here
├── GraphDamaged        a graph file is missing or is not the one that was exported
├── DeviceFailed        the device computes nothing more in this process
├── OutOfMemory         the device has too little memory for the batch, now
├── BadState            a report's state cannot be read, or not be merged with another
└── Cancelled           the caller no longer wants the answer
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where it stands in the request, and a sentence that names it."""

    where: tuple[str | int, ...]
    detail: str


class CoreError(Exception):
    """The root of every error that the core raises on purpose."""


class InvalidInput(CoreError):
    """An input or option breaks its declaration."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.detail for fault in self.faults))


class UnknownMeasure(CoreError):
    """There is no measure of that name."""


class DeviceUnavailable(CoreError):
    """The device that was asked for cannot be had here."""


class DeviceFailed(CoreError):
    """The device computes nothing more in this process, which is to be started anew."""


class GraphDamaged(CoreError):
    """A graph file is missing or is not the one that was exported."""


class OutOfMemory(CoreError):
    """The device has too little memory for the batch, now."""


class BadState(CoreError):
    """A report's state cannot be read, or not be merged with another; the text says why."""


class Cancelled(CoreError):
    """The caller no longer wants the answer."""


def refuse(name: str, detail: str, *index: int) -> InvalidInput:
    """An InvalidInput with the single fault that `name` (at `index`) has."""
    return InvalidInput([Fault((name, *index), detail)])


def at(name: str, index: tuple[int, ...]) -> str:
    """The name of one element, as one would write it in Python: targets[3], or targets[1, 2]."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def missing(name: str, what: str) -> Fault:
    """The fault of a request that lacks an input."""
    return Fault((name,), f"{name} is missing, but must be {what}")


def unknown(name: str, measure: str, known: Iterable[str]) -> Fault:
    """The fault of a request that names something the measure does not take."""
    shown = name[:64] if name.isprintable() and name.strip() else ascii(name[:64])
    return Fault((name,), f"{shown} is not known: {measure} takes {', '.join(known)}")


def mistyped(name: str, value: object, says: str) -> Fault:
    """The fault of an input, option or choice that is not of its type; of the value at most 40 characters are shown."""
    if isinstance(value, bool):
        shown = str(value).lower()
    elif isinstance(value, int | float):
        shown = repr(value)[:40]
    elif isinstance(value, str):
        shown = f'"{value[:40]}"'
    else:
        shown = {"NoneType": "null", "dict": "an object", "list": "an array", "ndarray": "an array"}.get(
            type(value).__name__, f"a {type(value).__name__}"
        )
    return Fault((name,), f"{name} is {shown}, but must be {says}")
