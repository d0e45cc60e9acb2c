"""How many bytes adding states takes, known before it is done: sums far apart in size span every limb between them, so
that two small states may have a large sum."""

from collections.abc import Sequence
from typing import Any

from core.reports.parts.exact_sums import ExactSums
from core.reports.parts.histogram import Histogram
from core.reports.state import Parts, State

LIMB = 8  # bytes in memory
COPIES = 3  # of sums, while they are added up or written


def adding(first: State, second: State) -> int:
    """The bytes that `first + second` takes at most, with those of `first`. Raises BadState if they are of different
    specs."""
    first.spec.require_same(second.spec)
    common = first.groups.keys() & second.groups.keys()
    return _held(first) + sum(_together([first.groups[label], second.groups[label]]) for label in common)


def reporting(state: State) -> int:
    """The bytes that its groups as one, and it as bytes, take at most, with its own."""
    groups = list(state.groups.values())
    return COPIES * _held(state) + (_together(groups) if len(groups) > 1 else 0)


def _held(state: State) -> int:
    sums = (_sums(part) for parts in state.groups.values() for part in parts.values())
    return sum(LIMB * one.size * len(one.limbs) for one in sums)


def _together(several: Sequence[Parts]) -> int:
    """What adding up the parts of some groups takes."""
    return sum(_sum([parts[name] for parts in several]) for name in several[0])


def _sum(several: Sequence[Any]) -> int:
    sums = [one for one in map(_sums, several) if len(one.limbs)]
    if not sums:
        return 0
    span = max(one.low + len(one.limbs) for one in sums) - min(one.low for one in sums) + 1
    # Histograms may have no key in common.
    size = sum(one.size for one in sums) if isinstance(several[0], Histogram) else sums[0].size
    return COPIES * LIMB * size * span


def _sums(part: Any) -> ExactSums:
    if isinstance(part, Histogram):
        return part.sums
    return part if isinstance(part, ExactSums) else ExactSums.zeros(0)
