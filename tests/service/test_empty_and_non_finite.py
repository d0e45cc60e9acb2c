"""Empty batches and numbers that JSON has no words for, on the way in and out."""

import json
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.declare import Measure
from tests import inputs
from tests.service.conftest import JSON, ask, b64, problem, zeros

EMPTY_TOTALS = {"sum": 0.0, "weight": 0.0, "count": 0, "ignored": 0}


@pytest.mark.parametrize(("reduction", "loss"), [("mean", "NaN"), ("sum", 0.0), ("none", None)])
def test_an_empty_batch_is_answered_by_every_measure(
    client: TestClient, measure: Measure, reduction: str, loss: Any
) -> None:
    fields = inputs.request(measure, np.random.default_rng(0), samples=0, classes=3, optional=False)
    found = ask(client, measure.name, {name: b64(a) for name, a in fields.items()}, reduction=reduction)
    assert found["loss"] == loss
    assert found["per_sample"] == []
    assert found["totals"].items() >= EMPTY_TOTALS.items()


def test_an_empty_list_has_no_class_axis_and_is_refused_with_advice(client: TestClient, measure: Measure) -> None:
    main, second = measure.tensors[0].name, measure.tensors[1].name
    response = client.post(f"/v1/losses/{measure.name}", json={main: [], second: []})
    if not measure.over_classes:
        assert response.json()["per_sample"] == []
        assert response.json()["totals"] == EMPTY_TOTALS
        return
    found = problem(response, 422)
    assert found["errors"][0]["pointer"] == f"/{main}"
    assert "base64" in found["detail"]


def test_empty_lists_keep_the_axes_that_they_say(client: TestClient) -> None:
    values: list[Any] = [[[]], [[], []], [[[]], [[]]]]
    for value in values:
        found = ask(client, "binary_cross_entropy", {"probabilities": value, "targets": value})
        assert found["per_sample"] == value


def test_an_empty_axis_in_the_middle_is_answered_in_its_shape(client: TestClient) -> None:
    empty = zeros(2, 0, 3)
    assert ask(client, "binary_cross_entropy", {"probabilities": empty, "targets": empty})["per_sample"] == [[], []]


def test_mean_of_nothing_but_ignored_samples_is_nan(client: TestClient) -> None:
    found = ask(client, "cross_entropy", {"logits": [[0, 1]], "targets": [-100]})
    assert found["loss"] == "NaN"
    assert found["totals"] == {"sum": 0.0, "weight": 0.0, "count": 0, "ignored": 1}


def test_mean_under_label_smoothing_is_nan_where_the_weights_add_up_to_nothing(client: TestClient) -> None:
    fields = {"logits": [[0, 1]], "targets": [0], "weight": [0, 5]}
    assert ask(client, "cross_entropy", fields, label_smoothing=0.5)["loss"] == "NaN"
    assert ask(client, "cross_entropy", fields)["loss"] == "NaN"


def test_words_for_non_finite_numbers_are_read_where_they_stand(client: TestClient) -> None:
    fields = {"log_probabilities": ["NaN", "-Infinity", "Infinity", -2.5, 0], "targets": [1, 1, 1, 1, 0]}
    found = ask(client, "kl_div", fields)
    assert found["per_sample"] == ["NaN", "Infinity", "-Infinity", 2.5, 0]
    assert found["loss"] == "NaN"
    assert found["totals"]["sum"] == "NaN"


def test_words_are_read_in_each_array_of_a_request(client: TestClient) -> None:
    fields = {"log_probabilities": ["NaN", -1, -1], "targets": [1, "NaN", 1]}
    assert ask(client, "kl_div", fields)["per_sample"] == ["NaN", "NaN", 1]


def test_a_word_may_be_spelt_with_json_escapes(client: TestClient) -> None:
    body = '{"logits": ["\\u004eaN", "Infin\\u0069ty", 0], "targets": [0, 0, 0]}'
    response = client.post("/v1/losses/binary_cross_entropy_with_logits", content=body, headers=JSON)
    assert response.status_code == 200, response.text
    assert response.json()["per_sample"][:2] == ["NaN", "Infinity"]


def test_a_scalar_may_be_a_word(client: TestClient) -> None:
    for word in ("NaN", "Infinity"):
        found = ask(client, "binary_cross_entropy_with_logits", {"logits": word, "targets": 0})
        assert found["per_sample"] == word


def test_infinite_losses_are_words(client: TestClient) -> None:
    found = ask(client, "nll_loss", {"log_probabilities": [["-Infinity", 0], ["Infinity", 0]], "targets": [0, 0]})
    assert found["per_sample"] == ["Infinity", "-Infinity"]
    assert found["loss"] == "NaN"


def test_every_number_of_an_answer_may_be_a_word(client: TestClient) -> None:
    found = ask(client, "distribution_cross_entropy", {"p": [[0.5, 0.5]], "q": [[1, 0]]})
    assert found["loss"] == found["reduced"]["kl_divergence"] == "Infinity"
    assert found["per_sample"] == found["kl_divergence"] == ["Infinity"]
    assert found["totals"]["sum"] == found["totals"]["sum_kl_divergence"] == "Infinity"


def test_reduction_none_is_the_only_null(client: TestClient) -> None:
    fields = {"logits": [["NaN", 0]], "targets": [0]}
    assert ask(client, "cross_entropy", fields, reduction="none")["loss"] is None
    assert ask(client, "cross_entropy", fields)["loss"] == "NaN"


def test_answers_are_json_of_the_strict_kind(client: TestClient) -> None:
    values = ["NaN", "Infinity", "-Infinity", 1e-45, 3.4e38]
    body = {"logits": [values], "targets": [[0] * 5]}
    text = client.post("/v1/losses/binary_cross_entropy_with_logits", json=body).text

    def never(word: str) -> None:
        raise AssertionError(word)

    json.loads(text, parse_constant=never)
    assert "null" not in text


@pytest.mark.parametrize("word", ["nan", "NAN", "inf", "+Infinity", "-NaN", " NaN", "Inf", "1", ""])
def test_no_other_word_is_a_number(client: TestClient, word: str) -> None:
    found = problem(client.post("/v1/losses/nll_loss", json={"log_probabilities": [[0, word]], "targets": [0]}), 422)
    assert found["errors"][0]["pointer"] == "/log_probabilities/0/1"
    assert json.dumps(word) in found["detail"]


def test_words_elsewhere_in_the_body_stay_words(client: TestClient) -> None:
    body = {"logits": [["NaN", 1]], "targets": [0], "reduction": "NaN"}
    found = problem(client.post("/v1/losses/cross_entropy", json=body), 422)
    assert found["detail"].startswith('reduction is "NaN"')
    body = {"logits": [["NaN", 1]], "targets": [0], "NaN": "Infinity"}
    assert problem(client.post("/v1/losses/cross_entropy", json=body), 422)["errors"][0]["pointer"] == "/NaN"


def test_non_finite_where_a_rule_forbids_it_is_refused_by_name(client: TestClient) -> None:
    for name, fields in (
        ("binary_cross_entropy", {"probabilities": [0, "NaN"], "targets": [0, 0]}),
        ("binary_cross_entropy", {"probabilities": [0, "Infinity"], "targets": [0, 0]}),
        ("distribution_cross_entropy", {"p": [1, "NaN"], "q": [1, 0]}),
        ("distribution_cross_entropy", {"p": ["Infinity", "Infinity"], "q": [1, 0], "normalize": True}),
    ):
        problem(client.post(f"/v1/losses/{name}", json=fields), 422)
