"""Ask a server with KServe's SDK over the Open Inference Protocol: kserve_client.py URL."""

import asyncio
import math
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from numpy.typing import NDArray

MODEL = "cross_entropy"
LOGITS = np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], dtype=np.float32)
TARGETS = np.array([0, 2], dtype=np.int64)
WEIGHT = np.array([1.0, 1.0, 2.0], dtype=np.float32)
EXPECTED = {"loss": [2.245197], "per_sample": [0.24131133, 2.0038857], "sum": [2.24519707262516], "weight": [3.0]}


def check(name: str, good: bool, said: object) -> None:
    """Print what the server said, and stop unless it is good."""
    print(f"{name}: {said}")
    if not good:
        sys.exit(f"{name} is wrong")


def tensor(name: str, datatype: str, array: NDArray[np.generic], *, binary: bool) -> InferInput:
    """An input with its data in the JSON document, or as bytes after it."""
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def request(*, binary: bool, targets: NDArray[np.int64] = TARGETS) -> InferRequest:
    """A batch with class weights, to be summed; what is answered has the form of what is sent."""
    inputs = [
        tensor("logits", "FP32", LOGITS, binary=binary),
        tensor("targets", "INT64", targets, binary=binary),
        tensor("weight", "FP32", WEIGHT, binary=binary),
    ]
    parameters = {"reduction": "sum", "binary_data_output": binary}
    return InferRequest(MODEL, inputs, request_id="batch-1", parameters=parameters)


def check_outputs(form: str, response: InferResponse) -> None:
    """Every output that is expected has its numbers."""
    found = {output.name: output.as_numpy().tolist() for output in response.outputs}
    good = all(
        math.isclose(mine, other, rel_tol=1e-6)
        for name, numbers in EXPECTED.items()
        for mine, other in zip(found[name], numbers, strict=True)
    )
    check(f"infer, {form}", good and response.id == "batch-1", found)


async def columns(client: InferenceRESTClient, url: str) -> None:
    """What a report says of each sample, integers among them."""
    inputs = [tensor("logits", "FP32", LOGITS, binary=True), tensor("targets", "INT64", TARGETS, binary=True)]
    made = InferRequest("multiclass", inputs, parameters={"binary_data_output": True})
    found = await client.infer(url, made, model_name="multiclass")
    predicted = {output.name: output.as_numpy().tolist() for output in found.outputs}["predicted"]
    check("columns of a report", predicted == [0, 2], predicted)


async def ask(client: InferenceRESTClient, url: str) -> None:
    """Health, both forms of a batch, two refusals, and the columns of a report."""
    check("server live", await client.is_server_live(url) is True, True)
    check("server ready", await client.is_server_ready(url) is True, True)
    check("model ready", await client.is_model_ready(url, MODEL) is True, True)
    check("other model not ready", await client.is_model_ready(url, "nothing") is False, True)
    for form in ("JSON", "binary"):
        check_outputs(form, await client.infer(url, request(binary=form == "binary"), model_name=MODEL))
        try:
            await client.infer(url, request(binary=form == "binary", targets=TARGETS + 7), model_name=MODEL)
        except httpx.HTTPStatusError as error:
            said = str(error).partition(",")[0]
            check(f"refused, {form}", error.response.status_code == 400 and said.startswith("targets[0] is 7"), said)
        else:
            sys.exit("a class that is not there was answered")
    await columns(client, url)


async def main() -> None:
    """Ask the server at the address that the command line names."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        await ask(client, sys.argv[1])


if __name__ == "__main__":
    asyncio.run(main())
