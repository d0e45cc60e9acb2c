"""python -m tests.fuzz.wire CASES [SEED]: broken requests, over sockets, to the service in another process.

CASES answers are awaited. Each must be a whole 1xx, 2xx or 3xx, or a problem document of 4xx, 501, 505 or (with
Retry-After) 503. Requests that are framed well are all answered, until an answer closes the connection, and no
connection takes longer than SECONDS. A good request now and then has its known answer to the byte; the log has no
traceback, and memory and open files stay as they were.
"""

import json
import random
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from tests.fuzz.requests import Mutants
from tests.service.conftest import GOOD
from tests.service.raw import request
from tests.soak.served import Served, started

FLYING = 8  # connections whose answers are awaited while the next is written
GOOD_EVERY = 1000  # answers
SECONDS = 10  # that the answers of a connection may take
WARM_SHARE = 0.2  # of the answers, after which the memory may not grow
MOST_GROWTH = 16 * 2**20  # bytes
ALLOWED = {501, 505, *range(400, 500)}
MOST_SILENT = 0.25  # of the connections: their last request has no answer, as is right if it lacks its end
LOSS = 0.8132616  # of the good request


@dataclass
class Report:
    """What a run came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    sent: int = 0
    connections: int = 0
    silent: int = 0  # connections whose last request had no answer
    growth: int = 0  # bytes
    seconds: float = 0.0
    known: bytes = b""  # the answer to the good request, whose id is the client's

    @property
    def answers(self) -> int:
        """How many there were."""
        return self.statuses.total()


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    headers: dict[bytes, bytes]
    content: bytes


def launch(served: Served, requests: list[bytes]) -> socket.socket:
    """A connection on which `requests` are sent, and nothing after them."""
    connection = socket.create_connection((served.host, served.port), timeout=SECONDS)
    try:
        connection.sendall(b"".join(requests))
        connection.shutdown(socket.SHUT_WR)
    except OSError:  # refused before all of it was read
        pass
    return connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the end. Raises TimeoutError."""
    pieces = []
    with connection:
        try:
            while piece := connection.recv(2**18):
                pieces.append(piece)
        except ConnectionResetError:  # what the server had not read was thrown away with the connection
            pass
    return b"".join(pieces)


def answers(text: bytes) -> list[Answer]:
    """The answers that `text` is made of. Raises ValueError; the last may be cut short by a reset."""
    found = []
    while text:
        head, end, rest = text.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        if not end or not first.startswith(b"HTTP/1.1 "):
            raise ValueError(f"no head of an answer: {text[:200]!r}")
        headers = {name.lower(): value for name, value in (line.split(b": ", 1) for line in lines)}
        size = int(headers.get(b"content-length", b"0"))
        if rest.startswith(b"HTTP/1.1 "):  # an answer to HEAD
            size = 0
        found.append(Answer(int(first.split(b" ", 2)[1]), headers, rest[:size]))
        text = rest[size:]
    return found


def wrong(answer: Answer) -> str:
    """What is wrong with an answer, or ""."""
    if answer.status < 400:
        return ""
    if answer.status not in ALLOWED and not (answer.status == 503 and b"retry-after" in answer.headers):
        return f"status {answer.status}: {answer.content[:300]!r}"
    if answer.headers.get(b"content-type") not in (b"application/problem+json", b"application/json"):
        return f"a {answer.status} of type {answer.headers.get(b'content-type')!r}"
    if b"x-request-id" not in answer.headers or len(answer.content) > 8192:
        return f"a {answer.status} with {answer.headers} and {len(answer.content)} bytes"
    if not answer.content:  # to HEAD
        return ""
    try:
        problem = json.loads(answer.content)
    except ValueError:
        return f"a {answer.status} with {answer.content[:300]!r}"
    good = problem["status"] == answer.status and problem["detail"] and problem["error"] == problem["detail"]
    return "" if good else f"a {answer.status} with {answer.content[:300]!r}"


def unanswered(found: list[Answer], sent: int) -> int:
    """How many of `sent` requests have no final answer, though none before it closes the connection."""
    final = [answer for answer in found if answer.status >= 200]
    closed = any(answer.headers.get(b"connection", b"").lower() == b"close" for answer in final)
    return 0 if closed else max(0, sent - len(final))


def judge(report: Report, requests: list[bytes], connection: socket.socket) -> None:
    """Take the answers of one connection into `report`."""
    began = time.perf_counter()
    try:
        found = answers(received(connection))
        faults = [said for said in map(wrong, found) if said]
        if lacking := unanswered(found, len(requests) - 1):  # the last may be framed badly, or lack its end
            faults.append(f"{lacking} requests that are framed well have no answer, but {len(found)} have")
        report.connections += 1
        report.silent += unanswered(found, len(requests)) > 0
        report.statuses.update(answer.status for answer in found)
    except (ValueError, TimeoutError) as error:
        faults = [f"{type(error).__name__}: {error}"]
    if (took := time.perf_counter() - began) > SECONDS:
        faults.append(f"the connection took {took:.1f} s")
    report.failures += [f"after {report.answers} answers: {fault}: to {requests}"[:4000] for fault in faults]


def judge_good(report: Report, served: Served) -> None:
    """Ask what has a known answer."""
    text = received(launch(served, [request(GOOD, "X-Request-ID: known")]))
    (found,) = answers(text)
    report.known = report.known or found.content
    if found.content != report.known or json.loads(found.content)["loss"] != LOSS:
        report.failures.append(f"after {report.answers} answers the good request has {text[:600]!r}")


def run(cases: int, seed: int) -> Report:
    """Send until there are `cases` answers; the same seed sends the same."""
    report, mutants = Report(), Mutants(seed)
    flying: deque[tuple[list[bytes], socket.socket]] = deque()
    with started() as served:
        judge_good(report, served)
        warm, files, asked = 0, served.descriptors(), 0
        began = time.perf_counter()
        while report.answers < cases and len(report.failures) < 100:
            requests = mutants.batch()
            flying.append((requests, launch(served, requests)))
            report.sent += len(requests)
            if len(flying) >= FLYING:
                judge(report, *flying.popleft())
            if report.answers >= asked + GOOD_EVERY:
                asked = report.answers
                judge_good(report, served)
                warm = warm or (served.resident() if report.answers > cases * WARM_SHARE else 0)
        for each in flying:
            judge(report, *each)
        report.seconds = time.perf_counter() - began
        judge_good(report, served)
        report.growth = served.resident() - warm if warm else 0
        if served.descriptors() > files + 2:
            report.failures.append(f"{served.descriptors()} files are open, {files} at the start")
        if report.silent > MOST_SILENT * report.connections:
            report.failures.append(f"{report.silent} of {report.connections} connections have no last answer")
        if "Traceback" in served.said():
            report.failures.append(f"the log has a traceback: {served.said()[-3000:]}")
    if served.process.returncode:
        report.failures.append(f"the service ended with {served.process.returncode}: {served.said()[-500:]}")
    return report


def main() -> None:
    """Run, print and judge."""
    cases = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(f"wire fuzz: {cases} answers, seed {seed}", flush=True)
    report = run(cases, seed)
    print(*report.failures[:20], sep="\n")
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(report.statuses.items()))
    rate = f"{report.sent} requests in {report.seconds:.0f} s, {report.answers / report.seconds:.0f} answers/s"
    print(f"{rate}; {report.silent} of {report.connections} connections without a last answer")
    print(f"{counts}; memory grew by {report.growth / 2**20:.1f} MiB after the first {WARM_SHARE:.0%}")
    sys.exit(bool(report.failures) or report.growth > MOST_GROWTH)


if __name__ == "__main__":
    main()
