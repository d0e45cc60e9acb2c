"""Good requests, and ways to break their bodies and headers."""

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np

from core.measures import MEASURES
from tests import inputs
from tests.fuzz.reports import report_seeds
from tests.service.bodies import LENGTH
from tests.service.carriers import CARRIERS, Body, carry
from tests.service.codings import COMPRESS

NUMBERS = [0, -1, 1, 7, 255, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, 1e-320, True, False]
WORDS = [
    *("", "\0", "x" * 300, "é", "\u2028", "NaN", "Infinity", "logits", "targets", "weight", "reduction", "sum", "none"),
    *(
        "FP32",
        "BF16",
        "BYTES",
        "F32",
        "I64",
        "F8_E4M3",
        "bool",
        "dtype",
        "shape",
        "data",
        "b64",
        "data_offsets",
        "name",
    ),
    *("__metadata__", "parameters", "binary_data_size", "binary_data", "shared_memory_region", "timeout", "per_sample"),
    *("ids", "groups", "top_k", "metrics", "shard", "states", "state", "columns", "probabilities", "averages", "auroc"),
]
HEADERS = {
    LENGTH: ["0", "1", "-1", "+5", "99999999999999999999", "", "x", "1.5", "٣", "8, 8"],
    "Content-Type": [
        "",
        "application/json",
        "application/x-safetensors",
        "application/octet-stream",
        "text/plain",
        ";",
    ],
    "Content-Encoding": ["gzip", "deflate", "zstd", "br", "gzip, gzip", "identity", "x" * 200],
    "Accept": ["", "*/*", "application/json;q=0", "application/x-safetensors", "application/octet-stream;q=nan", ",;,"],
    "Accept-Encoding": ["gzip", "deflate", "gzip;q=0", "zstd, gzip", "*", "gzip;q=x", ","],
    "Content-Length": ["0", "5", "-5", "1e3", "18446744073709551616"],
    "X-Request-ID": ["", "a b", "\x7f", "é" * 50, "x" * 129],
}


def seeds(seed: int) -> list[Body]:
    """Good requests for losses and for reports, small."""
    return loss_seeds(seed) + report_seeds(seed)


def loss_seeds(seed: int) -> list[Body]:
    """A good request of every loss in every form, small."""
    rng = np.random.default_rng(seed)
    found = []
    for measure in MEASURES.values():
        for carrier in CARRIERS:
            for dtype in ("float32", "float64"):
                arrays = inputs.request(measure, rng, 3, 4, dtype)
                found.append(carry(carrier, measure.name, arrays, {"reduction": "sum"}, dtype))
    return found


def mutated(bodies: list[Body], rng: random.Random) -> Body:
    """One of `bodies`, broken in one to four ways (or in none, seldom)."""
    body = rng.choice(bodies)
    times = rng.randrange(1, 4)
    if rng.random() < 0.7:
        body, times = _in_its_json(body, rng), rng.choice([0, 0, 0, 0, 0, times])
    for _ in range(times):
        body = replace(body, content=flipped_or_cut(body.content, rng.choice(bodies).content, rng))
    if rng.random() < 0.25:
        coding = rng.choice(list(COMPRESS))
        headers = body.headers | {"Content-Encoding": coding}
        body = replace(body, content=COMPRESS[coding](body.content), headers=headers)
        if rng.random() < 0.5:
            body = replace(body, content=flipped_or_cut(body.content, body.content, rng))
    if rng.random() < 0.2:
        name = rng.choice(list(HEADERS))
        body = replace(body, headers=body.headers | {name: rng.choice(HEADERS[name])})
    return body


def _in_its_json(body: Body, rng: random.Random) -> Body:
    """`body` with a node of its JSON changed, and the lengths of the JSON told truly, so that more of it is read."""
    kind = body.headers.get("Content-Type", "")
    if kind == "application/octet-stream":  # states, which have none
        return replace(body, content=flipped_or_cut(body.content, body.content, rng))
    start = 8 if "safetensors" in kind else 0
    said = int.from_bytes(body.content[:8], "little") if start else int(body.headers.get(LENGTH, len(body.content)))
    document = json.loads(body.content[start : start + said])
    for _ in range(rng.randrange(1, 3)):
        document = _changed(document, rng)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        text += b" " * rng.randrange(9)
    tail = body.content[start + said :]
    if start:
        return replace(body, content=len(text).to_bytes(8, "little") + text + tail)
    headers = body.headers | ({LENGTH: str(len(text))} if LENGTH in body.headers else {})
    return replace(body, content=text + tail, headers=headers)


def _odd(rng: random.Random) -> Any:
    kinds: list[Any] = [rng.choice(NUMBERS), rng.choice(WORDS), None, [], {}, [[1], 2], {"a": 1}, [rng.choice(NUMBERS)]]
    return rng.choice(kinds)


def _changed(node: Any, rng: random.Random) -> Any:
    """`node` with one thing in it replaced, removed, doubled or renamed."""
    if isinstance(node, dict) and node and rng.random() < 0.85:
        key = rng.choice(list(node))
        if rng.random() < 0.6:
            return node | {key: _changed(node[key], rng)}
        kept = {name: value for name, value in node.items() if name != key}
        return rng.choice([kept, kept | {rng.choice(WORDS): node[key]}, node | {rng.choice(WORDS): _odd(rng)}])
    if isinstance(node, list) and node and rng.random() < 0.85:
        place = rng.randrange(len(node))
        if rng.random() < 0.6:
            return [*node[:place], _changed(node[place], rng), *node[place + 1 :]]
        return rng.choice([node[:place] + node[place + 1 :], [*node, node[place]], node * 2, [node]])
    return _odd(rng)


def flipped_or_cut(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """`content` with some of its bytes flipped, cut, doubled, or mixed with those of `other`."""
    if not content:
        return rng.randbytes(rng.randrange(20))
    start = rng.randrange(len(content))
    stop = min(len(content), start + rng.choice([1, 1, 2, 4, 8, 64]))
    odd = rng.choice([b"\0", b"\xff" * 8, b"[" * 40, b'{"a":' * 20, b"NaN", b'"', b"\xed\xa0\x80", rng.randbytes(4)])
    ways: list[bytes] = [
        content[:start] + bytes([content[start] ^ 1 << rng.randrange(8)]) + content[start + 1 :],
        content[:start] + content[stop:],
        content[:start] + odd + content[start:],
        content[:start] + odd + content[stop:],
        content[:stop] + content[start:],
        content[:start] + other[start:],
        content[:start],
        content + odd,
    ]
    return rng.choice(ways)
