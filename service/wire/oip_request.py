"""Open Inference Protocol requests: a JSON header, then the bytes of the tensors that it says are binary.

Inputs are the measure's arrays, as JSON data or bytes; options and choices are parameters.
Source: the Open Inference Protocol's REST specification and its binary tensor data extension.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import simdjson
from core.declare import FLOAT_DTYPES, Kind, Measure, Tensor
from core.dtypes import cast
from core.errors import Fault, InvalidInput, missing, mistyped, refuse, unknown
from core.rules import Array

from service.negotiation import INFERENCE_LENGTH
from service.problems import malformed
from service.wire.oip import DATATYPES, Request, absent_outputs, outputs
from service.wire.oip_plain import REQUEST_PARAMETERS, read
from service.wire.pieces import read_text
from service.wire.reader import Document, members, plain
from service.wire.tables import table
from service.wire.tensors import checked_shape, from_bytes, known_dtype

_FOREIGN = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "classification")


def header_length(sent: str | None, size: int) -> int:
    """How many of a body's `size` bytes are JSON, by the header Inference-Header-Content-Length. Raises Problem."""
    if sent is None:
        return size
    if not (sent.isascii() and sent.isdigit() and len(sent) < 20 and int(sent) <= size):
        says = f"a number of bytes, at most the body's {size}"
        raise malformed(f"{INFERENCE_LENGTH} is {sent[:40]!r}, but must be {says}")
    if int(sent) == 0:
        raise malformed(
            f"{INFERENCE_LENGTH} is 0, which is for models of a single input, but each here has two or more:"
            " send the JSON header that names them"
        )
    return int(sent)


def decode(body: bytes | bytearray, length: int, measure: Measure) -> Request:
    """A request whose first `length` bytes are JSON. Raises Problem (400) or InvalidInput; tensors in bytes are views
    of `body`; names, options and values of fields are left for others to check."""
    return read(body, length, measure) or _with_care(body, length, measure)


def _with_care(body: bytes | bytearray, length: int, measure: Measure) -> Request:
    text, tail = body if length == len(body) else body[:length], memoryview(body)[length:]
    return read_text(text, lambda document: _request(document, tail, measure), bare_words=True)


def _request(document: Document, tail: memoryview, measure: Measure) -> Request:
    root = members(document.root, "the body")
    sent = root.get("id")
    if "id" in root and not isinstance(sent, str):
        raise _wrong(("id",), plain(sent), "a string")
    fields = _Inputs(document, measure, tail).read(root.get("inputs"))
    parameters = _parameters(measure, _object(root.get("parameters"), ("parameters",)))
    asked = {name: parameters.pop(name) for name in REQUEST_PARAMETERS if name in parameters}
    binary = asked.get("binary_data_output", False)
    reduction = parameters.get("reduction", table(measure).reduction)
    wanted = _outputs(document, measure, root.get("outputs"), binary, absent_outputs(measure, reduction))
    document.refuse_mixed_depth()
    return Request(fields | parameters, sent, wanted, asked.get("timeout", 0))


class _Inputs:
    """The reader of `inputs`; `tail` is what comes after the JSON header."""

    def __init__(self, document: Document, measure: Measure, tail: memoryview) -> None:
        self.document, self.measure, self.tail = document, measure, tail
        self.tensors = table(measure).tensors
        self.reached = 0  # in the tail

    def read(self, sent: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for place, value in enumerate(_list(self.document, sent, "inputs")):
            entry = _object(value, ("inputs", place), required=True)
            name = plain(entry.get("name"))
            if not isinstance(name, str):
                raise _wrong(("inputs", place, "name"), name, "a string")
            if name not in self.tensors:
                raise InvalidInput([self._not_an_input(name)])
            if name in fields:
                raise refuse(name, f"{name} is twice among the inputs")
            fields[name] = self._array(place, self.tensors[name], entry)
        if self.reached != len(self.tail):
            raise malformed(
                f"the body has {len(self.tail)} bytes after the JSON header, but its inputs take {self.reached}"
            )
        return fields

    def _not_an_input(self, name: str) -> Fault:
        if name in self.measure.names:
            return Fault((name,), f"{name} is no tensor: send it among the parameters")
        return unknown(name, self.measure.name, self.tensors)

    def _array(self, place: int, tensor: Tensor, entry: dict[str, Any]) -> Array:
        name = tensor.name
        dtype = known_dtype(name, "datatype", plain(entry.get("datatype")), DATATYPES)
        shape = checked_shape(name, self.document.integers(entry.get("shape")))
        parameters = _tensor_parameters(name, entry, "binary_data_size")
        size = parameters.get("binary_data_size")
        if (entry.get("data") is None) == (size is None):  # KServe's client writes null beside an empty tensor's size
            raise refuse(name, f"{name} must have either data or the parameter binary_data_size")
        if size is None:
            return self._of_json(place, tensor, dtype, shape, entry["data"])
        if type(size) is not int or size < 0:
            raise _wrong((name, "parameters", "binary_data_size"), size, "an integer >= 0")
        begin, self.reached = self.reached, self.reached + size
        if self.reached > len(self.tail):
            left = len(self.tail) - begin
            raise malformed(f"{name} is said to have {size} bytes, but the body has {left} left for it")
        return from_bytes(name, dtype, shape, self.tail[begin : self.reached])

    def _of_json(self, place: int, tensor: Tensor, dtype: str, shape: tuple[int, ...], data: Any) -> Array:
        name = tensor.name
        if not isinstance(data, simdjson.Array):
            raise _wrong((name, "data"), plain(data), "a list")
        kind = Kind.FLOAT if dtype in FLOAT_DTYPES else Kind.INDEX
        path = ("inputs", place, "data")
        asked = tensor if tensor.kind is kind else replace(tensor, kind=kind)
        found = self.document.array(asked, *path, booleans=dtype == "bool")
        if found.shape not in (shape, (math.prod(shape),)):
            is_said = f"{name}.data has the shape {found.shape}"
            raise refuse(name, f"{is_said}, but must have {shape}, or be flat with {math.prod(shape)} entries")
        return cast(name, found.reshape(shape), dtype)


def _list(document: Document, value: Any, name: str) -> Any:
    if not isinstance(value, simdjson.Array):
        says = f"a list of {name}"
        raise InvalidInput([missing(name, says)]) if value is None else _wrong((name,), plain(value), says)
    document.lists += 1
    return value


def _object(value: Any, where: tuple[str | int, ...], *, required: bool = False) -> dict[str, Any]:
    if value is None and not required:
        return {}
    if not isinstance(value, simdjson.Object):
        raise _wrong(where, plain(value), "an object")
    return members(value, _said(where))


def _said(where: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where).removeprefix(".")


def _wrong(where: tuple[str | int, ...], value: object, says: str) -> InvalidInput:
    return InvalidInput([Fault(where, mistyped(_said(where), value, says).detail)])


def _tensor_parameters(name: str, entry: Mapping[str, Any], known: str) -> dict[str, Any]:
    """The parameters of an input or output, of which only `known` is known."""
    found = {key: plain(value) for key, value in _object(entry.get("parameters"), (name, "parameters")).items()}
    for key in found:
        if key in _FOREIGN:
            raise refuse(name, f"{name} asks for {key}, an extension that is not here")
        if key != known:
            raise refuse(name, unknown(f"{name}.parameters.{key}", "it", [known]).detail)
    return found


def _parameters(measure: Measure, sent: dict[str, Any]) -> dict[str, Any]:
    """The request's parameters, of which those that are no option or choice of the measure are checked here."""
    found = {name: plain(value) for name, value in sent.items()}
    scalars = table(measure).scalars
    faults = []
    for name, value in found.items():
        if name in REQUEST_PARAMETERS:
            types, says = REQUEST_PARAMETERS[name]
            if type(value) not in types or (type(value) is int and value < 0):
                faults.append(mistyped(name, value, says))
        elif name not in scalars:
            faults.append(unknown(name, measure.name, [*scalars, *REQUEST_PARAMETERS]))
    if faults:
        raise InvalidInput(faults)
    return found


def _outputs(document: Document, measure: Measure, sent: Any, binary: bool, absent: set[str]) -> dict[str, bool]:
    """The outputs that are wanted, in their order, with whether each is wanted as bytes."""
    known = outputs(measure)
    wanted: dict[str, bool] = {}
    for place, value in enumerate(_list(document, sent, "outputs") if sent is not None else []):
        entry = _object(value, ("outputs", place), required=True)
        name = plain(entry.get("name"))
        if not isinstance(name, str):
            raise _wrong(("outputs", place, "name"), name, "a string")
        if name not in known:
            raise refuse(name, f"{name[:64]} is no output of {measure.name}, which answers {', '.join(known)}")
        if name in wanted:
            raise refuse(name, f"{name} is twice among the outputs")
        if name in absent:
            raise refuse(name, f'{name} is not there under reduction "none"')
        as_bytes = _tensor_parameters(name, entry, "binary_data").get("binary_data", binary)
        if not isinstance(as_bytes, bool):
            raise _wrong((name, "parameters", "binary_data"), as_bytes, "true or false")
        wanted[name] = as_bytes
    return wanted or {name: binary for name in known if name not in absent}
