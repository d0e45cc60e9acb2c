"""Long JSON, read piece by piece: a parser holds the interpreter, and takes up to 17 times its text in fresh memory.

Every long list of the text is cut out of it. The outline that is left has a short list in its place, a random number,
and is read like any other text. When a list's tensor is asked for, it is cut between its entries into pieces, and each
is parsed alone. The text is good JSON if its outline is, every cut list was found in it, and every piece is. Whatever
is unusual or wrong in the text is left to Document, so that errors are found and worded there alone.
"""

import math
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import orjson
import simdjson
from core.declare import Kind, Tensor
from core.rules import Array

from service.wire.nested import lists_in, numbers, structure, structure_of
from service.wire.reader import Document, at_path, count, with_marks, without_marks
from service.wire.tensors import MOST_AXES
from service.wire.usual import UNUSUAL, Unusual

LONG = 2**18  # bytes from which on a text, or a list in it, is cut
PIECE = 2**18  # bytes of a piece, which with all that is made of it stays in the cache
LONG_ENTRY = 2**20  # bytes of an entry, such as a row, that is read in pieces of its own
_MOST_COLONS = 2**10
_SHORT_ROW = 16  # entries; of shorter rows there are so many that calls for their lengths take longest
_BLANK = b" \t\r\n"  # what JSON has between its signs: less than Python's own idea of it
_STRINGS = re.compile(rb'\[[%b]*"' % _BLANK)
_OPENING = re.compile(rb"(?:\[[%b]*+){1,%d}+" % (_BLANK, MOST_AXES + 1))

Read = TypeVar("Read")


def read_text(text: bytes | bytearray, read: Callable[[Document], Read], *, bare_words: bool = False) -> Read:
    """What `read` makes of a text, read in pieces if it is long. Raises what it raises of the whole document."""
    if len(text) >= LONG:
        try:
            return read(Outline(text))
        except UNUSUAL:
            pass
    return read(Document(text, bare_words=bare_words))


class Outline(Document):
    """A long text without its long lists. Raises Unusual, or what Document raises, where it is to be read whole."""

    def __init__(self, text: bytes | bytearray) -> None:
        self.whole = text
        self.cut: dict[int, tuple[int, int]] = {}  # where the lists stood, by the numbers in their place
        outline, reached = [], 0
        for start, end in _long_lists(text):
            mark = secrets.randbits(62)
            self.cut[mark] = (start, end)
            outline += [text[reached:start], b"[%d]" % mark]
            reached = end
        if not self.cut:
            raise Unusual
        super().__init__(b"".join([*outline, text[reached:]]))

    def array(self, tensor: Tensor, *path: str | int, booleans: bool = False) -> Array:
        """See Document."""
        value = at_path(self.root, path)
        place = self.cut.pop(value[0], None) if len(value) == 1 and type(value[0]) is int else None
        if place is None:
            return super().array(tensor, *path, booleans=booleans)
        self.lists += 1
        return _read(self.whole, *place, tensor.kind)

    def labels(self, tensor: Tensor, most: int) -> Any:
        """See Document."""
        value = self.root[tensor.name]
        place = self.cut.get(value[0]) if len(value) == 1 and type(value[0]) is int else None
        if place is None or not _STRINGS.match(self.whole, *place):
            return super().labels(tensor, most)
        del self.cut[value[0]]
        if self.whole.count(b'"', *place) > 2 * most:
            raise Unusual
        found = orjson.loads(memoryview(self.whole)[slice(*place)])
        if set(map(type, found)) != {str}:
            raise Unusual
        self.lists += 1
        return found

    def refuse_mixed_depth(self) -> None:
        """See Document."""
        super().refuse_mixed_depth()
        if self.cut:  # a list that nobody asked for was never read
            raise Unusual


def _long_lists(text: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where the lists of numbers that are values of keys begin and end, if they are long: a guess, since a colon may
    stand in a string. A list of numbers has no brace in it, and no colon until the next key."""
    colon = text.find(b":")
    for _ in range(_MOST_COLONS):
        if colon < 0:
            return
        start, colon = colon + 1, text.find(b":", colon + 1)
        if (len(text) if colon < 0 else colon) - start >= LONG:
            end = len(text) if colon < 0 else _before_key(text, start, colon)
            brace = text.find(b"}", start, end)
            start, end = text.find(b"[", start, end), text.rfind(b"]", start, end if brace < 0 else brace) + 1
            if start >= 0 and end - start >= LONG:
                yield start, end


def _before_key(text: bytes | bytearray, start: int, colon: int) -> int:
    """Where the key begins that ends at `colon`, or `start`."""
    last = max(start, text.rfind(b'"', start, colon))
    return max(start, text.rfind(b'"', start, last))


def _read(text: bytes | bytearray, start: int, end: int, kind: Kind) -> Array:
    """The list of numbers that is `text` from `start` to `end`. Raises Unusual."""
    opening = _OPENING.match(text, start, end)
    depth = opening[0].count(b"[") if opening else 0
    if not 0 < depth <= MOST_AXES:
        raise Unusual
    between = re.compile(rb"\][%b]*" % _BLANK * (depth - 1) + b",")
    if end - start > LONG_ENTRY and not between.search(text, start, start + LONG_ENTRY):
        return _by_entry(text, start + 1, end - 1, between, kind)
    # A number takes two bytes and more: no memory is touched beyond what there is.
    flat = np.empty((end - start) // 2, np.float64 if kind is Kind.FLOAT else np.int64)
    rows, reached = 0, 0
    inner: tuple[int, ...] | None = None
    parser, view = simdjson.Parser(), memoryview(text)
    for begin, until in _pieces(text, start + 1, end - 1, between):
        found, shape = _piece(parser, b"".join([b"[", view[begin:until], b"]"]), depth, kind)
        if inner is None:
            inner = shape[1:]
        if shape[1:] != inner:
            raise Unusual
        flat[reached : reached + found.size] = found
        rows, reached = rows + shape[0], reached + found.size
    return flat[:reached].reshape(rows, *(inner or ()))


def _by_entry(text: bytes | bytearray, start: int, end: int, between: re.Pattern[bytes], kind: Kind) -> Array:
    """The entries of a list, of which the first is too long for one piece, each read as a list. Raises Unusual."""
    entries: list[Array] = []
    while start < end:
        comma = between.search(text, start, end)
        until = comma.end() - 1 if comma else end
        first, last = text.find(b"[", start, until), text.rfind(b"]", start, until) + 1
        if first < 0 or text[start:first].strip(_BLANK) or text[last:until].strip(_BLANK):
            raise Unusual
        entries.append(_read(text, first, last, kind))
        if entries[-1].shape != entries[0].shape or (comma and comma.end() == end):
            raise Unusual
        start = comma.end() if comma else end
    return entries[0][np.newaxis] if len(entries) == 1 else np.stack(entries)


def _pieces(text: bytes | bytearray, start: int, end: int, between: re.Pattern[bytes]) -> Iterator[tuple[int, int]]:
    """The entries of a list in pieces, each up to a comma that follows as many closing brackets as an entry has."""
    while comma := between.search(text, min(start + PIECE, end), end):
        yield start, comma.end() - 1
        start = comma.end()
    yield start, end


def _piece(parser: simdjson.Parser, text: bytes, depth: int, kind: Kind) -> tuple[Array, tuple[int, ...]]:
    """The numbers of one piece and their shape."""
    try:
        root = parser.parse(text)
        flat = numbers(root, kind)
        meaning: dict[float, float] = {}
        if flat is None and kind is Kind.FLOAT:  # the piece was JSON; without its words it may be numbers
            del root  # or the parser could not be used again
            text, meaning = with_marks(text)
            root = parser.parse(text)
            flat = numbers(root, kind)
        if flat is None or not flat.size:
            raise Unusual
        return without_marks(flat, meaning), _shape(root, flat.size, text, depth)
    except (ValueError, RuntimeError, LookupError, TypeError):
        raise Unusual from None


def _shape(root: Any, size: int, text: bytes, depth: int) -> tuple[int, ...]:
    """The shape of a list of `size` numbers `depth` lists deep. Raises Unusual unless it is regular."""
    inner, first = [], root
    for _ in range(depth - 1):
        first = first[0]
        inner.append(len(first))
    shape = (size // math.prod(inner) if all(inner) else 0, *inner)
    if math.prod(shape) != size or isinstance(first[0], simdjson.Array):
        raise Unusual
    if depth > 2 or (depth == 2 and inner[0] < _SHORT_ROW):
        good = structure(text) == structure_of(shape)
    else:
        good = count(text, ord("[")) == lists_in(shape) and (depth == 1 or set(map(len, root)) == set(inner))
    if not good:
        raise Unusual
    return shape
