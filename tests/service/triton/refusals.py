"""Requests that must be refused, and how a refusal reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from tests.service.bodies import BATCH, LENGTH, LOGITS, TARGETS
from tests.service.triton.requests import Array, exchange, tensor, tensors


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused: the status, a part of the reason, and the arguments of `infer`."""

    status: int
    says: str
    inputs: list[Any] = field(default_factory=lambda: tensors(BATCH))
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
    made = tensors(BATCH, binary=binary)
    made[0].set_shape([2, 4])
    return made


def _changed(**changes: Array) -> list[Any]:
    return tensors(BATCH | changes)


def _parameters(**parameters: Any) -> dict[str, Any]:
    return {"parameters": parameters}


def _outputs(*names: str, **more: Any) -> dict[str, Any]:
    return {"outputs": [InferRequestedOutput(name) for name in names], **more}


def _said_length(length: str) -> dict[str, Any]:
    """Inputs as JSON: the client says a length of its own where there are bytes."""
    return {
        "inputs": tensors(BATCH, binary=False),
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
NOT_THERE = [  # a method of the client, its arguments, and the status, request and reason of the refusal
    ("get_model_metadata", ["no"], 404, "GET /v2/models/no", "there is no model called 'no'"),
    ("get_model_metadata", ["é b?"], 404, "GET /v2/models/%C3%A9%20b%3F", "'é b?'"),
    ("get_model_metadata", ["kl_div", "2"], 404, "GET /v2/models/kl_div/versions/2", "kl_div has no version '2'"),
    ("get_model_config", ["no"], 404, "GET /v2/models/no/config", "there is no model called 'no'"),
    ("get_model_config", ["kl_div", "0"], 404, "GET /v2/models/kl_div/versions/0/config", "has no version '0'"),
    ("get_inference_statistics", ["kl_div", "01"], 404, "GET /v2/models/kl_div/versions/01/stats", "version '01'"),
    ("get_inference_statistics", ["no"], 404, "GET /v2/models/no/stats", "there is no model called 'no'"),
    ("get_model_metadata", ["kl_div/infer"], 405, "GET /v2/models/kl_div/infer", "it takes POST"),
    ("load_model", ["kl_div"], 404, "POST /v2/repository/models/kl_div/load", "there is nothing at /v2/rep"),
    ("unload_model", ["kl_div"], 404, "POST /v2/repository/models/kl_div/unload", "there is nothing at /v2/rep"),
    ("get_log_settings", [], 404, "GET /v2/logging", "there is nothing at /v2/logging"),
    ("get_trace_settings", [], 404, "GET /v2/trace/setting", "there is nothing at /v2/trace/setting"),
    ("get_system_shared_memory_status", [], 404, "GET /v2/systemsharedmemory/status", "there is nothing at /v2/s"),
    ("get_model_config", ["kl_div", "2"], 404, "GET /v2/models/kl_div/versions/2/config", "has no version '2'"),
]
