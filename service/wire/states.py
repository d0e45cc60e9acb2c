"""States of reports as a body: in JSON as base64 texts, or one after another as they are."""

import base64
import binascii
from typing import Any

import simdjson
from core.errors import BadState, refuse
from core.reports import storage

from service.problems import malformed
from service.wire.nested import shown
from service.wire.reader import Document, members, plain

_BLANK = b" \t\r\n"
_HEAD, _TAIL = b'{"states":', b"}"


def of_json(body: bytes | bytearray) -> dict[str, Any]:
    """The fields of a merge: `states` as bytes, the rest as scalars. A list alone is one of states. Raises Problem
    (400) or InvalidInput."""
    if body[:64].lstrip(_BLANK)[:1] == b"[":
        body = b"".join([_HEAD, body, _TAIL])
    document = Document(body)
    fields: dict[str, Any] = {}
    for name, value in members(document.root, "the body").items():
        is_list = name == "states" and isinstance(value, simdjson.Array)
        fields[name] = [_of_base64(place, text) for place, text in enumerate(value)] if is_list else plain(value)
    return fields


def _of_base64(place: int, text: Any) -> bytes:
    if not isinstance(text, str):
        raise refuse("states", f"states[{place}] is {shown(text)}, but must be a state in base64", place)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"states[{place}] is not base64: {error}") from None


def of_bytes(body: bytes | bytearray) -> dict[str, Any]:
    """The same of states that stand one after another. Raises InvalidInput where one does not begin or end."""
    found: list[memoryview] = []
    try:
        found.extend(storage.split(body))  # keeps those before one that raises
    except BadState as error:
        raise refuse("states", f"states[{len(found)}]: {error}", len(found)) from None
    return {"states": found}
