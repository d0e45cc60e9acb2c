"""The batches that are timed, and how each server is asked for their losses."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Work:
    """A batch of `rows` samples of `classes`, as JSON or bytes, on so many connections; `goal` is in floors, or 0."""

    form: str
    rows: int
    classes: int
    connections: int
    goal: float

    @property
    def title(self) -> str:
        """As the table has it."""
        return f"{self.form} {self.rows}x{self.classes}, c{self.connections}"

    @cached_property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Logits and targets."""
        rng = np.random.default_rng(1)
        logits = rng.standard_normal((self.rows, self.classes), np.float32)
        return logits, rng.integers(0, self.classes, self.rows)

    @cached_property
    def loss(self) -> float:
        """The mean, in float64."""
        logits, targets = self.arrays
        total = 0.0
        for start in range(0, self.rows, 64):
            block = logits[start : start + 64].astype(np.float64)
            top = block.max(1, keepdims=True)
            normal = np.log(np.exp(block - top).sum(1)) + top[:, 0]
            total += float((normal - block[np.arange(len(block)), targets[start : start + 64]]).sum())
        return total / self.rows

    def parts(self, server: str) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body of the request to "service", "floor" or "naive"."""
        logits, targets = self.arrays
        if self.form == "JSON":  # full doubles, as Python's json writes them
            fields = {"logits": logits.astype(np.float64).tolist(), "targets": targets.tolist()}
            path = {"service": "/v1/losses/cross_entropy", "naive": "/json"}.get(server, "/")
            return path, {"Content-Type": "application/json"}, json.dumps(fields).encode()
        if server != "service":
            return f"/bytes/{self.rows}/{self.classes}", {}, logits.tobytes() + targets.tobytes()
        inputs = [
            {"name": name, "shape": array.shape, "datatype": kind, "parameters": {"binary_data_size": array.nbytes}}
            for name, kind, array in (("logits", "FP32", logits), ("targets", "INT64", targets))
        ]
        outputs = [
            {"name": name, "parameters": {"binary_data": binary}}
            for name, binary in (("per_sample", True), ("loss", False))
        ]
        head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        return "/v2/models/cross_entropy/infer", headers, head + logits.tobytes() + targets.tobytes()

    def request(self, server: str) -> bytes:
        """The same as the bytes of an HTTP request."""
        path, headers, body = self.parts(server)
        lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": len(body)}.items()]
        return "\r\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode() + body

    def is_right(self, server: str, body: bytes) -> bool:
        """Whether an answer has the loss."""
        if server in ("floor", "received"):
            return True
        if self.form == "JSON" or server == "naive":
            found = json.loads(body)["loss"]
        else:
            document, _ = json.JSONDecoder().raw_decode(str(body, "latin-1"))  # and the bytes of the losses after it
            found = document["outputs"][1]["data"][0]
        return bool(abs(found - self.loss) < 1e-4 * abs(self.loss))


WORKS = (
    Work("JSON", 64, 10, 8, 4.0),
    Work("binary", 64, 10, 8, 2.7),
    Work("JSON", 1024, 1000, 1, 8.0),
    Work("binary", 1024, 1000, 1, 1.5),
    Work("binary", 1024, 1000, 4, 0.0),
    Work("binary", 256, 32000, 1, 2.0),
    Work("binary", 1024, 128256, 1, 0.0),
)
