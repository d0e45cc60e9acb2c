"""The whole body of a request, read into one buffer."""

import re

from starlette.types import Receive, Scope

from service.problems import ClientGone, Problem, malformed

_DIGITS = re.compile(r"[0-9]{1,19}")


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header, the first if there are several."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1").strip()
    return None


def _too_large(limit: int, setting: str) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes, the limit {setting}")


async def read_body(scope: Scope, receive: Receive, limit: int, setting: str) -> bytearray:
    """The body, at most `limit` bytes; `setting` is the limit's name. Raises Problem or ClientGone.

    Where Content-Length declares the size the buffer has it from the start, and a size over the limit is refused
    before a byte is read; else the buffer grows, and is refused at the first byte over.
    """
    codings = [str(value, "latin-1") for key, value in scope["headers"] if key == b"content-encoding"]
    coding = ", ".join(codings)
    if any(word.strip().lower() not in ("", "identity") for word in coding.split(",")):
        accepted = {"Accept-Encoding": "identity"}
        raise Problem(
            415, f"the content encoding {coding[:64]!r} is not taken: send the body as it is", headers=accepted
        )
    declared = header(scope, b"content-length")
    if declared is not None and not _DIGITS.fullmatch(declared):
        raise malformed("Content-Length must be a number of bytes")
    size = int(declared) if declared is not None else 0
    if size > limit:
        raise _too_large(limit, setting)
    buffer, filled, more = bytearray(size), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        if filled + len(chunk) > (size if declared is not None else limit):
            raise _too_large(limit, setting) if declared is None else malformed("the body is longer than declared")
        buffer[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
        more = message.get("more_body", False)
    if filled < len(buffer):
        raise malformed(f"the body has {filled} bytes, but Content-Length declares {size}")
    return buffer
