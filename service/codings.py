"""Content codings: compressed request bodies decoded in bounded steps, answers compressed for those who ask.

gzip and deflate (the zlib format, RFC 9110 section 8.4.1) are zlib's, zstd is the backport of Python 3.14's module.
"""

import zlib
from collections.abc import Callable, Iterator

from backports import zstd
from starlette.types import Scope

from service.body import listed
from service.negotiation import preferences, remembered
from service.problems import Problem, malformed, too_large

STEP = 2**16  # bytes that a decoder takes or gives at a time
MOST_MEMBERS = 2**15  # a body may be many compressed members in a row, and each costs a new decoder
ZSTD_WINDOW_LOG = 23  # 8 MiB, what RFC 9659 lets a sender use
PAYS = 2**16  # bytes from which on the time on a usual network is longer than that of compressing
_ALIASES = {"x-gzip": "gzip"}


def _zstd() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda content: zstd.compress(content, 1),
    "gzip": lambda content: zlib.compress(content, 1, wbits=31),
    "deflate": lambda content: zlib.compress(content, 1),
}
CODINGS = ("gzip", "deflate", "zstd")


def content_coding(scope: Scope) -> str:
    """The coding of a request's body, "" for none. Raises Problem (415)."""
    sent = listed(scope, b"content-encoding")
    return _coding(sent) if sent else ""


@remembered
def _coding(sent: str) -> str:
    words = [word for word in (word.strip().lower() for word in sent.split(",")) if word not in ("", "identity")]
    coding = _ALIASES.get(words[0], words[0]) if words else ""
    if len(words) > 1 or coding not in ("", *CODINGS):
        detail = f"the content encoding {sent[:64]!r} is not taken: send the body as it is, or {' or '.join(CODINGS)}"
        raise Problem(415, detail, headers={"Accept-Encoding": ", ".join(CODINGS)})
    return coding


def decoded(
    body: bytes | bytearray, coding: str, limit: int, setting: str, reserve: Callable[[int], None] = lambda _: None
) -> bytes | bytearray:
    """The body that `coding` stands for, at most `limit` bytes. Raises Problem (400 or 413), and what `reserve` raises,
    which is told its size as it grows."""
    if not coding:
        return body
    content = bytearray()
    try:
        for piece in _unzstd(body) if coding == "zstd" else _inflated(body, 31 if coding == "gzip" else 15):
            content += piece
            if len(content) > limit:
                raise too_large(limit, setting)
            reserve(len(content))
    except (zlib.error, zstd.ZstdError) as error:
        wide = f" (a window may have {2**ZSTD_WINDOW_LOG} bytes)" if "memory" in str(error) else ""
        raise malformed(f"the body is not {coding}: {error}{wide}") from None
    return content


def _pieces(body: bytes | bytearray) -> Iterator[bytes]:
    for start in range(0, len(body), STEP):
        yield bytes(body[start : start + STEP])


def _members(count: int) -> int:
    if count >= MOST_MEMBERS:
        raise malformed(f"the body has more than {MOST_MEMBERS} compressed members")
    return count + 1


def _inflated(body: bytes | bytearray, wbits: int) -> Iterator[bytes]:
    """What zlib makes of `body`; a gzip body may have several members."""
    members, stream = 1, zlib.decompressobj(wbits)
    for piece in _pieces(body):
        while piece:
            if stream.eof:
                if wbits == 15:
                    raise zlib.error("there are bytes after its end")
                members, stream = _members(members), zlib.decompressobj(wbits)
            yield stream.decompress(piece, STEP)
            piece = stream.unused_data if stream.eof else stream.unconsumed_tail
    yield stream.flush()
    if not stream.eof:
        raise zlib.error("it ends too early")


def _unzstd(body: bytes | bytearray) -> Iterator[bytes]:
    """What zstd makes of `body`, one frame or several."""
    members, stream = 1, _zstd()
    for piece in _pieces(body):
        while piece or not (stream.eof or stream.needs_input):
            if stream.eof:
                members, stream = _members(members), _zstd()
            yield stream.decompress(piece, STEP)
            piece = stream.unused_data if stream.eof else b""
    if not stream.eof:
        raise zstd.ZstdError("it ends too early")


def accepted(scope: Scope) -> tuple[str, ...]:
    """Every coding that a request accepts for its answer, best first, whether it is here or not."""
    return _accepted(listed(scope, b"accept-encoding") or "")


@remembered
def _accepted(sent: str) -> tuple[str, ...]:
    return tuple(_ALIASES.get(name, name) for name in preferences(sent))


def compress(content: bytes, coding: str) -> bytes:
    """`content` in `coding`, quickly rather than well."""
    return _COMPRESS[coding](content)
