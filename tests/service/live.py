"""The app in a real server, on a thread of this process, and what each of Triton's clients asks of it."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from core.reduction import Result
from service.__main__ import KEEP_ALIVE_SECONDS
from service.app import create_app
from service.protocol import Protocol
from service.settings import Settings

Array = NDArray[Any]
LENGTH = "Inference-Header-Content-Length"
LOGITS = np.array([[2.0, 0.5, -1.0], [0.125, 0.25, 0.375]], np.float32)
TARGETS = np.array([0, 2])
GOOD: dict[str, Array] = {"logits": LOGITS, "targets": TARGETS}  # of cross_entropy
CODINGS = (None, "gzip", "deflate")
# How inputs are sent (binary or not) and outputs wanted (None: as the client does unasked), both compressed or not.
COMBINATIONS = list(product((True, False), (None, True, False), CODINGS, CODINGS))


@contextmanager
def listening(**settings: Any) -> Iterator[str]:
    """The host and port of an app with some settings of its own."""
    merged: Any = {"device": "cpu", "threads": 2} | settings
    app = create_app(Settings(**merged))
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
    assert not thread.is_alive()


def tensor(name: str, array: Array, *, binary: bool = True) -> Any:
    """An input, as bytes or as JSON."""
    made = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, binary_data=binary)


def tensors(fields: Mapping[str, Array], *, binary: bool = True) -> list[Any]:
    """Inputs, all as bytes or all as JSON."""
    return [tensor(name, array, binary=binary) for name, array in fields.items()]


def a_hundred_megabytes() -> dict[str, Array]:
    """A batch for cross_entropy with 25 million logits."""
    logits = np.arange(25_000_000, dtype=np.float32).reshape(250, -1)
    logits %= 1021
    assert logits.nbytes == 10**8
    return {"logits": logits, "targets": np.arange(250)}


def asked(outputs: Mapping[str, object], *, binary: bool | None = True) -> list[Any] | None:
    """These outputs, all as bytes or all as JSON; None leaves it to the client."""
    return None if binary is None else [InferRequestedOutput(name, binary_data=binary) for name in outputs]


def outputs_of(result: Result) -> dict[str, Array]:
    """Every output that the protocol has for `result`, in their order."""
    found = dict(result.outputs)
    if result.loss is not None:
        found["loss"] = np.array([result.loss])
    found |= {f"reduced_{name}": np.array([value]) for name, value in result.reduced.items()}
    for name, total in result.totals.items():
        found[name] = np.array([total], np.int64 if name in ("count", "ignored") else np.float64)
    return found


def check(answer: Any, wanted: Mapping[str, Array], *, binary: bool | Mapping[str, bool] = True) -> None:
    """The outputs of an answer have the names, order, form, types, shapes and bits that they must have."""
    entries = answer.get_response()["outputs"]
    assert [entry["name"] for entry in entries] == list(wanted)
    for entry, (name, want) in zip(entries, wanted.items(), strict=True):
        as_bytes = binary if isinstance(binary, bool) else binary[name]
        assert ("data" in entry, "parameters" in entry) == (not as_bytes, as_bytes), name
        found = answer.as_numpy(name)
        assert (found.dtype, found.shape) == (want.dtype, want.shape), name
        assert bits(found) == bits(want), (name, found, want)


def bits(array: Array) -> bytes:
    """The bytes of an array, with one NaN for all of them."""
    floats = array.dtype.kind == "f"
    return (np.where(np.isnan(array), array.dtype.type(np.nan), array) if floats else array).tobytes()


def exchange(
    address: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any, bytes]:
    """The status, headers and body of an answer, as plain HTTP has them."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused: the status, a part of the reason, and the arguments of `infer`."""

    status: int
    says: str
    inputs: list[Any] = field(default_factory=lambda: tensors(GOOD))
    model_name: str = "cross_entropy"
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `infer`; the client writes to the headers that it is given."""
        more = {name: dict(value) if name == "headers" else value for name, value in self.more.items()}
        return {"model_name": self.model_name, "inputs": self.inputs, **more}

    def reason(self, address: str) -> str:
        """What the server says to the same request, sent by hand, once it is checked."""
        more = self.arguments
        headers, version = more.pop("headers", {}), more.pop("model_version", "")
        del more["model_name"]
        body, length = InferenceServerClient.generate_request_body(**more)
        headers |= {} if length is None else {LENGTH: str(length)}
        path = f"/v2/models/{self.model_name}{f'/versions/{version}' if version else ''}/infer"
        return refused(address, self.status, self.says, "POST", path, body, headers)


def refused(address: str, status: int, says: str, *request: Any) -> str:
    """The reason of a refusal, once that and its form are checked."""
    found, headers, content = exchange(address, *request)
    assert (found, headers["Content-Type"], headers["Content-Encoding"]) == (status, "application/json", None), content
    document = json.loads(content)
    assert document["error"] == document["detail"]
    assert document["status"] == status
    assert says in document["error"], document["error"]
    reason: str = document["error"]
    return reason


def _reshaped(*, binary: bool) -> list[Any]:
    """Inputs of which one is said to have another shape than its data."""
    made = tensors(GOOD, binary=binary)
    made[0].set_shape([2, 4])
    return made


def _changed(**changes: Array) -> list[Any]:
    return tensors(GOOD | changes)


def _parameters(**parameters: Any) -> dict[str, Any]:
    return {"parameters": parameters}


def _outputs(*names: str, **more: Any) -> dict[str, Any]:
    return {"outputs": [InferRequestedOutput(name) for name in names], **more}


def _said_length(length: str) -> dict[str, Any]:
    """Inputs as JSON: the client says a length of its own where there are bytes."""
    return {
        "inputs": tensors(GOOD, binary=False),
        "more": {"headers": {LENGTH: length}},
    }


_SHARED = [InferInput("logits", [2, 3], "FP32").set_shared_memory("region", 24), tensor("targets", TARGETS)]
_BYTES = [tensor("logits", LOGITS.astype(str).astype(object)), tensor("targets", TARGETS)]
REFUSALS = {
    "unknown model": Refusal(404, "no_such_loss", model_name="no_such_loss"),
    "unknown version": Refusal(404, "cross_entropy has no version '2'", more={"model_version": "2"}),
    "unknown input": Refusal(
        400, "logit is not known: cross_entropy takes logits, targets, weight", _changed(logit=LOGITS)
    ),
    "missing input": Refusal(400, "targets is missing", tensors({"logits": LOGITS})),
    "no input": Refusal(400, "logits is missing", []),
    "input twice": Refusal(400, "logits is twice among the inputs", [*_changed(), tensor("logits", LOGITS)]),
    "option as input": Refusal(400, "ignore_index is no tensor", _changed(ignore_index=np.array([1]))),
    "input without data": Refusal(
        400, "logits must have either data", [InferInput("logits", [2, 3], "FP32"), *_changed()[1:]]
    ),
    "unknown output": Refusal(400, "losses is no output", more=_outputs("losses")),
    "output twice": Refusal(400, "sum is twice among the outputs", more=_outputs("sum", "loss", "sum")),
    "loss unreduced": Refusal(400, "loss is not there", more=_outputs("loss", **_parameters(reduction="none"))),
    "wrong shape": Refusal(400, "targets has shape (3,), but must have shape (2,)", _changed(targets=np.zeros(3, int))),
    "index of floats": Refusal(400, "targets is an array of float32", _changed(targets=LOGITS)),
    "logits of integers": Refusal(400, "logits is an array of int64", _changed(logits=LOGITS.astype(int))),
    "datatype of strings": Refusal(400, 'logits.datatype is "BYTES"', _BYTES),
    "wrong byte count": Refusal(
        400, "logits has 24 bytes, but float32 of shape (2, 4) takes 32", _reshaped(binary=True)
    ),
    "wrong data count": Refusal(400, "logits.data has the shape (6,), but must have (2, 4)", _reshaped(binary=False)),
    "value out of range": Refusal(
        400, "targets[1] is 7, but must be a class index in [0, 3)", _changed(targets=np.array([0, 7]))
    ),
    "index past int64": Refusal(400, "18446744073709551615", _changed(targets=np.array([0, 2**64 - 1], np.uint64))),
    "option out of range": Refusal(400, "label_smoothing is 1.5", more=_parameters(label_smoothing=1.5)),
    "option of another type": Refusal(400, 'ignore_index is "1"', more=_parameters(ignore_index="1")),
    "unknown choice": Refusal(400, 'reduction is "avg"', more=_parameters(reduction="avg")),
    "choice of another loss": Refusal(400, "log_target is not known", more=_parameters(log_target=True)),
    "parameter as list": Refusal(400, "reduction is an array", more=_parameters(reduction=["sum"])),
    "parameter as object": Refusal(400, "label_smoothing is an object", more=_parameters(label_smoothing={"a": 1})),
    "unknown parameter": Refusal(400, "temperature is not known", more=_parameters(temperature=2)),
    "per_sample": Refusal(400, "per_sample is not known", more=_parameters(per_sample=False)),
    "dtype": Refusal(400, "dtype is not known", more=_parameters(dtype="float64")),
    "negative time": Refusal(400, "timeout is -1", more={"timeout": -1}),
    "priority of words": Refusal(400, 'priority is "high"', more={"priority": "high"}),
    "shared memory in": Refusal(400, "shared_memory_region", _SHARED),
    "classification": Refusal(400, "classification", more={"outputs": [InferRequestedOutput("loss", class_count=1)]}),
    "negative length": Refusal(400, f"{LENGTH} is '-1'", **_said_length("-1")),
    "length past the body": Refusal(400, f"{LENGTH} is '99999'", **_said_length("99999")),
    "length in words": Refusal(400, f"{LENGTH} is 'ten'", **_said_length("ten")),
    "length of a part": Refusal(400, "is not JSON", **_said_length("10")),
    "no length": Refusal(400, f"{LENGTH} is 0", **_said_length("0")),
    "unknown coding": Refusal(415, "'br'", more={"headers": {"Content-Encoding": "br"}}),
    "not gzip": Refusal(400, "the body is not gzip", more={"headers": {"Content-Encoding": "gzip"}}),
    "media type": Refusal(415, "'text/plain'", more={"headers": {"Content-Type": "text/plain"}}),
}
