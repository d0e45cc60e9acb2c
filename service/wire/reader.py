"""JSON text read by simdjson, its nested lists as arrays: what every format that holds JSON begins with.

Longer than other modules, since what is wrong with a text, and where, is found here alone.
"""

import math
import re
import secrets
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import orjson
import simdjson
from core.declare import Kind, Tensor
from core.errors import Fault, InvalidInput, refuse
from core.rules import Array

from service.problems import Problem, malformed
from service.wire.nested import (
    NON_FINITE,
    entry_by_entry,
    length,
    lists_in,
    numbers,
    rectangular,
    refuse_deep_rows,
    regular,
    repeated,
    shown,
)
from service.wire.tensors import MOST_AXES

MOST_KEYS = 64
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # to the end of the text if it is not closed
_MOST_QUOTES = 2**12  # each string takes Python's time, and a request that is written anew has only its names
_LONG_INTEGER = re.compile(rb"(?<=[\[,:\s])-?[0-9]{19,}(?=[\s,\]}])")
_BARE = re.compile(rb"-?(NaN|Infinity)\b")
_ESCAPE = re.compile(rb"\\(?:\\|u00([0-7][0-9a-fA-F])|.)", re.DOTALL)
_LETTERS = frozenset(bytes([letter]) for letter in b"".join(word.encode() for word in NON_FINITE))
_COUNTED = 2**18  # bytes that are compared at a time, so that what is made of them stays in the cache
_SHORT = 2**13  # bytes up to which NumPy's calls take longer than counting does
_CONTAINERS = (simdjson.Array, simdjson.Object)  # a union of them would be made anew at every test
_EXPLAINED = 2**20  # texts up to this many bytes are read again for where they are broken
_DEEPEST = MOST_AXES + 4  # lists and objects: around the data of an input on /v2 stand four
_SEARCHED = 2**16  # bytes at the beginning of a broken text in which its depth is looked for


class Document:
    """One parsed JSON object; `what` it is called in errors. Raises Problem (400) or InvalidInput.

    With `bare_words`, NaN, Infinity and -Infinity are taken without quotes too, as they stand in Python's JSON.
    """

    def __init__(self, text: bytes | bytearray, what: str = "the body", *, bare_words: bool = False) -> None:
        if text[:3] == b"\xef\xbb\xbf":
            raise malformed(f"{what} begins with a byte order mark, but must be JSON in plain UTF-8")
        self.what, self.text = what, text
        try:
            self.root = _parse(text, what)
        except Problem:
            quoted = _outside_strings(bytes(text), _words) if bare_words else text
            if quoted == text:
                raise
            self.text, self.root = quoted, _parse(quoted, what, placed=False)
        if not isinstance(self.root, simdjson.Object):
            raise InvalidInput([Fault((), f"{what} is {_kind(self.root)}, but must be a JSON object")])
        self.lists = 0  # how many lists have been read; the reader of a list that is no array adds its own
        self._read: list[tuple[Tensor, Any]] = []
        self._marked: tuple[Any, dict[float, float]] | None = None  # the text with marks, parsed

    def array(self, tensor: Tensor, *path: str | int, booleans: bool = False) -> Array:
        """The nested list at `path`, in its shape: float64, or int64 where `tensor` has indices; with `booleans` true
        and false are 1 and 0 there."""
        value = at_path(self.root, path)
        flat = numbers(value, tensor.kind)
        shape = (regular(value) if flat is not None else None) or repeated(value) or rectangular(tensor.name, value)
        self.lists += lists_in(shape)
        self._read.append((tensor, value))
        if flat is None and tensor.kind is Kind.FLOAT:
            flat = self._with_non_finite(path)
        if flat is None:
            flat = entry_by_entry(tensor, value, booleans=booleans)
        if flat.size != math.prod(shape):
            rectangular(tensor.name, value)
            refuse_deep_rows(tensor, value)
        return flat.reshape(shape)

    def integers(self, value: Any) -> Any:
        """A short list, such as a shape, as a Python list; of a longer one, the first few entries too many."""
        if not isinstance(value, simdjson.Array):
            return plain(value)
        self.lists += 1
        return [plain(entry) for entry in islice(value, MOST_AXES + 1)]

    def labels(self, tensor: Tensor, most: int) -> Any:
        """The list of `tensor`, at the top: of integers as an array, of `most` other scalars at most as Python's."""
        value = self.root[tensor.name]
        if numbers(value, Kind.INDEX) is not None:
            return self.array(tensor, tensor.name)
        return self.entries(tensor.name, value, most)

    def entries(self, name: str, value: Any, most: int) -> list[Any]:
        """A list of `most` scalars at most, as a Python list; of what is no scalar only the kind will be named."""
        self.lists += 1
        if length(value) > most:
            raise refuse(name, f"{name} has {length(value)} entries, but at most {most} are possible here")
        return [plain(entry) for entry in value]

    def refuse_mixed_depth(self) -> None:
        """Refuse a list that stands where others have numbers; to be called when every list has been read."""
        if self.lists != count(self.text, ord("[")):
            for tensor, value in self._read:
                refuse_deep_rows(tensor, value)

    def _with_non_finite(self, path: tuple[str | int, ...]) -> Array | None:
        """The numbers of a list with "NaN" and the like. They are replaced in the text by numbers that nothing else in
        it can be expected to hold, random subnormals, and those by what they stand for. None where that is not to be
        had: the replacement knows nothing of keys, nor of strings with escapes, and the text may no longer be JSON."""
        if self._marked is None:
            text, meaning = with_marks(bytes(self.text))
            try:
                self._marked = simdjson.Parser().parse(text), meaning
            except (ValueError, RuntimeError):
                self._marked = None, meaning
        root, meaning = self._marked
        flat = None if root is None else numbers(at_path(root, path), Kind.FLOAT)
        return None if flat is None else without_marks(flat, meaning)


def with_marks(text: bytes) -> tuple[bytes, dict[float, float]]:
    """`text` with random subnormals for "NaN" and the like, and what each of them stands for."""
    meaning = {}
    if b"\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    for word, value in NON_FINITE.items():
        mark = _subnormal()
        meaning[mark] = value
        text = text.replace(f'"{word}"'.encode(), repr(mark).encode())
    return text, meaning


def _unescaped(escape: re.Match[bytes]) -> bytes:
    """A letter for its escape, where it may be one of a word; a few bytes may stand for millions of these."""
    letter = bytes.fromhex(str(escape[1], "ascii")) if escape[1] else b""
    return letter if letter in _LETTERS else escape[0]


def without_marks(flat: Array, meaning: dict[float, float]) -> Array:
    """`flat` with what the marks in it stand for in their place."""
    for mark, value in meaning.items():
        flat[flat == mark] = value
    return flat


def count(text: bytes | bytearray, byte: int) -> int:
    """How often `byte` stands in `text`: a fourth of the time of CPython 3.11's own count, and others run beside it."""
    if len(text) <= _SHORT:
        return text.count(byte)
    values = np.frombuffer(text, np.uint8)
    starts = range(0, values.size, _COUNTED)
    return sum(int(np.count_nonzero(values[start : start + _COUNTED] == byte)) for start in starts)


def names(value: Any, what: str) -> list[str]:
    """The keys of an object. Raises Problem (400) if there are too many, or one twice."""
    if len(value) > MOST_KEYS:
        raise malformed(f"{what} has more than {MOST_KEYS} keys, the limit")
    found = list(value.keys())
    if len(set(found)) != len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise malformed(f"{what} has the key {twice[:64]!r} more than once")
    return found


def members(value: Any, what: str) -> dict[str, Any]:
    """The members of an object by name; None is that of a name with NUL, which simdjson does not find."""
    found = {}
    for name in names(value, what):
        try:
            found[name] = value[name]
        except KeyError:
            found[name] = None
    return found


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, simdjson.Array) else shown(value)


def plain(value: Any) -> Any:
    """A scalar; of what is none only the kind will be named."""
    if isinstance(value, _CONTAINERS):
        return [] if isinstance(value, simdjson.Array) else {}
    return value


def at_path(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at `path` in a document."""
    for step in path:
        value = value[step]
    return value


def _parse(text: bytes | bytearray, what: str, *, placed: bool = True) -> Any:
    """The root of `text`; an error says where only if `placed`, since that is a place in this text."""
    try:
        return simdjson.Parser().parse(text)
    except UnicodeDecodeError:
        raise malformed(f"{what} is not UTF-8, as JSON must be") from None
    except (ValueError, RuntimeError) as error:
        reason = str(error)
    if reason.startswith(("NUMBER_ERROR", "BIGINT_ERROR")):  # an integer past 64 bits, which is a good float
        longer = _outside_strings(bytes(text), lambda part: _LONG_INTEGER.sub(_as_float, part))
        if longer != text:
            return _parse(longer, what, placed=False)
    if reason.startswith("DEPTH_ERROR") or _is_deep(bytes(text[:_SEARCHED])):
        raise malformed(f"{what} is nested deeper than {MOST_AXES} lists, the limit")
    raise malformed(f"{what} is not JSON: {_explained(text, reason, placed=placed)}")


def _is_deep(text: bytes) -> bool:
    """Whether the lists and objects of a text, good or not, are nested deeper than those of any request."""
    signs = np.frombuffer(_STRING.sub(b"", text), np.uint8) | 0x20  # which makes braces of brackets
    steps = (signs == ord("{")).astype(np.int32) - (signs == ord("}"))
    return bool(steps.size) and bool(np.cumsum(steps).max() > _DEEPEST)


def _as_float(match: re.Match[bytes]) -> bytes:
    """An integer as it is if it fits 64 bits, else as a float."""
    digits = match[0]
    return digits if len(digits) <= 20 and -(2**63) <= int(digits) < 2**64 else digits + b".0"


def _outside_strings(text: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """`text` with `change` made to what is no string in it; `text` itself where that would take too long."""
    marks = dict(zip((f'"{word}"'.encode() for word in NON_FINITE), (b"\1", b"\2", b"\3"), strict=True))
    if b"\\" in text or any(mark in text for mark in marks.values()):  # neither is in the text of any usual request
        marks = {}
    hidden = text
    for word, mark in marks.items():  # the only strings of which there may be many
        hidden = hidden.replace(word, mark)
    if hidden.count(b'"') > _MOST_QUOTES:
        return text
    pieces, reached = [], 0
    for string in _STRING.finditer(hidden):
        pieces += [change(hidden[reached : string.start()]), string[0]]
        reached = string.end()
    found = b"".join([*pieces, change(hidden[reached:])])
    for word, mark in marks.items():
        found = found.replace(mark, word)
    return found


def _words(text: bytes) -> bytes:
    """`text` with quotes around the bare words NaN, Infinity and -Infinity."""
    quoted = text.replace(b"NaN", b'"NaN"').replace(b"Infinity", b'"Infinity"')
    return quoted.replace(b'-"Infinity"', b'"-Infinity"')


def _explained(text: bytes | bytearray, reason: str, *, placed: bool) -> str:
    if len(text) <= _EXPLAINED:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            bare = _BARE.match(text, error.pos)
            advice = '; write non-finite numbers as the strings "NaN", "Infinity", "-Infinity"' if bare else ""
            return f"{error if placed else error.msg}{advice}".replace(
                "number is infinity when parsed as double", "a number is too large for float64"
            )
    return reason.split(": ", 1)[-1]


def _subnormal() -> float:
    return float(np.uint64(secrets.randbits(51) | 1 << 51).view(np.float64))
