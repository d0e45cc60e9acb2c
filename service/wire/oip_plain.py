"""Open Inference Protocol requests as the usual clients write them: short, every tensor in bytes, nothing wrong.

All others are left to service.wire.oip_request.
"""

from dataclasses import dataclass
from typing import Any

from core.declare import Measure

from service.wire.oip import DATATYPES, Request, absent_outputs
from service.wire.tables import Table, table
from service.wire.tensors import checked_shape, from_bytes
from service.wire.usual import UNUSUAL, USUAL_BYTES, Unusual, header, require_keys

MOST_KNOWN = 256
Input = tuple[str, str, tuple[int, ...], int, int]

# What a request may say of itself; a service that keeps nothing between requests has no use for most of it.
REQUEST_PARAMETERS: dict[str, tuple[tuple[type, ...], str]] = {
    "binary_data_output": ((bool,), "true or false"),
    "timeout": ((int,), "an integer >= 0, microseconds"),
    "priority": ((int,), "an integer >= 0"),
    "sequence_id": ((int, str), "an integer or a string"),
    "sequence_start": ((bool,), "true or false"),
    "sequence_end": ((bool,), "true or false"),
}
_OUTPUT, _BINARY = {"name", "parameters"}, {"binary_data"}
_ROOT = {"id", "inputs", "outputs", "parameters"}


@dataclass(slots=True)
class Header:
    """What the JSON of a request says: of each input its name, dtype and shape and where its bytes begin and end."""

    inputs: list[Input]
    size: int  # of all of them
    parameters: dict[str, Any]
    id: str | None
    outputs: dict[str, bool]
    timeout: int


# Most clients write the same header before every batch of a shape: one that was read before is known in 1 us instead
# of 6. One with an id is not kept: it never comes again. No lock: two threads may both read a header.
_known: dict[tuple[Measure, bytes], Header] = {}


def read(body: bytes | bytearray, length: int, measure: Measure) -> Request | None:
    """A request whose first `length` bytes are JSON, in 3 to 8 us where care takes 26; None if it needs care."""
    if length > USUAL_BYTES:
        return None
    text, tail = bytes(body[:length]), memoryview(body)[length:]
    found = _known.get((measure, text))
    try:
        found = found or _header(text, measure)
        if found.size != len(tail):
            return None
        fields = {
            name: from_bytes(name, dtype, shape, tail[begin:end]) for name, dtype, shape, begin, end in found.inputs
        }
    except UNUSUAL:
        return None
    return Request(fields | found.parameters, found.id, found.outputs, found.timeout)


def _header(text: bytes, measure: Measure) -> Header:
    """The header of `text`, kept for the next time."""
    found = _read_header(text, table(measure))
    if found.id is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[measure, text] = found
    return found


def _read_header(text: bytes, known: Table) -> Header:
    root = header(text)
    sent, more = root.get("id", ""), root.get("parameters", {})
    if not (root.keys() <= _ROOT and type(sent) is str and type(more) is dict):
        raise Unusual
    inputs, size = _inputs(root["inputs"], known)
    parameters, asked = _parameters(more, known)
    binary = asked.get("binary_data_output", False)
    absent = absent_outputs(known.measure, parameters.get("reduction", known.reduction))
    wanted, keys_of_outputs = _outputs(root.get("outputs", []), binary, known)
    require_keys(text, len(root) + len(more) + 5 * len(inputs) + keys_of_outputs)
    if not absent.isdisjoint(wanted):
        raise Unusual
    wanted = wanted or {name: binary for name in known.outputs if name not in absent}
    return Header(inputs, size, parameters, root.get("id"), wanted, asked.get("timeout", 0))


def _inputs(entries: list[dict[str, Any]], known: Table) -> tuple[list[Input], int]:
    """The inputs, and how many bytes they have."""
    found: dict[str, Input] = {}
    reached = 0
    if type(entries) is not list:
        raise Unusual
    for entry in entries:
        name, parameters = entry["name"], entry["parameters"]
        size, dtype = parameters["binary_data_size"], DATATYPES[entry["datatype"]]
        if len(entry) != 4 or len(parameters) != 1 or type(size) is not int or size < 0 or name in found:
            raise Unusual
        begin, reached = reached, reached + size
        found[name] = (known.tensors[name].name, dtype, checked_shape(name, entry["shape"]), begin, reached)
    return list(found.values()), reached


def _parameters(sent: dict[str, Any], known: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options and choices, and what the request says of itself."""
    found: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    for name, value in sent.items():
        if name in REQUEST_PARAMETERS:
            if type(value) not in REQUEST_PARAMETERS[name][0] or (type(value) is int and value < 0):
                raise Unusual
            asked[name] = value
        elif name in known.scalars and type(value) in (bool, int, float, str):
            found[name] = value
        else:
            raise Unusual
    return found, asked


def _outputs(entries: list[dict[str, Any]], binary: bool, known: Table) -> tuple[dict[str, bool], int]:
    """The outputs that are wanted, each as bytes or not, and how many keys their entries have."""
    wanted: dict[str, bool] = {}
    keys = 0
    if type(entries) is not list:
        raise Unusual
    for entry in entries:
        name, parameters = entry["name"], entry.get("parameters", {})
        as_bytes = parameters.get("binary_data", binary)
        keys += len(entry) + len(parameters)
        if not (entry.keys() <= _OUTPUT and parameters.keys() <= _BINARY and type(as_bytes) is bool):
            raise Unusual
        if name not in known.outputs or name in wanted:
            raise Unusual
        wanted[name] = as_bytes
    return wanted, keys
