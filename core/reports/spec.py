"""What a report is of: everything that two states must have in common to be merged."""

from dataclasses import dataclass, fields
from typing import Any

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer

MOST_WORDS = 2**10
SCORES = ("logits", "log_probabilities", "probabilities")  # what the scores of a request may be


@dataclass(frozen=True, slots=True)
class Spec:
    """The task, the kind of scores, and the options of a report. What a task has no use for stays at its default."""

    task: str
    scores: str  # one of SCORES
    dtype: str  # that the columns were computed in
    classes: int  # labels, for multilabel; 1 for binary
    weighted: bool = False
    grouped: bool = False
    top_k: tuple[int, ...] = ()
    bins: int = 15
    binning: str = "width"
    threshold: float = 0.5
    averages: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()  # those that are made on request
    worst: int = 10
    confidence: float = 0.95
    confusion: bool = False
    bytes: bool = False  # whether sequences say how many bytes of text they are

    def require_same(self, other: "Spec") -> None:
        """Raise BadState, naming the first difference, unless `other` is the same."""
        for field in fields(self):
            own, found = getattr(self, field.name), getattr(other, field.name)
            if own != found:
                raise BadState(f"the states differ: {field.name} is {own!r} in one and {found!r} in another")

    def write(self, writer: Writer) -> None:
        """Write every field in its order."""
        for field in fields(self):
            _write(writer, getattr(self, field.name))

    @classmethod
    def read(cls, reader: Reader) -> "Spec":
        """What `write` wrote. Raises BadState."""
        return cls(**{field.name: _read(reader, field.name) for field in fields(cls)})


_TAGS: dict[type, int] = {bool: 0, int: 1, float: 2, str: 3, tuple: 4}


def _write(writer: Writer, value: Any) -> None:
    writer.u8(_TAGS[type(value)])
    if isinstance(value, bool):
        writer.u8(value)
    elif isinstance(value, int):
        writer.i64(value)
    elif isinstance(value, float):
        writer.f64(value)
    elif isinstance(value, str):
        writer.text(value)
    else:
        writer.u32(len(value))
        for entry in value:
            _write(writer, entry)


# What each field is: its type, and that of its entries.
_TYPES: dict[str, tuple[type, type | None]] = {
    **dict.fromkeys(("task", "scores", "dtype", "binning"), (str, None)),
    **dict.fromkeys(("classes", "bins", "worst"), (int, None)),
    **dict.fromkeys(("weighted", "grouped", "confusion", "bytes"), (bool, None)),
    **dict.fromkeys(("threshold", "confidence"), (float, None)),
    **dict.fromkeys(("averages", "metrics"), (tuple, str)),
    "top_k": (tuple, int),
}


def _read(reader: Reader, name: str) -> Any:
    kind, entries = _TYPES[name]
    if entries is None:
        return _scalar(reader, name, kind)
    _require_tag(reader, name, kind)
    count = reader.u32()
    if count > MOST_WORDS:
        raise BadState(f"the state says {count} entries of {name}, but at most {MOST_WORDS} are possible")
    return tuple(_scalar(reader, name, entries) for _ in range(count))


def _require_tag(reader: Reader, name: str, kind: type) -> None:
    if reader.u8() != _TAGS[kind]:
        raise BadState(f"the state's {name} is not of its type")


def _scalar(reader: Reader, name: str, kind: type) -> Any:
    _require_tag(reader, name, kind)
    if kind is bool:
        return reader.flag()
    if kind is int:
        return reader.i64()
    return reader.f64() if kind is float else reader.text()
