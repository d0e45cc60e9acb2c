"""Content codings: how tests compress bodies, send them, and read answers that may be compressed."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from backports import zstd
from httpx2 import Response
from starlette.testclient import TestClient

from tests.service.bodies import BATCH
from tests.service.carriers import Body, infer
from tests.service.conftest import JSON, LOSS, problem

Compress = Callable[[bytes], bytes]
COMPRESS: dict[str, Compress] = {
    "gzip": partial(gzip.compress, mtime=0),
    "deflate": zlib.compress,
    "zstd": partial(zstd.compress, options={zstd.CompressionParameter.checksum_flag: 1}),
}
DECOMPRESS: dict[str, Compress] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": zstd.decompress}
MEMBERS = ("gzip", "zstd")  # the codings in which several compressed members are one body


def post(client: TestClient, body: bytes | Iterator[bytes], coding: str, **headers: str) -> Response:
    return client.post(LOSS, content=body, headers=JSON | {"Content-Encoding": coding} | headers)


def refuse(client: TestClient, body: bytes, coding: str) -> str:
    """The detail of the refusal that a malformed body must have."""
    detail: str = problem(post(client, body, coding), 400)["detail"]
    return detail


def inference(*, binary: bool, size: int = 0) -> Body:
    """A good request of the Open Inference Protocol whose JSON has at least `size` bytes, for an answer in JSON."""
    return infer("cross_entropy", BATCH, {"binary_data_output": False}, binary=binary, id="7", size=size)


def ask(
    client: TestClient, path: str, body: bytes | None, accepted: Sequence[str], headers: dict[str, str]
) -> tuple[Response, bytes]:
    """The answer to a client with these Accept-Encoding headers, and its bytes as they were sent."""
    request = client.build_request("GET" if body is None else "POST", path, content=body, headers=headers)
    del request.headers["Accept-Encoding"]
    more = [(b"Accept-Encoding", value.encode()) for value in accepted]
    request.headers = type(request.headers)([*request.headers.raw, *more])
    response = client.send(request, stream=True)
    content = b"".join(response.iter_raw())
    response.close()
    assert response.headers["Content-Length"] == str(len(content))
    return response, content


def plain(client: TestClient, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    """The answer to a client that accepts no coding."""
    response, content = ask(client, path, body, [], headers)
    assert response.status_code == 200, content[:500]
    assert "Content-Encoding" not in response.headers
    return content
