"""Which positions of which shards are in a state, so that no sample counts twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer

Span = tuple[int, int]  # positions from the first up to the second


@dataclass(frozen=True, slots=True)
class Coverage:
    """The positions by the name of the shard: spans that ascend and do not touch."""

    shards: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, start: int, stop: int) -> "Coverage":
        """The positions of one shard from `start` up to `stop`."""
        return cls({name: ((start, stop),)} if start < stop else {})

    def __contains__(self, name: str) -> bool:
        return name in self.shards

    def __add__(self, other: "Coverage") -> "Coverage":
        """The positions of both. Raises BadState where they have some in common."""
        shards = dict(self.shards)
        for name, spans in other.shards.items():
            shards[name] = _union(name, shards[name], spans) if name in shards else spans
        return Coverage(shards)

    def write(self, writer: Writer) -> None:
        """How many shards, and of each its name, how many spans, and those."""
        writer.u32(len(self.shards))
        for name in sorted(self.shards):
            writer.text(name)
            writer.u32(len(self.shards[name]))
            for start, stop in self.shards[name]:
                writer.i64(start)
                writer.i64(stop)

    @classmethod
    def read(cls, reader: Reader) -> "Coverage":
        """What `write` wrote. Raises BadState."""
        shards: dict[str, tuple[Span, ...]] = {}
        last: str | None = None
        for _ in range(reader.u32()):
            name, count = reader.text(), reader.u32()
            if last is not None and name <= last:
                raise BadState("the state's shards are not in order")
            shards[name] = spans = tuple((reader.i64(), reader.i64()) for _ in range(count))
            ends = [end for span in spans for end in span]
            if not spans or ends[0] < 0 or any(a >= b for a, b in pairwise(ends)):
                raise BadState(f"the state's positions of the shard {name[:64]!r} do not ascend")
            last = name
        return cls(shards)


def _union(name: str, first: tuple[Span, ...], second: tuple[Span, ...]) -> tuple[Span, ...]:
    found: list[Span] = []
    for start, stop in sorted((*first, *second)):
        if found and start < found[-1][1]:
            says = f"positions {start} to {min(stop, found[-1][1]) - 1}"
            raise BadState(f"the shard {name[:64]!r} is in both states: {says} would count twice")
        if found and start == found[-1][1]:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return tuple(found)
