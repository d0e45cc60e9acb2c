"""Triton's asyncio client, as it is installed, against the real server.

It asks for compression everywhere and can read it nowhere but in the answers of `infer`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
import pytest
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from core.declare import Measure
from core.engine import Engine
from core.measures import MEASURES
from core.reports.tasks import TASKS
from tests.service.bodies import BATCH, LOGITS, TARGETS
from tests.service.triton.refusals import NOT_THERE, REFUSALS, Refusal, refused
from tests.service.triton.requests import (
    a_hundred_megabytes,
    asked,
    check,
    computed,
    every_form_and_coding,
    random_fields,
    tensors,
)

Found = TypeVar("Found")


def talk(address: str, ask: Callable[[Any], Awaitable[Found]]) -> Found:
    """What `ask` returns, given a client of the server."""

    async def session() -> Found:
        async with InferenceServerClient(address) as triton:
            return await ask(triton)

    return asyncio.run(session())


def test_every_form_and_coding_has_the_bits_of_the_core(address: str, engine: Engine, measure: Measure) -> None:
    fields = random_fields(measure)
    wanted = computed(engine, measure.name, fields)

    async def ask(triton: Any) -> None:
        for arguments, binary in every_form_and_coding(fields, wanted):
            check(await triton.infer(measure.name, **arguments), wanted, binary=binary)

    talk(address, ask)


def test_metadata_is_never_compressed(address: str) -> None:
    async def ask(triton: Any) -> list[Any]:
        return [
            await triton.get_server_metadata(),
            await triton.get_model_metadata("cross_entropy"),
            await triton.get_model_metadata("cross_entropy", "1"),
            await triton.get_model_config("cross_entropy"),
            await triton.get_inference_statistics(),
            await triton.get_model_repository_index(),
        ]

    server, metadata, same, config, statistics, index = talk(address, ask)
    assert server["name"] == "lossmeter"
    assert len(json.dumps(metadata)) > 500
    assert metadata == same
    assert [entry["name"] for entry in metadata["inputs"]] == ["logits", "targets", "weight"]
    assert {entry["name"]: entry["optional"] for entry in config["input"]} == {
        "logits": False,
        "targets": False,
        "weight": True,
    }
    assert config["max_batch_size"] == 0
    assert [entry["name"] for entry in statistics["model_stats"]] == [*MEASURES, *TASKS]
    assert index == [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in [*MEASURES, *TASKS]]


def test_live_and_ready(address: str) -> None:
    async def ask(triton: Any) -> list[bool]:
        return [
            await triton.is_server_live(),
            await triton.is_server_ready(),
            await triton.is_model_ready("kl_div"),
            await triton.is_model_ready("kl_div", "1"),
            await triton.is_model_ready("kl_div", "2"),
            await triton.is_model_ready("no_such_loss"),
        ]

    assert talk(address, ask) == [True, True, True, True, False, False]


def test_statistics_grow_by_what_was_asked(address: str) -> None:
    async def ask(triton: Any) -> None:
        (before,) = (await triton.get_inference_statistics("cross_entropy"))["model_stats"]
        await triton.infer("cross_entropy", tensors(BATCH), model_version="1")
        (after,) = (await triton.get_inference_statistics("cross_entropy", "1"))["model_stats"]
        assert after["inference_count"] == before["inference_count"] + 2
        assert after["execution_count"] == before["execution_count"] + 1

    talk(address, ask)


def test_float_types_integers_and_parameters(address: str, engine: Engine) -> None:
    floats: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]

    async def ask(triton: Any) -> None:
        for kind, index in product(floats, ("int8", "uint64", "bool")):
            fields: Any = {"logits": LOGITS.astype(kind), "targets": np.array([0, 1]).astype(index)}
            for parameters in ({}, {"reduction": "none"}, {"label_smoothing": 0.25, "ignore_index": 1}):
                wanted = computed(engine, "cross_entropy", fields | parameters)
                check(await triton.infer("cross_entropy", tensors(fields), parameters=parameters), wanted)

    talk(address, ask)


def test_empty_unbatched_and_non_finite(address: str, engine: Engine) -> None:
    batches: list[Any] = [
        {"logits": LOGITS[:0], "targets": TARGETS[:0]},
        {"logits": LOGITS[1], "targets": np.array(2)},
        {"logits": np.array([[np.nan, 1, 2], [-np.inf, 0, np.inf], [0, -np.inf, 1]]), "targets": np.array([0, 1, 1])},
    ]

    async def ask(triton: Any) -> None:
        for fields, sent, back in product(batches, (True, False), (True, False)):
            wanted = computed(engine, "cross_entropy", fields)
            made = tensors(fields, binary=sent)
            answer = await triton.infer("cross_entropy", made, outputs=asked(wanted, binary=back))
            check(answer, wanted, binary=back)

    talk(address, ask)


# aiohttp warns that sending much at once holds up the event loop; that is how Triton's client sends.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_a_hundred_megabytes_are_answered(address: str, engine: Engine) -> None:
    fields = a_hundred_megabytes()

    async def ask(triton: Any) -> Any:
        return await triton.infer("cross_entropy", tensors(fields))

    check(talk(address, ask), computed(engine, "cross_entropy", fields))


def test_clients_with_the_same_id_at_the_same_time_get_their_own_answers(address: str, engine: Engine) -> None:
    batches = [{"logits": LOGITS * factor, "targets": TARGETS} for factor in range(40)]

    async def ask(first: Any) -> list[Any]:
        async with InferenceServerClient(address) as other:
            clients = (first, other)
            asking = [
                clients[place % 2].infer("cross_entropy", tensors(fields), request_id="same")
                for place, fields in enumerate(batches)
            ]
            return await asyncio.gather(*asking)

    for fields, answer in zip(batches, talk(address, ask), strict=True):
        check(answer, computed(engine, "cross_entropy", fields))
        assert answer.get_response()["id"] == "same"


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_reads_as_its_reason(address: str, refusal: Refusal) -> None:
    async def ask(triton: Any) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as caught:
            await triton.infer(**refusal.arguments)
        return caught.value

    error = talk(address, ask)
    assert (error.message(), error.status()) == (refusal.reason(address), str(refusal.status))


@pytest.mark.parametrize(("method", "arguments", "status", "request_", "says"), NOT_THERE)
def test_what_is_not_there_reads_as_its_reason(
    address: str, method: str, arguments: list[str], status: int, request_: str, says: str
) -> None:
    async def ask(triton: Any) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as caught:
            await getattr(triton, method)(*arguments)
        return caught.value

    error = talk(address, ask)
    assert (error.message(), error.status()) == (refused(address, status, says, *request_.split()), str(status))
