"""The short ways through the binary formats: taken by what the usual clients write, and never for anything else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.measures import find
from service.problems import Problem
from service.wire import oip_plain, oip_request, safetensors
from service.wire.tables import Table, table
from service.wire.tensors import COPIED, from_bytes
from tests.service import carriers
from tests.service.bodies import LENGTH

MEASURE = find("cross_entropy")
ARRAYS = {"logits": np.arange(6, dtype=np.float32).reshape(2, 3), "targets": np.array([0, 2])}
OUTPUTS = [{"name": "per_sample", "parameters": {"binary_data": True}}, {"name": "loss"}]


def inference(**more: Any) -> tuple[bytes, int]:
    """A binary request and the length of its header."""
    body = carriers.infer("cross_entropy", ARRAYS, {"reduction": "sum"}, binary=True, **more)
    return body.content, int(body.headers[LENGTH])


def of_safetensors(**scalars: Any) -> bytes:
    return carriers.safetensors(ARRAYS, scalars)


@pytest.fixture
def short_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever needs care fails."""

    def fail(*_: object) -> None:
        raise AssertionError("read with care")

    for module in (oip_request, safetensors):
        monkeypatch.setattr(module, "_with_care", fail)


@pytest.mark.usefixtures("short_only")
def test_usual_requests_take_the_short_way() -> None:
    request = oip_request.decode(*inference(id="7", outputs=OUTPUTS), MEASURE)
    assert (request.id, request.outputs) == ("7", {"per_sample": True, "loss": True})
    for fields in (request.fields, safetensors.decode(of_safetensors(reduction="sum"), MEASURE)):
        assert fields["reduction"] == "sum"
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(fields[name], array, strict=True)


def with_header(body: bytes, length: int, header: str) -> tuple[bytes, int]:
    return header.encode() + body[length:], len(header.encode())


@pytest.mark.usefixtures("short_only")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"inputs": [', '"inputs": [], "inputs": ['),
        ('"name": "logits"', '"name": "logits", "name": "logits"'),
        ('"name": "logits"', '"name": "targets"'),
        ('"name": "logits"', '"name": "lo:gits"'),
        ('"name": "logits"', '"name": ["logits"]'),
        ('"shape": [2, 3]', '"shape": [3, 3]'),
        ('"shape": [2, 3]', '"shape": [2, 3.0]'),
        ('"binary_data_size": 24', '"binary_data_size": true'),
        ('"binary_data_size": 24', '"binary_data_size": -24'),
        ('"binary_data_size": 16', '"binary_data_size": 8'),
        ('"binary_data_size": 16', '"binary_data_size": 16, "classification": 1'),
        ('"datatype": "FP32"', '"datatype": "FP33"'),
        ('"datatype": "FP32"', '"datatype": "FP32", "data": null'),
        ('"reduction": "sum"', '"reduction": null'),
        ('"reduction": "sum"', '"reduction": NaN'),
        ('"reduction": "sum"', '"reduction": "sum", "unheard": 1'),
        ('"reduction": "sum"', '"reduction": "none"'),
        ('"reduction": "sum"', '"timeout": -1'),
        ('"id": "7"', '"id": null'),
        ('"id": "7"', '"id": 7'),
        ('"id": "7"', '"id": "a:b"'),
        ('"id": "7"', '"unheard": "7"'),
        ('"binary_data": true', '"binary_data": 1'),
        ('{"name": "loss"}', '{"name": "losses"}'),
        ('{"name": "loss"}', '{"name": "per_sample"}'),
        ('{"name": "loss"}', '{"name": "loss", "shape": [1]}'),
        ('{"name": "loss"}', '{"name": "loss", "parameters": 1}'),
        ("{", "\ufeff{"),
        ("{", "[{"),
    ],
)
def test_an_unusual_inference_is_read_with_care(old: str, new: str) -> None:
    body, length = inference(id="7", outputs=OUTPUTS)
    header = body[:length].decode()
    assert old in header
    with pytest.raises(AssertionError, match="with care"):
        oip_request.decode(*with_header(body, length, header.replace(old, new, 1)), MEASURE)


@pytest.mark.usefixtures("short_only")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"__metadata__"', '{"__metadata__": {}, "__metadata__"'),
        ('"reduction": "sum"', '"reduction": "sum", "reduction": "sum"'),
        ('"reduction": "sum"', '"reduction": 1'),
        ('"reduction": "sum"', '"format": "pt"'),
        ('"logits"', '"scores"'),
        ('"F32"', '"F33"'),
        ('"shape": [2, 3]', '"shape": [2, 2]'),
        ('"shape": [2, 3]', '"shape": [2, 3], "more": 1'),
        ("[0, 24]", "[0, 24, 24]"),
        ("[0, 24]", "[0.0, 24]"),
        ("[24, 40]", "[16, 32]"),
        ("[24, 40]", "[24, 48]"),
    ],
)
def test_an_unusual_safetensors_header_is_read_with_care(old: str, new: str) -> None:
    body = of_safetensors(reduction="sum")
    length = int.from_bytes(body[:8], "little")
    header = body[8 : 8 + length].decode()
    assert old in header
    changed = header.replace(old, new, 1).encode()
    with pytest.raises(AssertionError, match="with care"):
        safetensors.decode(len(changed).to_bytes(8, "little") + changed + body[8 + length :], MEASURE)


@pytest.mark.usefixtures("short_only")
def test_a_long_header_is_read_with_care() -> None:
    with pytest.raises(AssertionError, match="with care"):
        oip_request.decode(*inference(size=2**12 + 1), MEASURE)


def outcome(decode: Any, *sent: Any) -> Any:
    """What comes of a request, in a form that can be compared."""
    try:
        return repr(decode(*sent))
    except Problem as problem:
        return problem.status, problem.detail
    except InvalidInput as error:
        return error.faults


PUT = ['"', ":", ",", "1", "-", "{}", "[]", "null", "", '"id":"8",', '"shape":[2],', "\\u0041", "\0"]


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, 1000), cut=st.integers(0, 9), put=st.sampled_from(PUT))
def test_both_ways_come_to_the_same(place: int, cut: int, put: str) -> None:
    body, length = inference(id="7", outputs=OUTPUTS)
    at = place % length
    header = body[:at] + put.encode() + body[at + cut : length]
    sent = (header + body[length:], len(header), MEASURE)
    assert outcome(oip_request.decode, *sent) == outcome(oip_request._with_care, *sent)
    body = of_safetensors(reduction="sum", label_smoothing=0.5)
    length = 8 + int.from_bytes(body[:8], "little")
    at = 9 + place % (length - 9)
    header = body[8:at] + put.encode() + body[at + cut : length]
    short = outcome(safetensors.decode, len(header).to_bytes(8, "little") + header + body[length:], MEASURE)
    assert short == outcome(safetensors._with_care, header, memoryview(body)[length:], table(MEASURE))


def test_a_header_is_read_once_for_a_measure_and_not_kept_with_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    real = oip_plain._read_header

    def note(text: bytes, known: Table) -> oip_plain.Header:
        read.append(text)
        return real(text, known)

    monkeypatch.setattr(oip_plain, "_read_header", note)
    monkeypatch.setattr(oip_plain, "_known", {})
    other = find("nll_loss")
    body, length = inference()
    for _ in range(3):
        first, second = (oip_request.decode(body, length, MEASURE) for _ in range(2))
        assert first.fields.pop("reduction") == second.fields["reduction"] == "sum"
    assert len(read) == 1
    with pytest.raises((Problem, InvalidInput)):
        oip_request.decode(body, length, other)
    assert len(read) == 2
    with pytest.raises((Problem, InvalidInput)):
        oip_request.decode(body + b"x", length, MEASURE)
    for _ in range(2):
        oip_request.decode(*inference(id="7"), MEASURE)
    assert len(read) == 4


def test_headers_are_forgotten_before_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oip_plain, "_known", {})
    for number in range(2 * oip_plain.MOST_KNOWN):
        body, length = inference()
        text = body[:length] + b" " * number
        oip_request.decode(text + body[length:], len(text), MEASURE)
        assert 0 < len(oip_plain._known) <= oip_plain.MOST_KNOWN


def test_a_short_tensor_at_an_odd_address_is_put_straight_and_a_long_one_left() -> None:
    for size, straight in ((COPIED // 4, True), (COPIED // 4 + 1, False)):
        array = from_bytes("logits", "float32", (size,), memoryview(bytes(4 * size + 1))[1:])
        assert array.flags.aligned == straight
