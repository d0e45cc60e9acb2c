"""Small requests that must not cost much: each runs in a process with little memory and CPU time to spend."""

import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from tests.service.bodies import INFER
from tests.service.conftest import JSON

CONFINED = """
import resource, sys, tracemalloc
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
import numpy as np
from core.check import prepare
from core.errors import InvalidInput
from core.measures import find
from core.reduction import Result
from service.problems import Problem
from service.schemas import request_model, validate
from service.wire import oip_request
from service.wire.json import decode, encode
most = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 60  # the imports are no part of the work
resource.setrlimit(resource.RLIMIT_CPU, (most, most))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def read(body, name="cross_entropy"):
    measure = find(name)
    return validate(request_model(measure), measure, decode(body, measure))

def write(shape):
    values, none = np.zeros(0, np.float32).reshape(shape), np.float32(0)
    totals = {"sum": 0.0, "weight": 0.0, "count": 0, "ignored": 0}
    return encode(Result({"per_sample": values}, "sum", none, {}, totals, values.dtype), per_sample=True, limit=1000)

def weighed(body):
    body = bytearray(body)
    tracemalloc.start()
    try:
        oip_request.decode(body, len(body), find("cross_entropy"))
    except Problem as error:
        return error.status, tracemalloc.get_traced_memory()[1] / len(body)

try:
    ANSWER
except (InvalidInput, Problem) as error:
    print("refused:", str(error)[:200])
else:
    print("answered")
"""


def outcome(work: str, given: bytes = b"") -> str:
    """What `work` came to within 3 GiB and 60 seconds of CPU time, `given` on its standard input."""
    code = CONFINED.replace("ANSWER", work)
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=False)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode()[-500:]}"
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("write((2**40, 0))", id="an answer of 2^40 empty lists"),
        pytest.param("write((2**20, 2**20, 0))", id="an answer of 2^40 empty lists in 2^20 lists"),
        pytest.param(
            """read(b'{' + b','.join(b'"k%d":1' % n for n in range(120000)) + b',"k119999":1}')""",
            id="the last of many keys twice",
        ),
        pytest.param(
            """read(b'{' + b','.join(b'"k%d":1' % n for n in range(200000)) + b'}')""", id="many unknown keys"
        ),
        pytest.param(
            """read(b'{"logits":{' + b','.join(b'"k%d":1' % n for n in range(120000)) + b',"k119999":1}}')""",
            id="many keys in an array's object",
        ),
        pytest.param(
            """read(b'{"logits":{"dtype":"float32","b64":"","shape":[' + b'1,' * 3000000 + b'1]},"targets":0}')""",
            id="a shape of many sizes",
        ),
        pytest.param(
            """read(b'{"logits":[' + b'"NaN",' * 300000 + b'"x"],"targets":0}')""", id="a wrong word after many words"
        ),
        pytest.param("""read(b'{"logits":[' + b'[],' * 1000000 + b'[1]],"targets":0}')""", id="many empty rows"),
        pytest.param("""read(b'{"a":"' + b'\\\\"' * 500000)""", id="a string of quotes that does not end"),
        pytest.param(
            "none = np.zeros(0, np.float32).reshape(2**30, 0); "
            "prepare(find('distribution_cross_entropy'), {'p': none, 'q': none})",
            id="a billion distributions of no classes",
        ),
        pytest.param("""read(b'{"logits":' + b'9' * 20000000 + b'}')""", id="an integer of many digits"),
        pytest.param(
            """read(b'{"logits":[' + b'9' * 30000 + b',NaN' * 1000 + b']}')""", id="long integers and bare words"
        ),
    ],
)
def test_a_bomb_is_refused_cheaply(work: str) -> None:
    assert outcome(work).startswith("refused")


def test_what_is_no_bomb_is_answered() -> None:
    assert outcome("write((200, 0))") == "answered"
    assert outcome("""read(b'{"logits":[1,2],"targets":0}')""") == "answered"


@pytest.mark.parametrize(
    ("body", "most"),
    [
        pytest.param(b'{"inputs":[' + b'\\"' * 2**22, 2, id="quotes after backslashes"),
        pytest.param(b'{"inputs":["' + b"x" * (2**25 - 100), 4, id="a string that does not end"),
        pytest.param(b'{"inputs":[NaN' + b',"x"' * 2_000_000 + b"]}", 2, id="many strings beside a bare word"),
    ],
)
def test_strings_on_v2_are_not_taken_one_by_one(client: TestClient, body: bytes, most: int) -> None:
    """Python allocates a few copies of the body, fewer than `most`, and nothing for each string in it."""
    status, copies = outcome("print(*weighed(sys.stdin.buffer.read()))", body).split()[:2]
    assert status == "400"
    assert float(copies) < most
    found = client.post(INFER, content=body, headers=JSON)
    assert found.status_code == 400
    assert "the body is not JSON" in found.json()["error"]
