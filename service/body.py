"""The whole body of a request, read into one buffer."""

import re
from collections.abc import Callable

from starlette.types import Receive, Scope

from service.cycle import Cycle
from service.parser import joined
from service.problems import ClientGone, malformed, too_large
from service.settings import Settings

_DIGITS = re.compile(r"[0-9]{1,19}")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers by name, of several lines the list that they mean; made once, 6 us less of 9."""
    found: dict[bytes, bytes] | None = scope.get("lossmeter.headers")
    if found is None:
        found = scope["lossmeter.headers"] = joined(scope["headers"])
    return found


def listed(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header in all of its lines, which mean one list; None without any."""
    value = _headers(scope).get(name)
    return None if value is None else str(value, "latin-1")


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header, the first if there are several."""
    value = listed(scope, name)
    if value is None or ", " not in value:
        return value
    return next(str(value, "latin-1").strip() for key, value in scope["headers"] if key == name)


def body_limit(settings: Settings, *, json: bool) -> tuple[int, str]:
    """The most bytes of a body, or of its JSON, and that limit's name."""
    whole = (int(settings.max_body_bytes), "MAX_BODY_BYTES")
    return min((int(settings.max_json_bytes), "MAX_JSON_BYTES"), whole) if json else whole


async def read_body(
    scope: Scope,
    receive: Receive,
    limit: int,
    setting: str,
    *,
    reserve: Callable[[int], None] = lambda _: None,
    aligned: int = 0,
) -> bytes | bytearray:
    """The body as it was sent, at most `limit` bytes; `setting` is the limit's name. Raises Problem or ClientGone.

    `reserve` is told the size before so much is read, and raises where there is no room for it.

    A long one has the byte at `aligned`, where its tensors begin, at the beginning of a cache line, where that is
    possible.

    A declared size over the limit is refused before a byte is read, any other at the first chunk over. service.protocol
    gives a body of declared size whole; of other servers, and of chunks, the buffer grows with what has arrived.
    """
    declared = header(scope, b"content-length")
    if declared is not None and not _DIGITS.fullmatch(declared):
        raise malformed("Content-Length must be a number of bytes")
    if declared is not None and int(declared) > limit:
        raise too_large(limit, setting)
    if declared is not None:
        reserve(int(declared))
    cycle: Cycle | None = scope.get("lossmeter.cycle")
    if cycle is not None and cycle.length is not None and receive == cycle.receive and not cycle.in_pieces:
        whole = await cycle.upload(aligned)
        if whole is None:
            raise ClientGone
        return whole
    buffer, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        buffer += message.get("body", b"")
        if len(buffer) > limit:
            raise too_large(limit, setting)
        reserve(len(buffer))
        more = message.get("more_body", False)
    if declared is not None and len(buffer) != int(declared):
        raise malformed(f"the body has {len(buffer)} bytes, but Content-Length declares {declared}")
    return buffer
