"""Every form and coding of a request and an answer, through Triton's Python client as it is installed."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from core.declare import Measure
from core.engine import Engine
from core.measures import find
from tests.service.bodies import BATCH, INFER, LENGTH, LOGITS, TARGETS
from tests.service.triton.requests import (
    a_hundred_megabytes,
    asked,
    by_hand,
    check,
    computed,
    document,
    every_form_and_coding,
    exchange,
    random_fields,
    tensor,
    tensors,
)


def test_every_form_and_coding_has_the_bits_of_the_core(triton: Any, engine: Engine, measure: Measure) -> None:
    fields = random_fields(measure)
    wanted = computed(engine, measure.name, fields)
    for arguments, binary in every_form_and_coding(fields, wanted):
        answer = triton.infer(measure.name, **arguments)
        check(answer, wanted, binary=binary)
        assert answer.get_response()["model_name"] == measure.name
        assert answer.get_response()["model_version"] == "1"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_answer_is_compressed_for_a_client_that_names_one_coding(
    address: str, engine: Engine, coding: str, binary: bool
) -> None:
    body, length = InferenceServerClient.generate_request_body(
        tensors(BATCH), outputs=asked({"loss": 0, "per_sample": 0}, binary=binary)
    )
    found = {}
    for accepted in (coding, "identity", "gzip, deflate, br"):
        headers = {LENGTH: str(length), "Accept-Encoding": accepted}
        status, answered, content = exchange(address, "POST", INFER, body, headers)
        assert status == 200
        assert answered["Content-Encoding"] == (coding if accepted == coding else None)
        assert answered["Content-Type"] == ("application/octet-stream" if binary else "application/json")
        assert int(answered["Content-Length"]) == len(content)
        assert (answered[LENGTH] is not None) is binary
        size = None if answered[LENGTH] is None else int(answered[LENGTH])
        found[accepted] = InferenceServerClient.parse_response_body(
            content, header_length=size, content_encoding=answered["Content-Encoding"]
        )
    wanted = computed(engine, "cross_entropy", BATCH)
    for result in found.values():
        check(result, {name: wanted[name] for name in ("loss", "per_sample")}, binary=binary)


@pytest.mark.parametrize("version", ["", "1"])
def test_a_model_answers_under_its_version_and_without(triton: Any, engine: Engine, version: str) -> None:
    wanted = computed(engine, "cross_entropy", BATCH)
    good = tensors(BATCH)
    check(triton.infer("cross_entropy", good, model_version=version), wanted)
    assert triton.is_model_ready("cross_entropy", version)
    assert triton.get_model_metadata("cross_entropy", version)["versions"] == ["1"]
    assert triton.get_model_config("cross_entropy", version)["name"] == "cross_entropy"
    assert triton.get_inference_statistics("cross_entropy", version)["model_stats"][0]["version"] == "1"


@pytest.mark.parametrize("sent", ["42", "a b", 'naïve "☃"\\', '"NaN", NaN: [Infinity]', "x" * 1000])
def test_the_id_of_a_request_is_echoed(triton: Any, sent: str) -> None:
    for odd in (1.0, np.nan):
        made = tensors(BATCH | {"logits": LOGITS * np.float32(odd)}, binary=False)
        answer = triton.infer("cross_entropy", made, request_id=sent)
        assert answer.get_response()["id"] == sent
        assert np.isnan(answer.as_numpy("loss")) == np.isnan(odd)


def test_an_answer_has_no_id_where_there_was_none(triton: Any) -> None:
    assert "id" not in triton.infer("cross_entropy", tensors(BATCH)).get_response()


def test_an_empty_id_and_the_length_of_a_body_that_is_all_json_are_taken(address: str) -> None:
    body, length = InferenceServerClient.generate_request_body(
        tensors(BATCH, binary=False), outputs=asked({"count": 0}, binary=False)
    )
    assert length is None
    body = body.replace(b"{", b'{"id": "", "model_name": "ignored", ', 1)
    status, headers, content = exchange(address, "POST", INFER, body, {LENGTH: str(len(body))})
    assert (status, headers[LENGTH]) == (200, None)
    assert document(content) == {
        "model_name": "cross_entropy",
        "model_version": "1",
        "id": "",
        "outputs": [{"name": "count", "shape": [1], "datatype": "INT64", "data": [2]}],
    }


@pytest.mark.parametrize("flipped", [True, False])
def test_forms_may_be_mixed_and_outputs_come_in_the_order_asked(triton: Any, engine: Engine, flipped: bool) -> None:
    fields = random_fields(find("distribution_cross_entropy"))
    wanted = computed(engine, "distribution_cross_entropy", fields)
    backwards = dict(reversed(wanted.items()))
    form = {name: (place % 2 == 0) is flipped for place, name in enumerate(backwards)}
    outputs = [InferRequestedOutput(name, binary_data=binary) for name, binary in form.items()]
    made = [tensor("q", fields["q"], binary=flipped), tensor("p", fields["p"], binary=not flipped)]
    check(triton.infer("distribution_cross_entropy", made, outputs=outputs), backwards, binary=form)


def test_an_output_says_its_form_or_takes_that_of_the_request(address: str) -> None:
    outputs, tail = by_hand(
        address,
        "cross_entropy",
        {"logits": ("FP32", LOGITS.tolist()), "targets": ("INT64", TARGETS.tolist())},
        outputs=[{"name": "count"}, {"name": "ignored", "parameters": {"binary_data": False}}],
        parameters={"binary_data_output": True},
    )
    assert outputs == [
        {"name": "count", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "ignored", "shape": [1], "datatype": "INT64", "data": [0]},
    ]
    assert tail == (2).to_bytes(8, "little")


def test_reduced_outputs_are_those_of_the_parts(triton: Any) -> None:
    fields = random_fields(find("distribution_cross_entropy"), dtype="float64")
    for reduction, reduce in (("mean", np.mean), ("sum", np.sum)):
        answer = triton.infer("distribution_cross_entropy", tensors(fields), parameters={"reduction": reduction})
        for name in ("entropy", "kl_divergence"):
            want = reduce(answer.as_numpy(name))
            assert answer.as_numpy(f"reduced_{name}") == pytest.approx([want], rel=1e-14)
            assert answer.as_numpy(f"sum_{name}") == pytest.approx([answer.as_numpy(name).sum()], rel=1e-14)
        loss = answer.as_numpy("reduced_entropy") + answer.as_numpy("reduced_kl_divergence")
        assert answer.as_numpy("loss") == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize("name", ["loss", "reduced_entropy", "reduced_kl_divergence"])
def test_nothing_reduced_is_there_without_a_reduction(triton: Any, name: str) -> None:
    made, none = tensors(random_fields(find("distribution_cross_entropy"))), {"reduction": "none"}
    answer = triton.infer("distribution_cross_entropy", made, parameters=none)
    assert answer.get_output(name) is None
    with pytest.raises(InferenceServerException, match=f"{name} is not there under reduction"):
        triton.infer("distribution_cross_entropy", made, outputs=asked({name: 0}), parameters=none)


@pytest.mark.parametrize(
    "more",
    [
        {"priority": 1},
        {"timeout": 10_000_000},
        {"timeout": 0},
        {"sequence_id": 7, "sequence_start": True, "sequence_end": True},
        {"sequence_id": "seven"},
    ],
)
def test_what_the_protocol_reserves_is_accepted(triton: Any, engine: Engine, more: dict[str, Any]) -> None:
    parameters: Any = {"reduction": "sum"}
    answer = triton.infer("cross_entropy", tensors(BATCH), parameters=parameters, **more)
    check(answer, computed(engine, "cross_entropy", BATCH | parameters))


def test_a_hundred_megabytes_are_answered(triton: Any, engine: Engine) -> None:
    fields = a_hundred_megabytes()
    check(triton.infer("cross_entropy", tensors(fields)), computed(engine, "cross_entropy", fields))


def test_clients_with_the_same_id_at_the_same_time_get_their_own_answers(address: str, engine: Engine) -> None:
    start = Barrier(2)

    def ask(factors: range) -> list[Any]:
        made = [tensors(BATCH | {"logits": LOGITS * np.float32(factor)}) for factor in factors]
        with InferenceServerClient(address) as triton:
            start.wait(timeout=10)
            return [triton.infer("cross_entropy", each, request_id="same") for each in made]

    halves = range(20), range(20, 40)
    with ThreadPoolExecutor(2) as clients:
        answers = chain(*clients.map(ask, halves))
    for factor, answer in zip(chain(*halves), answers, strict=True):
        check(answer, computed(engine, "cross_entropy", BATCH | {"logits": LOGITS * np.float32(factor)}))
        assert answer.get_response()["id"] == "same"
