"""A slice of the fuzzing over sockets, the same every time unless FUZZ_SEED says otherwise; `make soak` has a million
answers and a seed of its own."""

import json
import os

import pytest

from tests.fuzz import wire
from tests.fuzz.wire import Answer, answers, wrong

ID = {b"x-request-id": b"1"}


def test_broken_requests_are_answered_or_refused() -> None:
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    report = wire.run(2500, seed)
    assert not report.failures, (seed, report.failures[:3])
    for status in (200, 400, 404, 415, 422):  # or the mutations test little
        assert report.statuses[status] > 5, report.statuses


def problem(status: int, **more: object) -> bytes:
    return json.dumps({"status": status, "detail": "x", "error": "x"} | more).encode()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, {}, b""), ""),
        (Answer(400, ID | {b"content-type": b"application/json"}, problem(400)), ""),
        (Answer(503, ID | {b"content-type": b"application/json", b"retry-after": b"1"}, problem(503)), ""),
        (Answer(503, ID | {b"content-type": b"application/json"}, problem(503)), "status 503"),
        (Answer(500, ID | {b"content-type": b"application/problem+json"}, problem(500)), "status 500"),
        (Answer(400, ID | {b"content-type": b"text/plain"}, problem(400)), "of type"),
        (Answer(400, {b"content-type": b"application/json"}, problem(400)), "a 400 with"),
        (Answer(400, ID | {b"content-type": b"application/json"}, problem(404)), "a 400 with"),
        (Answer(400, ID | {b"content-type": b"application/json"}, b"<html>"), "a 400 with"),
        (Answer(400, ID | {b"content-type": b"application/json"}, problem(400, error="y")), "a 400 with"),
        (Answer(400, ID | {b"content-type": b"application/json"}, problem(400, more="x" * 9000)), "bytes"),
    ],
)
def test_a_wrong_answer_is_seen(answer: Answer, says: str) -> None:
    assert (says in wrong(answer)) if says else not wrong(answer)


def test_answers_are_told_apart() -> None:
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    found = answers(first + b"HTTP/1.1 100 Continue\r\n\r\n" + first)
    assert [(answer.status, answer.content) for answer in found] == [(200, b"ok"), (100, b""), (200, b"ok")]
    found = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + first)  # the first to HEAD
    assert [answer.content for answer in found] == [b"", b"ok"]
    with pytest.raises(ValueError, match="no head"):
        answers(first + b"Traceback")
