"""JSON that means harm, on both protocols: the table. What else is refused in lists and scalars is in test_json_*."""

import time

import pytest
from starlette.testclient import TestClient

from tests.service.bodies import INFER
from tests.service.conftest import GOOD, LOSS
from tests.service.hostile import inference, native, refusal

PATHS = [LOSS, INFER]
LIMIT = "nested deeper than 32 lists, the limit"
MOST_SECONDS = 30  # of CPU time: many times what any of it takes, and far less than what grows with the square


def keys(count: int) -> bytes:
    return b",".join(b'"k%d":1' % number for number in range(count))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("depth", [1_100, 10_000, 1_000_000])
@pytest.mark.parametrize(
    ("head", "opening", "closing", "tail"),
    [
        pytest.param(b"", b"[", b"", b"", id="lists that do not end"),
        pytest.param(b"", b"[", b"]", b"", id="lists"),
        pytest.param(b"", b'{"a":', b"", b"", id="objects that do not end"),
        pytest.param(b'{"a":', b'{"a":', b"}", b"}", id="objects"),
        pytest.param(b"", b'[{"a":', b"}]", b"", id="lists of objects"),
        pytest.param(b'{"logits":', b"[", b"", b"", id="an array that does not end"),
        pytest.param(b'{"logits":', b"[", b"]", b',"targets":0}', id="an array"),
        pytest.param(b'{"targets":0,"logits":', b"[1,", b"2]", b"}", id="an array of numbers and lists"),
        pytest.param(b'{"unknown":', b"[", b"]", b"}", id="what nobody asked for"),
        pytest.param(b'{"reduction":', b"[", b"]", b"}", id="a scalar"),
        pytest.param(b'{"a":"' + b"x" * 2**17 + b'","logits":', b"[", b"]", b"}", id="an array after much else"),
        pytest.param(b'{"inputs":', b"[", b"]", b"}", id="a list of inputs"),
        pytest.param(b'{"inputs":[{"name":', b"[", b"]", b"}]}", id="a name"),
        pytest.param(b'{"parameters":', b'{"a":', b"}", b"}", id="parameters"),
    ],
)
def test_what_is_nested_too_deep_is_refused_at_once(
    client: TestClient, path: str, depth: int, head: bytes, opening: bytes, closing: bytes, tail: bytes
) -> None:
    inner = b"1" if closing else b""
    body = b"".join([head, opening * depth, inner, closing * depth, tail])
    began = time.process_time()
    status, detail = refusal(client, path, body)
    assert time.process_time() - began < MOST_SECONDS
    assert (status, detail) == (400, f"the body is {LIMIT}")


@pytest.mark.parametrize("depth", [33, 500, 1000])
def test_an_array_has_as_many_axes_as_numpy_takes_and_no_more(client: TestClient, depth: int) -> None:
    deep = "[" * depth + "1" + "]" * depth
    for path, body in (native("0", deep), inference("0", shape="[]", logits=deep)):
        assert refusal(client, path, body) == (400, f"logits is {LIMIT}")


@pytest.mark.parametrize("text", ['"' + "[" * 100 + '"', '"' + '\\"[' * 100 + '"', "[]" + ", []" * 100])
def test_a_text_that_is_only_broken_is_not_called_deep(client: TestClient, text: str) -> None:
    for path in PATHS:
        status, detail = refusal(client, path, b'{"a": %b, "b": 01}' % text.encode())
        assert status == 400
        assert "is not JSON" in detail


@pytest.mark.parametrize("count", [65, 300_000])
@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        (LOSS, b"{%b}", "the body"),
        (LOSS, b'{"logits":{%b}}', "logits"),
        (INFER, b"{%b}", "the body"),
        (INFER, b'{"inputs":[{%b}]}', "inputs[0]"),
        (INFER, b'{"inputs":[],"parameters":{%b}}', "parameters"),
        (INFER, b'{"inputs":[],"outputs":[{%b}]}', "outputs[0]"),
    ],
)
def test_too_many_keys_are_refused_at_once(client: TestClient, path: str, body: bytes, what: str, count: int) -> None:
    began = time.process_time()
    assert refusal(client, path, body % keys(count)) == (400, f"{what} has more than 64 keys, the limit")
    assert time.process_time() - began < MOST_SECONDS


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1" + "0" * 400, "9" * 4400])
def test_a_number_that_no_float_holds_is_malformed(client: TestClient, text: str) -> None:
    for path, body in (
        *(native(f"[{text}, 0]"), native("[0, 0]", f"[[{text}, 0], [0, 0]]")),
        *(inference(f"[{text}, 0]"), inference("[0, 0]", logits=f"[{text},2,3,4,5,6]")),
    ):
        status, detail = refusal(client, path, body)
        assert (status, "too large for float64" in detail) == (400, True)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", '"\\ud800"', '"\ud800"', '"NaN'])
@pytest.mark.parametrize("field", ["targets", "logits", "reduction", "ignore_index", "unknown"])
def test_what_is_no_json_inside_a_wrong_field_is_no_failure(client: TestClient, field: str, bad: str) -> None:
    body = f'{{"logits": [["x"]], "targets": [0.5], "{field}": [[{bad}]]}}'.encode("utf-8", "surrogatepass")
    assert refusal(client, LOSS, body)[0] == 400


@pytest.mark.parametrize("bad", ["NaN", "-Infinity", "1e999", '"\\ud800"', '"\ud800"', '"NaN'])
def test_what_is_no_json_inside_a_wrong_input_is_no_failure(client: TestClient, bad: str) -> None:
    for path, body in (
        inference(f"[{bad}, 0]"),
        inference(f"[{bad}, 0]", "BYTES"),
        inference("[0, 0]", shape=f"[{bad}]"),
    ):
        assert refusal(client, path, body)[0] == 400


@pytest.mark.parametrize("entry", ['"x"', "null", "[]", "{}", "true", "0.5"])
def test_many_wrong_entries_are_one_small_refusal(client: TestClient, entry: str) -> None:
    many = "[" + f"{entry}, " * 100_000 + f"{entry}]"
    for path, body in (native(many), inference(many, shape="[100001]")):
        began = time.process_time()
        status, detail = refusal(client, path, body)
        assert time.process_time() - began < MOST_SECONDS
        assert status == (422 if path == LOSS else 400)
        assert "targets" in detail


@pytest.mark.parametrize(
    "what", ['"%b"', '["%b"]', '{"%b": 1}', '[{"a": "%b"}]'], ids=["text", "list", "key", "object"]
)
@pytest.mark.parametrize(
    "field", ["targets", "logits", "reduction", "weight", "per_sample", "inputs", "id", "parameters"]
)
def test_megabytes_of_the_wrong_type_are_not_given_back(client: TestClient, field: str, what: str) -> None:
    wrong = what.replace("%b", "y" * 20 * 2**20)
    for path in PATHS:
        status, detail = refusal(client, path, f'{{"{field}": {wrong}}}'.encode())
        assert status in (400, 422)
        assert len(detail) < 300


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [], "inputs": []}',
        b'{"inputs": [], "id": "1", "id": "1"}',
        b'{"inputs": [], "x": 1, "\\u0078": 2}',
        b'{"inputs": [{"name": "logits", "name": "logits"}]}',
        b'{"inputs": [{"name": "logits", "datatype": "FP32", "shape": [1], "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "logits", "datatype": "FP32", "shape": [1], "data": [1], "d\\u0061ta": [1]}]}',
        b'{"inputs": [{"name": "logits", "datatype": "FP32", "shape": [], "data": 1, "parameters": {"a": 1, "a": 1}}]}',
        b'{"inputs": [], "parameters": {"reduction": "sum", "reduction": "mean"}}',
        b'{"inputs": [], "outputs": [{"name": "loss", "name": "sum"}]}',
    ],
)
def test_a_key_twice_is_malformed_wherever_it_stands_in_an_inference(client: TestClient, body: bytes) -> None:
    status, detail = refusal(client, INFER, body)
    assert (status, "more than once" in detail) == (400, True)


@pytest.mark.parametrize(
    ("targets", "datatype"),
    [
        *((text, "INT64") for text in ("[9223372036854775808, 0]", "[-9223372036854775809, 0]", f"[{2**64}, 0]")),
        *(
            (text, "INT64")
            for text in (f"[{2**70}, 0]", f"[{2**63}, -1]", f"[-1, {2**63}]", f"[{2**62}, 0]", "[-1, 0]")
        ),
        *(
            (text, "INT64")
            for text in ("[3, 0]", '["1", 0]', "[true, 0]", "[1.0, 0]", "[1e0, 0]", "[0.5, 0]", "[null, 0]")
        ),
        *(
            (text, "INT64")
            for text in ("[NaN, 0]", '["NaN", 0]', "[[0], [0, 1]]", "[[0], 0]", "[0, [0]]", "[[0, 0], []]")
        ),
        *((text, "UINT64") for text in (f"[{2**63}, 0]", f"[{2**64}, 0]", "[-1, 0]", "[1.0, 0]")),
        *((text, "INT8") for text in ("[128, 0]", "[-129, 0]", "[300, 0]", "[1.0, 0]")),
        *((text, "UINT8") for text in ("[256, 0]", "[-1, 0]", "[156, 0]")),
        *((text, "BOOL") for text in ("[2, 0]", '["true", 0]', "[0.5, 0]", "[-1, 0]")),
        *((text, "FP32") for text in ("[1, 0]", "[NaN, 0]")),
    ],
)
def test_a_wrong_class_index_is_refused_in_json_and_never_wraps(
    client: TestClient, targets: str, datatype: str
) -> None:
    for path, body in (native(targets), inference(targets, datatype)):
        if path == LOSS and (datatype != "INT64" or "NaN," in targets):
            continue  # lists on /v1 have no type; a bare NaN is no JSON there
        status, detail = refusal(client, path, body)
        assert status == (422 if path == LOSS else 400)
        assert detail.startswith("targets")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"\0",
        GOOD.decode().encode("utf-16"),
        GOOD.decode().encode("utf-16-be"),
        GOOD.decode().encode("utf-32"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"\0",
        GOOD + b"{}",
        GOOD[:-1] + b', "a": "\xff"}',
        GOOD[:-1] + b', "\xc0\x80": 1}',
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
        b"logits=1&targets=0",
    ],
)
def test_another_text_than_json_in_utf_8_is_malformed(client: TestClient, body: bytes) -> None:
    for path in PATHS:
        assert refusal(client, path, body)[0] == 400


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-7", "application/xml"),
        *("application/x-www-form-urlencoded", "application/x-npy", "application/x-npz", "application/python-pickle"),
        *("application/x-pickle", "application/vnd.numpy", "application/zip", "application/json; charset=utf-16"),
    ],
)
def test_another_media_type_is_not_taken_on_any_path(client: TestClient, kind: str) -> None:
    for path in PATHS:
        status, detail = refusal(client, path, GOOD, {"Content-Type": kind})
        assert (status, "application/json" in detail) == (415, True)


@pytest.mark.parametrize("place", [0, 1, 4095, 4096, 4097, 9_999])
@pytest.mark.parametrize("wrong", ['"x"', "true", "null", "{}"])
def test_one_wrong_entry_among_many_is_named_where_it_stands(client: TestClient, place: int, wrong: str) -> None:
    entries = ["1"] * 10_000
    entries[place] = wrong
    many = f"[{', '.join(entries)}]"
    for path, body in (native(many), native("0", f"[[{many[1:-1]}]]"), inference(many, shape="[10000]")):
        status, detail = refusal(client, path, body)
        assert status == (422 if path == LOSS else 400)
        assert detail.startswith((f"targets[{place}] is ", f"logits[0, {place}] is "))
