"""A slice of the fuzzing over sockets, the same every time unless FUZZ_SEED says otherwise; `make soak` has a million
answers and a seed of its own."""

import json
import os
import socket

import pytest

from tests.fuzz import wire
from tests.fuzz.wire import Answer, Report, answers, judge, unanswered, wrong

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


@pytest.mark.parametrize(
    ("statuses", "closes", "sent", "lacking"),
    [
        ([200, 400], False, 2, 0),
        ([200, 100, 400, 400], False, 2, 0),  # the last one was answered too
        ([200], False, 2, 1),
        ([100, 200], False, 2, 1),
        ([], False, 3, 3),
        ([400], True, 3, 0),
    ],
)
def test_a_request_without_an_answer_is_seen(statuses: list[int], closes: bool, sent: int, lacking: int) -> None:
    found = [Answer(status, {}, b"") for status in statuses]
    if closes:
        found[-1].headers[b"connection"] = b"close"
    assert unanswered(found, sent) == lacking


def test_a_connection_without_all_answers_or_without_an_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    theirs.close()
    report = Report()
    judge(report, [b"first", b"second", b"third"], ours)
    assert ["1 requests that are framed well" in failure for failure in report.failures] == [True]
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    monkeypatch.setattr(wire, "SECONDS", 0.01)
    with theirs:
        judge(report, [b"only"], ours)
    assert [word in report.failures[1] + report.failures[2] for word in ("TimeoutError", "took")] == [True, True]
