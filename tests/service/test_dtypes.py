"""What dtype a batch is computed in: b64 arrays keep theirs, lists follow, PyTorch's promotion decides."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from tests.service.bodies import INFER, INTEGERS
from tests.service.conftest import ask, b64, problem

LOGITS = np.array([[2.0, 0.5, -1.0], [0.125, 0.25, 0.375]])  # exact in every float type
TARGETS = np.array([0, 2])


def post(client: TestClient, logits: Any, targets: Any, **more: Any) -> dict[str, Any]:
    return ask(client, "cross_entropy", {"logits": logits, "targets": targets, **more})


def typed(array: NDArray[Any], dtype: str) -> dict[str, Any]:
    if dtype == "bfloat16":
        return b64(array.astype(ml_dtypes.bfloat16).view(np.uint16), "bfloat16")
    return b64(array.astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_halves_are_computed_in_float32(client: TestClient, dtype: str) -> None:
    assert post(client, typed(LOGITS, dtype), b64(TARGETS)) == post(client, LOGITS.tolist(), TARGETS.tolist())


@pytest.mark.parametrize("shape", [(4,), (2, 2), ()])
def test_bfloat16_bits_keep_their_value(client: TestClient, shape: tuple[int, ...]) -> None:
    array = np.resize([1.0078125, -3.3895313892515355e38, 9.183549615799121e-41, np.inf], shape)
    targets, widened = b64(np.ones(shape, np.float32)), b64(array.astype(ml_dtypes.bfloat16).astype(np.float32))
    found = ask(client, "kl_div", {"log_probabilities": typed(array, "bfloat16"), "targets": targets})
    assert found == ask(client, "kl_div", {"log_probabilities": widened, "targets": targets})
    assert found["dtype"] == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_an_array_without_axes_may_be_of_any_float_type(client: TestClient, dtype: str) -> None:
    found = ask(client, "kl_div", {"log_probabilities": typed(np.array(-2.5), dtype), "targets": 1})
    assert found["per_sample"] == 2.5


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_every_integer_type_is_a_class_index(client: TestClient, dtype: str) -> None:
    targets = np.array([0, 1])
    found = post(client, LOGITS.tolist(), b64(targets.astype(dtype)))
    assert found == post(client, LOGITS.tolist(), targets.tolist())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([True, "x"], 'targets[1] is "x"'),
        (["x", False], 'targets[0] is "x"'),
        ([True, None], "targets[1] is null"),
        ([True, 0.5], "targets[1] is 0.5"),
    ],
)
def test_a_value_that_is_no_bool_is_named(client: TestClient, data: list[Any], said: str) -> None:
    targets = {"name": "targets", "datatype": "BOOL", "shape": [2], "data": data}
    logits = {"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": LOGITS.tolist()}
    found = client.post(INFER, json={"inputs": [logits, targets]})
    assert found.status_code == 400
    assert said in found.json()["detail"]


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int8", "bool"])
def test_ignore_index_is_compared_by_value_whatever_the_targets_hold(client: TestClient, dtype: str) -> None:
    targets = b64(np.array([0, 1]).astype(dtype))
    assert post(client, LOGITS.tolist(), targets)["totals"]["ignored"] == 0  # -100 is 156 in uint8, and not meant
    assert post(client, LOGITS.tolist(), targets, ignore_index=1)["totals"]["ignored"] == 1


def test_targets_past_int64_are_refused_and_never_wrap(client: TestClient) -> None:
    for value in (2**64 - 100, 2**63, 2**64 - 1):
        body = {"logits": LOGITS.tolist(), "targets": b64(np.array([0, value], np.uint64))}
        found = problem(client.post("/v1/losses/cross_entropy", json=body), 422)
        assert str(value) in found["detail"]
        assert found["errors"][0]["pointer"] == "/targets/1"


def test_uint8_targets_of_156_are_no_ignored_samples(client: TestClient) -> None:
    body = {"logits": LOGITS.tolist(), "targets": b64(np.array([0, 156], np.uint8))}
    found = problem(client.post("/v1/losses/cross_entropy", json=body), 422)
    assert found["detail"] == "targets[1] is 156, but must be a class index in [0, 3) or ignore_index -100"


def test_dtype_is_what_lists_are_read_as(client: TestClient) -> None:
    for dtype in ("float32", "float64"):
        found = ask(client, "nll_loss", {"log_probabilities": [[-0.1]], "targets": [0]}, dtype=dtype)
        assert found["dtype"] == dtype
        assert found["totals"]["sum"] == float(np.dtype(dtype).type(0.1))


@pytest.mark.parametrize("asked", ["float32", "float64"])
@pytest.mark.parametrize("sent", ["float32", "float64"])
def test_a_typed_array_keeps_its_dtype_whatever_is_asked(client: TestClient, sent: str, asked: str) -> None:
    assert post(client, typed(LOGITS, sent), [0, 2], dtype=asked)["dtype"] == sent


def test_typed_integers_say_nothing_of_the_dtype_of_lists(client: TestClient) -> None:
    assert post(client, LOGITS.tolist(), b64(TARGETS), dtype="float64")["dtype"] == "float64"


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("float32", "float64", "float64"),
        ("float64", "float16", "float64"),
        ("float16", "float32", "float32"),
        ("bfloat16", "float16", "float32"),
        ("list", "float64", "float64"),
        ("float32", "list", "float32"),
    ],
)
def test_float_inputs_and_float_targets_are_promoted(client: TestClient, first: str, second: str, wanted: str) -> None:
    array = np.array([[0.25, 0.75]])
    logits, targets = (array.tolist() if name == "list" else typed(array, name) for name in (first, second))
    found = ask(client, "soft_cross_entropy", {"logits": logits, "targets": targets})
    assert found["dtype"] == wanted


def test_weights_follow_and_do_not_promote(client: TestClient) -> None:
    found = post(client, typed(LOGITS, "float32"), [0, 2], weight=b64(np.array([1.0, 2.0, 0.1])))
    assert found["dtype"] == "float32"
    assert found["totals"]["weight"] == 1.0 + float(np.float32(0.1))


def test_a_number_that_float32_cannot_hold_is_refused_and_float64_named(client: TestClient) -> None:
    body = {"logits": [[1, 2], [3, -1e39]], "targets": [0, 1]}
    found = problem(client.post("/v1/losses/cross_entropy", json=body), 422)
    assert found["errors"][0]["pointer"] == "/logits/1/1"
    assert "-1e+39" in found["detail"]
    assert "float64" in found["detail"]
    assert ask(client, "cross_entropy", body, dtype="float64")["per_sample"][1] == 1e39 + 3


def test_a_number_below_float32_is_zero_as_in_pytorch(client: TestClient) -> None:
    name = "binary_cross_entropy_with_logits"
    tiny, zero = ({"logits": value, "targets": 1} for value in (1e-60, 0.0))
    assert ask(client, name, tiny) == ask(client, name, zero)


@pytest.mark.parametrize(("field", "dtype"), [("logits", "int32"), ("logits", "bool"), ("targets", "float32")])
def test_arrays_of_the_wrong_kind_are_refused_by_name(client: TestClient, field: str, dtype: str) -> None:
    body = {
        "logits": LOGITS.tolist(),
        "targets": [0, 1],
        field: b64(np.zeros((2, 3) if field == "logits" else 2, dtype)),
    }
    found = problem(client.post("/v1/losses/cross_entropy", json=body), 422)
    assert found["errors"][0]["pointer"] == f"/{field}"
    assert found["detail"].startswith(f"{field} is an array of {dtype}, but must be")


def test_float_targets_of_class_indices_lead_to_soft_cross_entropy(client: TestClient) -> None:
    body = {"logits": LOGITS.tolist(), "targets": b64(LOGITS)}
    for targets in (b64(LOGITS), [[0, 0, 1], [1, 0, 0]], [[0.0, 0.5, 0.5], [1, 0, 0]]):
        body["targets"] = targets
        found = problem(client.post("/v1/losses/cross_entropy", json=body), 422)
        assert "soft_cross_entropy" in found["detail"]
