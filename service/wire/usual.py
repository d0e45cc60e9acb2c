"""What the short ways through the binary formats have in common: they read what the usual clients write, and no more.

A header of a few hundred bytes becomes Python objects in the time of a few calls into simdjson's. Whatever is unusual
or wrong in one is left to the careful way of its format, so that errors are found and worded there alone.
"""

from typing import Any

import orjson
from core.errors import InvalidInput

from service.problems import Problem

USUAL_BYTES = 2**12


class Unusual(Exception):
    """What was sent is to be read with care."""


UNUSUAL = (Unusual, Problem, InvalidInput, LookupError, TypeError, ValueError, AttributeError)


def header(text: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The object that `text` holds. Raises Unusual."""
    if len(text) > USUAL_BYTES:
        raise Unusual
    found = orjson.loads(text)
    if type(found) is not dict:
        raise Unusual
    return found


def require_keys(text: bytes | bytearray, keys: int) -> None:
    """Raise Unusual unless the text of a header has as many colons as what was read of it has `keys`: a key that is
    there twice leaves more, and a colon in a string looks the same."""
    if text.count(b":") != keys:
        raise Unusual
