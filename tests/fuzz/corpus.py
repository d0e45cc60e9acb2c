"""The inputs of tests.fuzz.decoders that coverage-guided fuzzing found worth keeping, and those that once broke one."""

import base64
import gzip
import json
from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).parent / "corpus.json.gz"


def kept() -> list[bytes]:
    """The inputs."""
    found: list[str] = json.loads(gzip.decompress(FILE.read_bytes())) if FILE.exists() else []
    return [base64.b64decode(text) for text in found]


def write(inputs: Iterable[bytes]) -> None:
    """Keep `inputs` in place of those before."""
    texts = sorted(base64.b64encode(data).decode() for data in inputs)
    FILE.write_bytes(gzip.compress(json.dumps(texts).encode(), mtime=0))
