"""Small compressed bodies that stand for much, or say so: refused at the limit, and the process does not grow."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

MIB = 2**20
BOMBS = f"""
import gzip, json, resource, zlib
from pathlib import Path
from backports import zstd
from tests.service.bodies import BINARY, INFER, LENGTH
from tests.service.conftest import GOOD, JSON, LOSS, serving

ZEROS = bytes(128 * {MIB})
FRAME = bytes.fromhex("28b52ffd0068")  # zstd, a window of 8 MiB
FILL = (2**17 << 3 | 2).to_bytes(3, "little") + b" "  # a block of 128 KiB in four bytes
TAR = gzip.compress(ZEROS, 1)
BODIES = {{
    "gzip": ("gzip", TAR),
    "gzip in many members": ("gzip", gzip.compress(bytes(2 * {MIB}), 1) * 64),
    "gzip in tiny members": ("gzip", gzip.compress(b" ") * 300_000),
    "gzip of empty blocks": ("gzip", TAR[:10] + b"\\0\\0\\0\\xff\\xff" * 1_000_000),
    "gzip with a long name": ("gzip", TAR[:3] + b"\\x08" + TAR[4:10] + b"a" * 5_000_000),
    "deflate": ("deflate", zlib.compress(ZEROS, 1)),
    "zstd": ("zstd", zstd.compress(ZEROS)),
    "zstd of one size": ("zstd", FRAME + FILL * 1024),
    "zstd in many frames": ("zstd", zstd.compress(bytes(2 * {MIB})) * 64),
    "zstd in tiny frames": ("zstd", zstd.compress(b" ") * 300_000),
    "zstd that says 2 GiB": ("zstd", bytes.fromhex("28b52ffda0") + (2**31).to_bytes(4, "little") + FILL * 1024),
    "zstd that says 2^60": ("zstd", bytes.fromhex("28b52ffdc068") + (2**60).to_bytes(8, "little") + FILL * 1024),
    "zstd with a window of 2^30": ("zstd", FRAME[:-1] + b"\\xa0" + FILL * 1024),
    "zstd with a long skipped frame": ("zstd", bytes.fromhex("502a4d18ffffffff") + bytes(5_000_000)),
}}

def grown(client, path, body, headers):
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    except OSError:
        pass
    before = peak()
    response = client.post(path, content=body, headers=headers)
    return [response.status_code, response.json().get("detail", ""), peak() - before]

def peak():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

with serving(max_json_bytes=8 * {MIB}, max_body_bytes=12 * {MIB}, threads=1) as client:
    for coding in ("gzip", "deflate", "zstd"):
        client.post(LOSS, content=b"", headers=JSON | {{"Content-Encoding": coding}})
    found = {{}}
    for name, (coding, body) in BODIES.items():
        more = {{"Content-Encoding": coding}}
        found[name] = {{
            "json": grown(client, LOSS, body, JSON | more),
            "safetensors": grown(client, LOSS, body, BINARY | more),
            "v2": grown(client, INFER, body, JSON | more),
            "v2 binary": grown(client, INFER, body, {{LENGTH: "9"}} | more),
        }}
    assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 200
    print(json.dumps(found))
"""
LIMITS = {
    "json": (8 * MIB, "MAX_JSON_BYTES"),
    "safetensors": (12 * MIB, "MAX_BODY_BYTES"),
    "v2": (8 * MIB, "MAX_JSON_BYTES"),
    "v2 binary": (12 * MIB, "MAX_BODY_BYTES"),
}
TOO_LARGE = [
    "gzip",
    "gzip in many members",
    "deflate",
    "zstd",
    "zstd of one size",
    "zstd in many frames",
]
MALFORMED = {
    "gzip in tiny members": "compressed members",
    "gzip of empty blocks": "the body is not gzip",
    "gzip with a long name": "the body is not gzip",
    "zstd in tiny frames": "compressed members",
    "zstd that says 2 GiB": "the body is not zstd",
    "zstd with a window of 2^30": "the body is not zstd",
    "zstd with a long skipped frame": "the body is not zstd",
}


@pytest.fixture(scope="module")
def bombs() -> Any:
    """For each body and way to send it: the status, the detail, the bytes by which the process grew."""
    # With what was freed given back at once, and nothing copied to grow, the process shows what is in use.
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(MIB // 2), "MALLOC_TRIM_THRESHOLD_": str(MIB // 8)}
    done = subprocess.run(
        [sys.executable, "-c", BOMBS],
        env=os.environ | malloc,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", LIMITS)
@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_bomb_is_too_large_and_takes_no_memory(bombs: Any, name: str, way: str) -> None:
    limit, setting = LIMITS[way]
    status, detail, grown = bombs[name][way]
    assert (status, detail) == (413, f"the body is larger than {limit} bytes, the limit {setting}")
    assert grown < limit + (10 if "zstd" in name else 2) * MIB  # zstd has a window of 8 MiB


@pytest.mark.parametrize("way", LIMITS)
@pytest.mark.parametrize("name", MALFORMED)
def test_a_broken_bomb_is_malformed_and_takes_no_memory(bombs: Any, name: str, way: str) -> None:
    status, detail, grown = bombs[name][way]
    assert status == 400
    assert MALFORMED[name] in detail
    assert grown < 12 * MIB


@pytest.mark.parametrize("way", LIMITS)
def test_a_size_that_is_only_said_takes_no_memory(bombs: Any, way: str) -> None:
    status, _, grown = bombs["zstd that says 2^60"][way]
    assert status in (400, 413)
    assert grown < LIMITS[way][0] + 10 * MIB
