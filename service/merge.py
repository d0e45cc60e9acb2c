"""A merge of reports' states, as it is asked for: read one after another, added, answered with the report of all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from core.engine import Engine
from core.errors import BadState, Cancelled, Fault, InvalidInput, missing, mistyped, refuse, unknown
from core.reports import room, storage
from core.reports.declare import Task
from core.reports.state import State
from core.tiles import GIVEN_UP

from service.exchange import Answer
from service.report import ReportReply, document, of_groups
from service.wire.reports import Found

NAME = "merge"  # under which merges are counted
EXPANDED = 3  # what a state takes that has been read, by its bytes
SAYS = {"states": "a list of at least one state, each in base64", "state": "true or false"}

Bytes = bytes | memoryview


class Merge:
    """See Asked."""

    at_once: ClassVar[bool] = False
    name = NAME

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.tasks = tasks

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        """See Asked. The states are bytes, once each entry was found to be a text."""
        faults = [unknown(name, NAME, SAYS) for name in fields if name not in SAYS]
        if "states" not in fields:
            faults.append(missing("states", SAYS["states"]))
        elif not isinstance(fields["states"], list) or not fields["states"]:
            says = SAYS["states"]
            empty = Fault(("states",), f"states is empty, but must be {says}")
            faults.append(empty if fields["states"] == [] else mistyped("states", fields["states"], says))
        if not isinstance(fields.get("state", False), bool):
            faults.append(mistyped("state", fields["state"], SAYS["state"]))
        if faults:
            raise InvalidInput(faults)
        return fields

    def prepare(self, given: dict[str, Any], reply: ReportReply) -> "MergeJob":
        """See Asked."""
        return MergeJob(self.tasks, given["states"], reply, given.get("state", False) or reply.state_alone)


@dataclass(slots=True)
class MergeJob:
    """See asked.Job. The states have as many `samples` as there are of them."""

    tasks: Mapping[str, Task]
    states: Sequence[Bytes]
    reply: ReportReply
    state: bool
    found: Found = field(init=False)

    @property
    def elements(self) -> int:
        """See asked.Job."""
        return sum(map(len, self.states))

    @property
    def bytes(self) -> int:
        """See asked.Job."""
        return (1 + EXPANDED) * self.elements

    @property
    def samples(self) -> int:
        """See asked.Job."""
        return len(self.states)

    def compute(self, engine: Engine, over: Callable[[], bool], hold: Callable[[int], None]) -> None:
        """See asked.Job. Raises InvalidInput that names the first state which cannot be read or added."""
        state = self.added(over, hold)
        hold(self.bytes + room.reporting(state) + of_groups(state.spec, len(state.groups)))
        self.found = Found(document(state, self.reply), state.spec.dtype)
        if self.state:
            self.found.state = storage.write(state)

    def added(self, over: Callable[[], bool], hold: Callable[[int], None]) -> State:
        """All states as one. `hold` is told what adding each takes, and raises where there is no room for it."""
        found: State | None = None
        for place, content in enumerate(self.states):
            if over():
                raise Cancelled(GIVEN_UP)
            try:
                state = storage.read(content, self.tasks)
                if found is not None:
                    hold(self.bytes + room.adding(found, state))
                found = state if found is None else found + state
            except BadState as error:
                raise refuse("states", f"states[{place}]: {error}", place) from None
        assert found is not None  # noqa: S101 - validate has seen that there is one
        return found

    def encode(self) -> Answer:
        """See asked.Job."""
        return self.reply.encode(self.found)
