"""Bytes into the decoders as they are: no HTTP, no service. The first byte says which, and for which measure."""

from collections.abc import Callable, Iterator

from core.check import prepare
from core.declare import Measure
from core.errors import InvalidInput
from core.measures import MEASURES
from service import schemas
from service.codings import decoded
from service.problems import Problem
from service.wire import json, oip_request, safetensors
from tests.fuzz.mutations import seeds
from tests.service.bodies import LENGTH
from tests.service.codings import COMPRESS

MODELS = {name: schemas.request_model(measure) for name, measure in MEASURES.items()}
MOST_DECODED = 2**20  # bytes that compressed ones may stand for
MOST_ELEMENTS = 2**16


def _check(measure: Measure, fields: dict[str, object]) -> None:
    """What comes after decoding, but for the arithmetic."""
    given = schemas.validate(MODELS[measure.name], measure, fields)
    given.pop("per_sample", True)
    prepare(measure, given, dtype=str(given.pop("dtype", "float32")), max_elements=MOST_ELEMENTS)


def _lists(body: bytes, measure: Measure) -> None:
    _check(measure, json.decode(body, measure))


def _tensors(body: bytes, measure: Measure) -> None:
    _check(measure, safetensors.decode(body, measure))


def _inference(body: bytes, measure: Measure) -> None:
    """The first two bytes are the length of the JSON; of more than there are, all of it is."""
    length = min(int.from_bytes(body[:2], "little"), len(body[2:]))
    _check(measure, oip_request.decode(body[2:], length, measure).fields)


def _coded(coding: str) -> Callable[[bytes, Measure], None]:
    def read(body: bytes, measure: Measure) -> None:
        _lists(bytes(decoded(body, coding, MOST_DECODED, "MOST_DECODED")), measure)

    return read


ENTRIES: list[Callable[[bytes, Measure], None]] = [_lists, _tensors, _inference, *map(_coded, COMPRESS)]
_MEASURES = list(MEASURES.values())


def take(data: bytes) -> bool:
    """Whether `data` is a good request. Raises anything that is no refusal."""
    if not data:
        return False
    measure, entry = divmod(data[0], len(ENTRIES))
    try:
        ENTRIES[entry](data[1:], _MEASURES[measure % len(_MEASURES)])
    except InvalidInput:
        return False
    except Problem as problem:
        if problem.status >= 500:  # which says that the service failed
            raise
        return False
    return True


def seed_inputs() -> Iterator[bytes]:
    """A good input of every measure for every decoder."""
    names = list(MEASURES)
    for body in seeds(0):
        measure = next(names.index(part) for part in body.path.split("/") if part in names)
        content, first = body.content, measure * len(ENTRIES)
        if body.path.startswith("/v2"):
            yield bytes([first + 2]) + int(body.headers.get(LENGTH, "65535")).to_bytes(2, "little") + content
        elif "safetensors" in body.headers["Content-Type"]:
            yield bytes([first + 1]) + content
        else:
            yield bytes([first]) + content
            for place, compress in enumerate(COMPRESS.values(), 3):
                yield bytes([first + place]) + compress(content)
