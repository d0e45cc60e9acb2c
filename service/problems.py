"""One shape for every failure: application/problem+json (RFC 9457), with `errors` and, for OIP clients, `error`."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from core.errors import BadState, CoreError, Fault, InvalidInput, UnknownMeasure
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MOST_ERRORS = 20
DETAIL_BYTES = 1024  # of one detail; it stands in the answer twice
ERRORS_BYTES = 5 * 1024  # of the list of errors; with the rest, the whole answer stays under 8 KiB
KINDS = {
    400: ("malformed", "Malformed request"),
    401: ("unauthorized", "Unauthorized"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    408: ("timeout", "Request timeout"),
    413: ("too-large", "Body too large"),
    414: ("target-too-long", "Target too long"),
    415: ("unsupported-media-type", "Unsupported media type"),
    422: ("invalid-input", "Invalid input"),
    431: ("headers-too-large", "Headers too large"),
    500: ("internal-error", "Internal error"),
    501: ("not-implemented", "Not implemented"),
    503: ("unavailable", "Unavailable"),
    505: ("version-not-supported", "HTTP version not supported"),
}
OVERLOADED = ("overloaded", "Overloaded")
DEADLINE_EXCEEDED = ("deadline-exceeded", "Deadline exceeded")
SLUGS = (*(slug for slug, _ in KINDS.values()), OVERLOADED[0], DEADLINE_EXCEEDED[0])


class Problem(Exception):
    """A request that cannot be answered, as it is answered."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: tuple[str, str] | None = None,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, dict(headers or {})
        self.slug, self.title = kind or KINDS.get(status, ("error", "Error"))


class Raise:
    """An app that has one problem. Whatever is around it answers with that."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise it."""
        raise self.problem


class ClientGone(Exception):
    """The client hung up before its request was whole; there is nobody to answer."""


def malformed(detail: str) -> Problem:
    """The bytes are not what their type says."""
    return Problem(400, detail)


def too_large(limit: int, setting: str) -> Problem:
    """The body is larger than `limit` bytes, the limit that is called `setting`."""
    return Problem(413, f"the body is larger than {limit} bytes, the limit {setting}")


def unavailable(detail: str) -> Problem:
    """Not now; a later try may be answered."""
    return _later(detail, KINDS[503])


def overloaded(detail: str, seconds: int = 1) -> Problem:
    """There is more to do than can be done; a try after so many seconds may be answered."""
    return _later(f"the service is overloaded: {detail}", OVERLOADED, seconds)


def deadline_exceeded() -> Problem:
    """The time that the client gave is up."""
    return _later("the deadline of the request has passed", DEADLINE_EXCEEDED)


def _later(detail: str, kind: tuple[str, str], seconds: int = 1) -> Problem:
    return Problem(503, detail, kind=kind, headers={"Retry-After": str(max(1, seconds))})


def from_core(error: CoreError) -> Problem:
    """The status and words of an error that the core raised."""
    if isinstance(error, InvalidInput):
        first, more = error.faults[0].detail, len(error.faults) - 1
        return Problem(422, first + (f" (and {more} more, see errors)" if more else ""), errors=error.faults)
    if isinstance(error, BadState):
        return Problem(422, str(error))
    if isinstance(error, UnknownMeasure):
        return Problem(404, str(error))
    return unavailable(str(error))


def pointer(where: Sequence[str | int]) -> str:
    """The JSON Pointer (RFC 6901) of a place in the request; "" is the whole body."""
    return "".join("/" + str(step)[:64].replace("~", "~0").replace("/", "~1") for step in where)


def body(problem: Problem, status: int, request_id: str) -> dict[str, Any]:
    """The members of the problem document."""
    detail = _clipped(problem.detail, DETAIL_BYTES)
    members: dict[str, Any] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": status,
        "detail": detail,
        "error": detail,
        "request_id": request_id,
    }
    faults = problem.errors or ([Fault((), detail)] if problem.status == 422 else [])
    if faults:
        members["errors"] = _bounded(faults)
    return members


def _bounded(faults: Sequence[Fault]) -> list[dict[str, str]]:
    errors, size = [], 0
    for fault in faults[:MOST_ERRORS]:
        error = {
            "pointer": _clipped(pointer(fault.where), DETAIL_BYTES),
            "detail": _clipped(fault.detail, DETAIL_BYTES),
        }
        size += len(orjson.dumps(error))
        if size > ERRORS_BYTES:
            break
        errors.append(error)
    return errors


def _clipped(text: str, most: int) -> str:
    """The beginning of `text` that takes at most `most` bytes as JSON."""
    while len(orjson.dumps(text)) > most:
        text = text[: max(0, min(len(text) - 1, most * len(text) // len(orjson.dumps(text))))]
    return text


def respond(problem: Problem, request_id: str, path: str = "/") -> Response:
    """The answer to a request for `path` that has `problem`.

    On /v2 it is application/json, the only type from which KServe's client reads an error, and 422 is 400.
    """
    oip = path == "/v2" or path.startswith("/v2/")
    status = 400 if oip and problem.status == 422 else problem.status
    return Response(
        orjson.dumps(body(problem, status, request_id)),
        status_code=status,
        media_type="application/json" if oip else "application/problem+json",
        headers=problem.headers,
    )
