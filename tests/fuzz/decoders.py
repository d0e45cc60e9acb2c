"""Bytes into the decoders as they are: no HTTP, no service. The first byte says which, and for what."""

from collections.abc import Callable, Iterator

from core.declare import Measure
from core.errors import InvalidInput
from core.measures import MEASURES
from core.reports.tasks import TASKS
from service.codings import decoded
from service.exchange import Answer
from service.loss import Loss
from service.merge import Merge
from service.problems import Problem
from service.report import Report
from service.wire import json, oip_request, safetensors, states
from service.wire.tables import NO_LISTS, Lists
from tests.fuzz.mutations import seeds
from tests.service.bodies import LENGTH
from tests.service.codings import COMPRESS

MOST_DECODED = 2**20  # bytes that compressed ones may stand for
MOST_ELEMENTS = 2**16
Target = Loss | Report | Merge
TARGETS: list[Target] = [
    *(Loss(measure, MOST_ELEMENTS) for measure in MEASURES.values()),
    *(Report(task, MOST_ELEMENTS) for task in TASKS.values()),
    Merge(TASKS),
]
MODELS = {name: Loss(task.columns, MOST_ELEMENTS) for name, task in TASKS.items()}
MERGE_ALL = Merge(TASKS)


class _Room:
    """An answer for which there is always room."""

    seconds, state_alone = 0.0, False

    def require_room(self, *shapes: object, **more: object) -> None:
        pass

    def encode(self, *found: object, **more: object) -> Answer:
        raise NotImplementedError


def _merged(fields: dict[str, object]) -> None:
    job = MERGE_ALL.prepare(MERGE_ALL.validate(fields), _Room())
    job.added(lambda: False, lambda _: None)


def _form(target: Loss | Report) -> tuple[Measure, Lists]:
    return (target.measure, NO_LISTS) if isinstance(target, Loss) else (target.task.request, target.task.lists)


def _check(target: Loss | Report, fields: dict[str, object]) -> None:
    """What comes after decoding, but for the arithmetic."""
    target.prepare(target.validate(fields), _Room())


def _lists(body: bytes, target: Target) -> None:
    if isinstance(target, Merge):
        _merged(states.of_json(body))
    else:
        _check(target, json.decode(body, *_form(target)))


def _tensors(body: bytes, target: Target) -> None:
    if isinstance(target, Merge):
        _merged(states.of_bytes(body))
    else:
        _check(target, safetensors.decode(body, *_form(target)))


def _inference(body: bytes, target: Target) -> None:
    """The first two bytes are the length of the JSON; of more than there are, all of it is."""
    length = min(int.from_bytes(body[:2], "little"), len(body[2:]))
    if isinstance(target, Report):
        target = MODELS[target.name]
    if isinstance(target, Loss):
        _check(target, oip_request.decode(body[2:], length, target.measure).fields)


def _coded(coding: str) -> Callable[[bytes, Target], None]:
    def read(body: bytes, target: Target) -> None:
        _lists(bytes(decoded(body, coding, MOST_DECODED, "MOST_DECODED")), target)

    return read


ENTRIES: list[Callable[[bytes, Target], None]] = [_lists, _tensors, _inference, *map(_coded, COMPRESS)]


def take(data: bytes) -> bool:
    """Whether `data` is a good request. Raises anything that is no refusal."""
    if not data:
        return False
    target, entry = divmod(data[0], len(ENTRIES))
    try:
        ENTRIES[entry](data[1:], TARGETS[target % len(TARGETS)])
    except InvalidInput:
        return False
    except Problem as problem:
        if problem.status >= 500:  # which says that the service failed
            raise
        return False
    return True


def seed_inputs() -> Iterator[bytes]:
    """A good input of every measure and task for every decoder."""
    for body in seeds(0):
        content, first = body.content, _target(body.path) * len(ENTRIES)
        if body.path.startswith("/v2"):
            yield bytes([first + 2]) + int(body.headers.get(LENGTH, "65535")).to_bytes(2, "little") + content
        elif body.headers["Content-Type"] != "application/json":
            yield bytes([first + 1]) + content
        else:
            yield bytes([first]) + content
            for place, compress in enumerate(COMPRESS.values(), 3):
                yield bytes([first + place]) + compress(content)


def _target(path: str) -> int:
    steps = path.split("/")
    return next(place for place, target in enumerate(TARGETS) if target.name in steps)
