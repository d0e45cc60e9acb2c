"""API keys: what one is, where they are read from, and whether what a client sent is one.

A key is never shown, not even where it is refused: errors name it by its number.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

MOST_FILE_BYTES = 2**20  # no list of keys is as long, but a file named by mistake may be
_KEY = re.compile(r"[!-+\--~]{16,}")  # visible ASCII without the comma, which separates keys and joins headers


def _checked(what: str, texts: Iterable[str]) -> tuple[SecretStr, ...]:
    """The keys among `texts`, of which blank ones are skipped; `what` each is called in an error."""
    keys = []
    for number, text in enumerate((text.strip() for text in texts), 1):
        if text and not _KEY.fullmatch(text):
            raise _wrong(f"{what} {number} must be at least 16 visible ASCII characters, without a comma or space")
        if text:
            keys.append(SecretStr(text))
    if not keys:
        raise _wrong("there must be at least one key")
    return tuple(keys)


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("api_key", message)


def _listed(value: object) -> object:
    return _checked("key", value.split(",")) if isinstance(value, str) else value


def _in_file(value: object) -> object:
    if not isinstance(value, str | Path):
        return value
    try:
        with Path(value).open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _wrong(f"the file cannot be read: {getattr(error, 'strerror', None) or 'this is no path'}") from None
    if len(content) > MOST_FILE_BYTES:
        raise _wrong(f"the file must have at most {MOST_FILE_BYTES} bytes")
    lines = str(content, "latin-1").split("\n")  # what is not ASCII is refused with the line that it stands on
    return _checked("line", ("" if line.lstrip().startswith("#") else line for line in lines))


def _again(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """`keys`, checked however they came."""
    return _checked("key", (key.get_secret_value() for key in keys)) if keys else keys


ListedKeys = Annotated[tuple[SecretStr, ...], BeforeValidator(_listed), AfterValidator(_again)]  # "KEY,KEY"
KeysInFile = Annotated[tuple[SecretStr, ...], BeforeValidator(_in_file)]  # of a file that is named: one a line


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("latin-1", "replace")).digest()


class Keys:
    """The keys that are known, as their hashes."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._digests = tuple({_digest(key.get_secret_value()) for key in keys})

    def know(self, sent: str) -> bool:
        """Whether `sent` is a key. It takes as long for one that is as for one that is not, in whatever place."""
        digest, found = _digest(sent), False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found
