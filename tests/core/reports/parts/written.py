"""Parts as bytes."""

from typing import Any

from core.reports.parts.codec import Reader, Writer


def written(part: Any) -> bytes:
    """What `part` writes."""
    writer = Writer()
    part.write(writer)
    return writer.content()


def read_again(kind: Any, content: bytes, *more: Any) -> Any:
    """The part that a whole `content` is."""
    reader = Reader(content)
    found = kind.read(reader, *more)
    reader.end()
    return found
