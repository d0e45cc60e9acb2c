"""What of the bytes is no JSON document of a request: 400; and what of its members is of the wrong type: 422."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from core.measures import find
from service.problems import Problem
from service.wire.json import decode
from tests.service.conftest import GOOD, JSON, refuse

TEXT = GOOD.decode()
MEASURE = find("cross_entropy")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"{",
        b'{"logits": [[1, 2]], "targets": [0]',
        b'{"logits": [[1, 2], "targets": [0]}',
        b"{'logits': [[1, 2]], 'targets': [0]}",
        b'{"logits": [[1, 2],], "targets": [0]}',
        b'{"logits": [[01, 2]], "targets": [0]}',
        b'{"logits": [[1., 2]], "targets": [0]}',
        b'{"logits": [[.5, 2]], "targets": [0]}',
        b'{"logits": [[+1, 2]], "targets": [0]}',
        b'{"logits": [[0x1, 2]], "targets": [0]}',
        b'{"logits": [[1e999, 2]], "targets": [0]}',
        b'{"logits": [[1, 2]], "targets": [0]} x',
        b'{"logits": [[1, 2]], "targets": [0]}\0',
        b'{"logits": [[1, 2]], "targets": [0]}}',
        b'{"logits": [[1, 2]], "targets": [0]} {}',
        b'{"logits": [[1, 2]], "targets": [0]} // note',
        b'{"logits": [[1, 2]], "targets": [0], "x": "\xff"}',
        b'{"logits": [[1, 2]], "targets": [0], "\xc3": 1}',
        b'{"logits": [[1, 2]], "targets": [0], "x": "\xed\xa0\x80"}',
        b'{"logits": [[1, 2]], "targets": [0], "x": "\\ud800"}',
        b'{"logits": [[1, 2]], "targets": [0], "x": "\\q"}',
        b'{"logits": [[1, 2]], "targets": [0], "x": "a\nb"}',
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-32"),
        b"\xef\xbb\xbf" + GOOD,
        b"\x80\x04\x95pickle",
        b"[" * 100_000,
        b'{"logits": ' + b"[" * 100_000,
        b'{"logits": ' + b"[" * 100_000 + b"]" * 100_000 + b', "targets": 0}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_what_is_not_json_is_malformed(client: TestClient, body: bytes) -> None:
    assert "errors" not in refuse(client, body, 400)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ['"logits": [[{}, 1]]', '"logits": {}', '"logits": [[1, {}]]', '"weight":{}'])
def test_a_bare_non_finite_number_is_malformed_and_the_string_advised(
    client: TestClient, word: str, place: str
) -> None:
    found = refuse(client, f'{{{place.format(word)}, "targets": [0]}}', 400)
    assert '"NaN"' in found["detail"]


def test_a_long_body_that_is_not_json_is_refused_in_few_words(client: TestClient) -> None:
    found = refuse(client, b'{"logits": [' + b"1," * 2**20 + b"], }", 400)
    assert len(found["detail"]) < 300


def test_the_advice_on_bare_words_is_kept_for_bare_words(client: TestClient) -> None:
    found = refuse(client, '{"note": "no NaN, please", "logits": [1,}', 400)
    assert '"Infinity"' not in found["detail"]


@pytest.mark.parametrize(
    "body",
    [
        '{"logits": [[1, 2]], "targets": [0], "targets": [1]}',
        '{"logits": [[1, 2]], "targets": [0], "t\\u0061rgets": [1]}',
        '{"logits": [[1, 2]], "targets": [0], "reduction": "sum", "reduction": "sum"}',
        '{"logits": [[1, 2]], "targets": [0], "unknown": 1, "unknown": 2}',
        '{"logits": {"dtype": "float32", "shape": [1], "shape": [1], "b64": "AAAAAA=="}, "targets": 0}',
    ],
)
def test_duplicate_keys_are_malformed_and_named(client: TestClient, body: str) -> None:
    assert "more than once" in refuse(client, body, 400)["detail"]


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null", "true", "[{}]"])
def test_a_document_that_is_no_object_is_invalid_as_a_whole(client: TestClient, body: str) -> None:
    found = refuse(client, body, 422)
    assert found["errors"] == [{"pointer": "", "detail": found["detail"]}]
    assert "object" in found["detail"]


def test_every_missing_field_is_named(client: TestClient) -> None:
    assert [error["pointer"] for error in refuse(client, "{}", 422)["errors"]] == ["/logits", "/targets"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("reduction", '["mean"]', "reduction is an array, but must be one of"),
        ("reduction", "{}", "reduction is an object, but must be one of"),
        ("reduction", "null", "reduction is null, but"),
        ("reduction", '"MEAN"', 'reduction is "MEAN", but'),
        ("reduction", "1", "reduction is 1, but"),
        ("per_sample", "1", "per_sample is 1, but must be true or false"),
        ("per_sample", '"false"', 'per_sample is "false", but'),
        ("dtype", '"float16"', 'dtype is "float16", but'),
        ("dtype", "[[1]]", "dtype is an array, but"),
        ("label_smoothing", "[0.1]", "label_smoothing is an array, but"),
        ("label_smoothing", '{"dtype": "float32", "shape": [], "b64": ""}', "label_smoothing is an object, but"),
        ("label_smoothing", '"0.1"', 'label_smoothing is "0.1", but'),
        ("label_smoothing", '"NaN"', 'label_smoothing is "NaN", but'),
        ("label_smoothing", "true", "label_smoothing is true, but"),
        ("label_smoothing", "1.5", "label_smoothing is 1.5, but"),
        ("label_smoothing", "-1e-9", "label_smoothing is -1e-09, but"),
        ("ignore_index", "1.0", "ignore_index is 1.0, but must be a 64-bit integer"),
        ("ignore_index", "9223372036854775808", "ignore_index is 9223372036854775808, but"),
        ("ignore_index", "-9223372036854775809", "ignore_index is -9"),
        ("ignore_index", "false", "ignore_index is false, but"),
        ("class_axis", "2", "class_axis is 2, but"),
        ("class_axis", "-3", "class_axis is -3, but"),
        ("class_axis", "1.0", "class_axis is 1.0, but"),
        ("class_axis", "99999999999999999999", "class_axis is "),
        ("weight", "null", "weight is null, but"),
        ("weight", "true", "weight is true, but"),
        ("weight", '"x"', 'weight is "x", but'),
        ("unheard", "1", "unheard is not known: cross_entropy takes logits, targets, weight"),
        ("Reduction", '"sum"', "Reduction is not known"),
        ("unheard", '"]]]][[["', "unheard is not known"),
    ],
)
def test_a_wrong_scalar_is_refused_by_name_and_value(client: TestClient, field: str, value: str, said: str) -> None:
    found = refuse(client, f'{{"logits": [[1, 2]], "targets": [0], "{field}": {value}}}', 422)
    assert found["detail"].startswith(said)
    assert [error["pointer"] for error in found["errors"]] == [f"/{field}"]


def test_options_at_the_ends_of_their_range_are_taken(client: TestClient) -> None:
    for field, value in (
        ("label_smoothing", "0"),
        ("label_smoothing", "1"),
        ("ignore_index", "9223372036854775807"),
        ("ignore_index", "-9223372036854775808"),
        ("class_axis", "-1"),
    ):
        body = f'{{"logits": [[1, 2]], "targets": [0], "{field}": {value}}}'
        response = client.post("/v1/losses/cross_entropy", content=body, headers=JSON)
        assert response.status_code == 200, response.text


def test_names_are_shown_as_they_were_sent(client: TestClient) -> None:
    body = '{"logits": [[1, 2]], "targets": [0], "a 12345678901234567890 ": 1, "weight": [18446744073709551616, 1]}'
    assert refuse(client, body, 422)["errors"][0]["pointer"] == "/a 12345678901234567890 "


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_bytes_do_worse_than_a_refusal(body: bytes) -> None:
    try:
        json.loads(body.decode("utf-8"), parse_constant=int)
    except ValueError:
        with pytest.raises(Problem) as caught:
            decode(body, MEASURE)
        assert caught.value.status == 400


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_changed_byte_never_breaks_the_service(client: TestClient, place: int, byte: int) -> None:
    body = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    response = client.post("/v1/losses/cross_entropy", content=body, headers=JSON)
    assert response.status_code in (200, 400, 422)


def test_decode_gives_arrays_and_scalars_by_name() -> None:
    fields = decode(b'{"logits": [[1, 2]], "targets": [0], "reduction": "sum", "class_axis": 1, "x": null}', MEASURE)
    assert fields["logits"].array.dtype == np.float64
    assert fields["targets"].array.dtype == np.int64
    assert (fields["reduction"], fields["class_axis"], fields["x"]) == ("sum", 1, None)
