"""The sum of many, added in pairs of like size: what is large is then seldom added to, which is what takes time."""

from collections.abc import Callable
from functools import reduce
from typing import Generic, TypeVar

Added = TypeVar("Added")


class Tally(Generic[Added]):
    """The sum of what it is given, by an `add` to which order means nothing: as in a binary counter, there is at most
    one sum of each power of two of them."""

    def __init__(self, add: Callable[[Added, Added], Added]) -> None:
        self._add = add
        self._sums: list[Added | None] = []

    def add(self, one: Added) -> None:
        """Add one. Raises what `add` raises."""
        for place, other in enumerate(self._sums):
            if other is None:
                self._sums[place] = one
                return
            one, self._sums[place] = self._add(other, one), None
        self._sums.append(one)

    def total(self) -> Added | None:
        """The sum of all, None where there are none. Raises what `add` raises."""
        found = [one for one in self._sums if one is not None]
        return reduce(self._add, found) if found else None
