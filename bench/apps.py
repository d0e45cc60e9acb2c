"""What the service is compared with: python -m bench.apps floor|received|naive PORT."""

import sys
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from service.body import read_body

ANSWER = b'{"loss":0.0}'


async def floor(scope: Scope, receive: Receive, send: Send) -> None:
    """A bare ASGI app that reads the body into one buffer, and does nothing with it."""
    size = int(next(value for name, value in scope["headers"] if name == b"content-length"))
    body = memoryview(bytearray(size))
    reached, more = 0, True
    while more:
        message = await receive()
        piece = message["body"]
        body[reached : reached + len(piece)] = piece
        reached, more = reached + len(piece), message["more_body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def naive() -> Any:
    """Thirty lines of FastAPI and PyTorch, as one would write them."""
    import numpy as np
    import torch
    from fastapi import FastAPI, Request
    from pydantic import BaseModel
    from torch.nn.functional import cross_entropy

    app = FastAPI()

    class Batch(BaseModel):
        logits: list[list[float]]
        targets: list[int]

    def answer(logits: Any, targets: Any) -> dict[str, Any]:
        with torch.inference_mode():
            per_sample = cross_entropy(logits, targets, reduction="none")
        return {"loss": per_sample.mean().item(), "per_sample": per_sample.tolist()}

    @app.post("/json")
    def of_json(batch: Batch) -> dict[str, Any]:
        return answer(torch.tensor(batch.logits), torch.tensor(batch.targets))

    @app.post("/bytes/{rows}/{classes}")
    async def of_bytes(rows: int, classes: int, request: Request) -> dict[str, Any]:
        body = bytearray(await request.body())
        logits = np.frombuffer(body, np.float32, rows * classes).reshape(rows, classes)
        targets = np.frombuffer(body, np.int64, rows, rows * classes * 4)
        return answer(torch.from_numpy(logits), torch.from_numpy(targets))

    return app


async def received(scope: Scope, receive: Receive, send: Send) -> None:
    """The floor on this project's protocol, which reads the body its own way."""
    await read_body(scope, receive, 2**40, "")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    made = {"floor": lambda: floor, "received": lambda: received, "naive": naive}[kind]()
    protocol = "service.protocol:Protocol" if kind == "received" else "httptools"
    uvicorn.run(made, port=port, http=protocol, loop="uvloop", lifespan="off", log_level="error", access_log=False)
