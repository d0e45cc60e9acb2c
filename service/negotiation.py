"""What a body is, and how its answer is wanted: Content-Type, Accept, Accept-Encoding (RFC 9110 sections 8, 12)."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from starlette.types import Scope

from service.body import header, listed
from service.problems import Problem

JSON = "application/json"
SAFETENSORS = "application/x-safetensors"
BYTES = "application/octet-stream"
INFERENCE_LENGTH = "Inference-Header-Content-Length"  # on /v2: how many bytes of a body are JSON
NATIVE = (JSON, SAFETENSORS, BYTES)  # on /v1, where BYTES means SAFETENSORS

_REMEMBERED = 256  # values of one header, and characters of one value: clients send the same few, and none fills memory

Meaning = TypeVar("Meaning")


def remembered(read: Callable[[str], Meaning]) -> Callable[[str], Meaning]:
    """`read`, which takes up to 3 microseconds, in 0.1 for the value of a header that was read before."""
    known = lru_cache(_REMEMBERED)(read)

    def of_value(sent: str) -> Meaning:
        return known(sent) if len(sent) <= _REMEMBERED else read(sent)

    return of_value


def preferences(header: str) -> list[str]:
    """The names in `header`, best first, of equal ones wildcards last; those of weight 0, or of no weight, left out."""
    names = []
    for part in header.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        names.append((-_weight(parameters), "*" in name, name))
    return [name for weight, _, name in sorted(names, key=lambda entry: entry[:2]) if name and weight < 0]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 < weight <= 1 else 0.0
    return 1.0


@remembered
def _kind(sent: str) -> str:
    """The media type of a Content-Type in lower case; "" for JSON in a charset that is no UTF-8."""
    kind, *parameters = (part.strip().lower() for part in sent.split(";"))
    charsets = {word.removeprefix("charset=").strip('"') for word in parameters if word.startswith("charset=")}
    return "" if kind == JSON and charsets - {"utf-8", "utf8"} else kind


def sent_type(scope: Scope) -> str:
    """The media type of a body on /v1. Raises Problem (415) unless it is JSON in UTF-8 or safetensors."""
    sent = header(scope, b"content-type") or ""
    kind = _kind(sent)
    if kind in NATIVE:
        return kind
    found = f"{sent[:80]!r}" if sent else "missing"
    raise Problem(415, f"the Content-Type is {found}, but must be {JSON}, in UTF-8, or {SAFETENSORS}")


def wanted_type(scope: Scope) -> str:
    """The media type of an answer on /v1: JSON, unless the client prefers safetensors, by name."""
    return _wanted(listed(scope, b"accept") or "")


@remembered
def _wanted(accept: str) -> str:
    best = next((name for name in preferences(accept) if name in (*NATIVE, "*/*", "application/*")), JSON)
    return JSON if "*" in best else best


def require_oip_type(scope: Scope) -> None:
    """Raise Problem (415) for a type that is none of the protocol's; Triton's client names none at all."""
    sent = header(scope, b"content-type") or ""
    if sent and _kind(sent) not in (JSON, BYTES):
        raise Problem(415, f"the Content-Type is {sent[:80]!r}, but must be {JSON}, in UTF-8, {BYTES} or none")
