"""States that are not what a program wrote, with a checksum as if they were."""

import hashlib
import struct
import zlib
from collections.abc import Callable

import numpy as np

from core.reports.storage import DIGEST_BYTES, HEAD, MAGIC, VERSION

Rng = np.random.Generator
INTERESTING = (
    *(b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff", b"\0\0\0\0", b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"),
    *(b"\0\0\1\0", b"\0\0\0\1", b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80", b"\0" * 8),
    *(struct.pack("<d", value) for value in (0.0, -0.0, -1.0, 1e308, np.inf, -np.inf, np.nan, -np.nan, 0.5, 5e-324)),
    *(struct.pack("<q", value) for value in (1, -1, 2**22, 2**22 + 1, 2**31, 2**53, -(2**63), 1000, 1001, 1024)),
    *(struct.pack("<I", value) for value in (35, 36, 37, 80, 79, 2**16, 2**22, 15, 5, 3)),
    *(b"\xed\xa0\x80", b"\xc0\x80", b"\xf5", b"logits", b"probabilities", b"float64", b"binary", b"multiclass"),
)


def sealed(body: bytes, version: int = VERSION, magic: bytes = MAGIC) -> bytes:
    """A state with the content `body` between its head and its checksum."""
    content = HEAD.pack(magic, version, len(body) + DIGEST_BYTES) + body
    return content + hashlib.sha256(content).digest()


def body_of(content: bytes) -> bytes:
    """What stands between the head and the checksum."""
    return content[HEAD.size : -DIGEST_BYTES]


def _overwrite(rng: Rng, body: bytes, other: bytes) -> bytes:
    piece = INTERESTING[int(rng.integers(len(INTERESTING)))]
    place = int(rng.integers(len(body)))
    return body[:place] + piece + body[place + len(piece) :]


def _flip(rng: Rng, body: bytes, other: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(int(rng.integers(1, 4))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _count(rng: Rng, body: bytes, other: bytes) -> bytes:
    """A byte that is small, as most of those of counts and flags are, becomes another."""
    small = np.flatnonzero(np.frombuffer(body, np.uint8) < 40)
    changed = bytearray(body)
    changed[int(rng.choice(small))] = int(rng.integers(0, 40))
    return bytes(changed)


def _insert(rng: Rng, body: bytes, other: bytes) -> bytes:
    place = int(rng.integers(len(body)))
    return body[:place] + INTERESTING[int(rng.integers(len(INTERESTING)))] + body[place:]


def _delete(rng: Rng, body: bytes, other: bytes) -> bytes:
    place = int(rng.integers(len(body)))
    return body[:place] + body[place + int(rng.integers(1, 9)) :]


def _repeat(rng: Rng, body: bytes, other: bytes) -> bytes:
    start, stop = sorted(rng.integers(0, len(body), 2).tolist())
    return body[:stop] + body[start:stop] + body[stop:]


def _splice(rng: Rng, body: bytes, other: bytes) -> bytes:
    place = int(rng.integers(min(len(body), len(other))))
    return body[:place] + other[place:]


MUTATIONS: tuple[Callable[[Rng, bytes, bytes], bytes], ...] = (
    *(_overwrite, _overwrite, _flip, _count, _count),
    *(_insert, _delete, _repeat, _splice),
)


def mutated(rng: Rng, body: bytes, other: bytes) -> bytes:
    """`body` with something changed, once or twice; `other` is that of another state."""
    for _ in range(int(rng.integers(1, 3))):
        body = MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, body, other) or body
    return body


def seed_of(text: str) -> int:
    """A seed of its own for each text."""
    return zlib.crc32(text.encode())
