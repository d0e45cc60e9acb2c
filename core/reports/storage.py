"""States as bytes: the same for the same samples, however they were split, computed and merged.

MAGIC, the version (u16), how many bytes follow (u64), then the spec, the coverage and the groups with their parts, and
the SHA-256 of all that. Little-endian. Nothing in them is trusted.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from core.arguments import parse
from core.errors import BadState, Fault, InvalidInput
from core.reports.declare import Picks, Task
from core.reports.options import MOST_CLASSES, MOST_CONFUSION, most_groups
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.coverage import Coverage
from core.reports.spec import SCORES, Spec
from core.reports.state import EVERYONE, Parts, State

MAGIC = b"LMREPORT"
VERSION = 1
DIGEST_BYTES = 32
HEAD = struct.Struct("<8sHQ")


def write(state: State) -> bytes:
    """The bytes of `state`."""
    writer = Writer()
    state.spec.write(writer)
    state.coverage.write(writer)
    writer.u32(len(state.groups))
    for label in sorted(state.groups):
        writer.text(label)
        for part in state.task.kept(state.spec):
            state.groups[label][part.name].write(writer)
    content = writer.content()
    content = HEAD.pack(MAGIC, VERSION, len(content) + DIGEST_BYTES) + content
    return content + hashlib.sha256(content).digest()


def split(content: bytes | bytearray | memoryview) -> Iterator[memoryview]:
    """The states that stand one after another in `content`. Raises BadState."""
    rest = memoryview(content)
    while rest:
        size = HEAD.size + _head(rest)
        yield rest[:size]
        rest = rest[size:]


def _head(content: memoryview) -> int:
    """How many bytes follow the head of the state that `content` begins with. Raises BadState."""
    if bytes(content[: len(MAGIC)]) != MAGIC:
        raise BadState("these bytes are no state of a report: they do not begin with LMREPORT")
    if len(content) < HEAD.size:
        raise BadState(f"the state ends after {len(content)} bytes, within its head")
    _, version, size = HEAD.unpack_from(content)
    if version != VERSION:
        raise BadState(f"the state has version {version}, but this program reads version {VERSION}")
    if not DIGEST_BYTES <= size <= len(content) - HEAD.size:
        raise BadState(f"the state says that {size} bytes follow its head, but there are {len(content) - HEAD.size}")
    return int(size)


def read(content: bytes | bytearray | memoryview, tasks: Mapping[str, Task]) -> State:
    """The state that `write` wrote. Raises BadState for anything else."""
    content = memoryview(content)
    if HEAD.size + _head(content) != len(content):
        raise BadState("there is more than one state, where one is wanted")
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != bytes(digest):
        raise BadState("the state is damaged: its checksum is not that of its content")
    reader = Reader(body[HEAD.size :])
    spec = Spec.read(reader)
    if spec.task not in tasks:
        raise BadState(f"the state is of the task {spec.task[:64]!r}, but there are {', '.join(tasks)}")
    task = tasks[spec.task]
    _require_possible(spec, task)
    coverage = Coverage.read(reader)
    groups: dict[str, Parts] = {}
    count, most = reader.u32(), most_groups(task, spec.classes) if spec.grouped else 1
    if count > most:
        raise BadState(f"the state has {count} groups, but at most {most} are allowed")
    for _ in range(count):
        label = reader.text()
        if label != EVERYONE and not spec.grouped:
            raise BadState("the state has a group, but says that it has none")
        if groups and label <= next(reversed(groups)):
            raise BadState("the state's groups are not in order")
        groups[label] = {part.name: part.read(reader, spec) for part in task.kept(spec)}
    reader.end()
    return State(task, spec, coverage, groups)


def _require_possible(spec: Spec, task: Task) -> None:
    """Raise BadState unless a request could have had `spec`."""
    if spec.scores not in SCORES or spec.dtype not in ("float32", "float64") or not 0 <= spec.classes <= MOST_CLASSES:
        found = f"{spec.scores[:64]!r} in {spec.dtype[:64]!r} of {spec.classes} classes"
        raise BadState(f"the state is of {found}, but at most {MOST_CLASSES} classes of known scores are possible")
    surplus = [name for name, default in _defaults(task) if getattr(spec, name) != default]
    if surplus:
        raise BadState(f"the state has {surplus[0]}, which a report on {task.name} does not have")
    if spec.confusion and spec.classes > MOST_CONFUSION:
        raise BadState(f"the state has confusions of {spec.classes} classes, but at most {MOST_CONFUSION} are allowed")
    options = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name != "bytes"}
    try:
        parse(task.extras, {name: value for name, value in options.items() if name in task.extras.names})
    except InvalidInput as error:
        raise BadState(f"the state's options cannot be: {error}") from None
    of_options = [(o.name, rule) for o in task.request.options if o.name in options for rule in o.rules]
    faults = [rule.check(name, np.asarray(options[name]), {}) for name, rule in of_options]
    faults += [_pick_fault(listed, options[name]) for name, listed in task.lists.items() if isinstance(listed, Picks)]
    for fault in faults:
        if fault:
            raise BadState(f"the state's options cannot be: {fault.detail}")


def _defaults(task: Task) -> Iterator[tuple[str, Any]]:
    """The fields of a spec that `task` has no use for, and what they are then."""
    for field in fields(Spec):
        if field.default is not MISSING and field.name not in ("weighted", "grouped", *task.names):
            yield field.name, field.default


def _pick_fault(listed: Picks, picked: tuple[Any, ...]) -> Fault | None:
    good = set(picked) <= set(listed.values) if listed.values else all(entry >= 1 for entry in picked)
    if good and len(picked) <= listed.most and list(picked) == sorted(set(picked)):
        return None
    return Fault((listed.name,), f"{listed.name} is {picked!r:.80}, but must be {listed.says}, ascending")
