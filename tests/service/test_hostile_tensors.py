"""Tensors that lie of their size, shape or type, in each form that carries bytes; and files that are no tensors."""

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.bodies import BINARY, INFER, LENGTH
from tests.service.carriers import Body
from tests.service.conftest import JSON, LOSS
from tests.service.hostile import refusal

TARGETS = np.array([0, 1]).tobytes()
Make = Callable[[str, Any, bytes], Body]
NAMES = {  # of the forms: those of base64, safetensors, the Open Inference Protocol
    "float16": ("float16", "F16", "FP16"),
    "float32": ("float32", "F32", "FP32"),
    "float64": ("float64", "F64", "FP64"),
    "bfloat16": ("bfloat16", "BF16", "BF16"),
    "int64": ("int64", "I64", "INT64"),
}


def names(dtype: str) -> tuple[str, str, str]:
    return NAMES.get(dtype, (dtype, dtype, dtype))


def base64_body(dtype: str, shape: Any, content: bytes) -> Body:
    logits = {"dtype": names(dtype)[0], "shape": shape, "b64": base64.b64encode(content).decode()}
    return Body(LOSS, json.dumps({"logits": logits, "targets": [0, 1]}).encode(), JSON)


def safetensors_body(dtype: str, shape: Any, content: bytes) -> Body:
    end = len(content)
    header = {
        "logits": {"dtype": names(dtype)[1], "shape": shape, "data_offsets": [0, end]},
        "targets": {"dtype": "I64", "shape": [2], "data_offsets": [end, end + len(TARGETS)]},
    }
    text = json.dumps(header).encode()
    return Body(LOSS, len(text).to_bytes(8, "little") + text + content + TARGETS, BINARY)


def inference_body(dtype: str, shape: Any, content: bytes) -> Body:
    sizes = {"parameters": {"binary_data_size": len(content)}}, {"parameters": {"binary_data_size": len(TARGETS)}}
    logits = {"name": "logits", "datatype": names(dtype)[2], "shape": shape, **sizes[0]}
    targets = {"name": "targets", "datatype": "INT64", "shape": [2], **sizes[1]}
    text = json.dumps({"inputs": [logits, targets]}).encode()
    return Body(INFER, text + content + TARGETS, {LENGTH: str(len(text))})


@pytest.fixture(params=[base64_body, safetensors_body, inference_body], ids=["base64", "safetensors", "oip"])
def make(request: pytest.FixtureRequest) -> Make:
    """Each form that carries bytes: a request with these logits."""
    found: Make = request.param
    return found


def refused(client: TestClient, body: Body) -> tuple[int, str]:
    """The status, as it is on /v1, and the reason; 400 and 422 are one on /v2."""
    status, detail = refusal(client, body.path, body.content, body.headers)
    return status, detail


def test_a_tensor_that_tells_the_truth_is_answered(client: TestClient, make: Make) -> None:
    body = make("float32", [2, 3], bytes(24))
    assert client.post(body.path, content=body.content, headers=body.headers).status_code == 200


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        pytest.param("float32", 23, id="a byte too few"),
        pytest.param("float32", 25, id="a byte too many"),
        pytest.param("float32", 0, id="none at all"),
        pytest.param("float32", 20, id="an element too few"),
        pytest.param("float32", 28, id="an element too many"),
        pytest.param("float32", 48, id="64 bits called 32"),
        pytest.param("float64", 24, id="32 bits called 64"),
        pytest.param("float32", 12, id="16 bits called 32"),
        pytest.param("float16", 24, id="32 bits called 16"),
        pytest.param("bfloat16", 24, id="32 bits called bfloat16"),
    ],
)
def test_a_wrong_number_of_bytes_is_malformed_and_both_are_named(
    client: TestClient, make: Make, dtype: str, size: int
) -> None:
    wanted = 6 * {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}[dtype]
    status, detail = refused(client, make(dtype, [2, 3], bytes(size)))
    assert (status, detail) == (400, f"logits has {size} bytes, but {dtype} of shape (2, 3) takes {wanted}")


SHAPES = [
    *([2**40, 2**40], [2**32, 2**32], [16, 2**60 + 2], [2**63 - 1] * 32, [2**62, 2**62, 4], [2**48, 2, 1]),
    *([-1, 3], [2, -5], [-1], [-2, -3], [2**64, 0], [0, 2**63], [True, 6], [2.0, 3], ["2", 3], [None], [[2, 3]]),
    *([1] * 33, [1] * 65, [1] * 100_000, 6, "2,3", None, {"0": 2}),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:30])
@pytest.mark.parametrize("size", [0, 24])
def test_a_shape_that_no_array_has_is_refused_before_anything_is_made(
    client: TestClient, make: Make, shape: Any, size: int
) -> None:
    status, detail = refused(client, make("float32", shape, bytes(size)))
    assert status in (400, 422)
    assert "logits.shape" in detail


@pytest.mark.parametrize("shape", [[0], [0, 3], [2, 0], [0, 0]])
def test_a_shape_with_a_zero_has_no_bytes(client: TestClient, make: Make, shape: list[int]) -> None:
    assert refused(client, make("float32", shape, bytes(24)))[0] == 400
    status, detail = refused(client, make("float32", shape, b""))  # two targets, which is another thing that is wrong
    assert (status in (400, 422), "targets" in detail) == (True, True)


@pytest.mark.parametrize(
    "dtype",
    [
        *(
            "O",
            "object",
            "V0",
            "V8",
            "S2000000000",
            "U1",
            "f8,f8",
            "(1000000,)f8",
            "f8," * 100_000,
            ">f4",
            "<f4",
            "=f4",
        ),
        *("float", "complex64", "float128", "datetime64[s]", "void", "BYTES", "STRING", "F8_E4M3", "F4", "C64", "str"),
        *("__class__", "numpy.float32", "float32\0", " float32", "f4", "", "é", "x" * 10_000),
    ],
    ids=lambda dtype: dtype[:20],
)
def test_a_dtype_is_looked_up_and_never_given_to_numpy(client: TestClient, make: Make, dtype: str) -> None:
    status, detail = refused(client, make(dtype, [2, 3], bytes(24)))
    assert status in (400, 422)
    assert "logits" in detail
    assert "must be one of" in detail
    assert len(detail) < 400


@pytest.mark.parametrize("target", [-1, -100, 3, 2**62, -(2**63), 2**63 - 1])
def test_a_class_index_in_bytes_is_within_the_classes_or_ignored(client: TestClient, make: Make, target: int) -> None:
    good = make("float32", [2, 3], bytes(24))
    wrong = Body(good.path, good.content.replace(TARGETS, np.array([0, target]).tobytes()), good.headers)
    if make is base64_body:
        wrong = Body(good.path, good.content.replace(b"[0, 1]", b"[0, %d]" % target), good.headers)
    if target == -100:
        assert client.post(wrong.path, content=wrong.content, headers=wrong.headers).status_code == 200
        return
    status, detail = refused(client, wrong)
    assert status in (400, 422)
    assert detail.startswith(f"targets[1] is {target}, but must be a class index in [0, 3)")


class Harm:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was read",))


def files() -> dict[str, bytes]:
    """Files of arrays in forms that are not taken."""
    npy, npz, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, np.array([Harm()], object), allow_pickle=True)
    np.savez_compressed(npz, logits=np.zeros(10**6))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("data.pkl", pickle.dumps(Harm()))
    plain = io.BytesIO()
    np.save(plain, np.zeros((2, 3), np.float32))
    return {
        "pickle": pickle.dumps(Harm()),
        "old pickle": pickle.dumps(Harm(), protocol=0),
        "npy of objects": npy.getvalue(),
        "npy": plain.getvalue(),
        "npz that is a bomb": npz.getvalue(),
        "archive of a pickle": archive.getvalue(),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "Parquet": b"PAR1" + bytes(100) + b"PAR1",
        "protobuf": b"\x08\x01\x12\x04abcd",
    }


@pytest.mark.parametrize("name", files())
def test_a_file_of_another_form_is_never_read(client: TestClient, name: str) -> None:
    content = files()[name]
    for path, kind, wanted in (
        (LOSS, "application/octet-stream", 400),
        (LOSS, "application/x-safetensors", 400),
        (LOSS, "application/json", 400),
        (LOSS, "application/python-pickle", 415),
        (LOSS, "application/x-npy", 415),
        (INFER, "application/octet-stream", 400),
        (INFER, "application/json", 400),
        (INFER, "application/vnd.bentoml+pickle", 415),
        (INFER, "application/x-npy", 415),
    ):
        assert refusal(client, path, content, {"Content-Type": kind})[0] == wanted, (path, kind)
    assert refusal(client, INFER, content, {LENGTH: str(len(content))})[0] == 400
    text = json.dumps({"logits": {"dtype": "object", "shape": [1], "b64": base64.b64encode(content).decode()}})
    assert refusal(client, LOSS, text.encode())[0] == 422
