"""A report on one task, as it is asked for: checked, computed, answered with what is wanted of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import frexp
from typing import Any, ClassVar, Protocol

import numpy as np
from core.engine import Engine
from core.errors import Cancelled
from core.reports import storage
from core.reports.declare import Task
from core.reports.prepare import Job, prepare
from core.reports.report import report
from core.reports.spec import Spec
from core.reports.state import State, gather
from core.rules import Array
from core.tiles import GIVEN_UP

from service import report_schemas, schemas
from service.exchange import Answer, Reply
from service.wire.reports import Found

# Bytes of memory beside the columns, above what was measured: for each sample, and again where there are groups; for
# each target, each class of each group, each group; for each score, where every one of them is looked at. Weights take
# more of each but the groups, for each 32 bits of the range that exact sums of them span. Any report takes some.
OF_SAMPLE, OF_TARGET, OF_CLASS, OF_GROUP, OF_SCORE = 192, 32, 160, 2**17, 112
OF_LIMB_BY_SAMPLE, OF_LIMB_BY_TARGET, OF_LIMB_BY_CLASS, OF_LIMB_BY_SCORE = 128, 16, 12, 32
OF_ANY = 2**22
FLOAT_BITS = 53


class ReportReply(Reply, Protocol):
    """How a report is written."""

    @property
    def state_alone(self) -> bool:
        """Whether the state is all of the answer."""

    def require_room(self, shapes: list[tuple[int, ...]]) -> None:
        """Raise Problem if columns of these shapes cannot be written, so that they are not computed."""

    def encode(self, found: Found) -> Answer:
        """The answer. Raises Problem where it would be too long."""


def of_groups(spec: Spec, groups: int) -> int:
    """The bytes that the sums of so many groups and the numbers of their report take at most."""
    return (groups + 1) * (OF_GROUP + OF_CLASS * spec.classes)


def limbs(weight: Array | None) -> int:
    """How many times 32 bits exact sums of these weights, and of their squares, span; 0 where there are none."""
    if weight is None:
        return 0
    some = weight[weight > 0]
    low, high = (frexp(end)[1] for end in (some.min(initial=1.0), some.max(initial=1.0)))
    return int(2 * (high - low) + FLOAT_BITS) // 32 + 2


def reserved(job: Job, *, columns: bool) -> int:
    """The bytes that a report takes beside its body at most; `columns` says whether those are answered."""
    arrays, size, classes = job.batch.arrays, job.size, job.spec.classes
    groups = 0 if job.groups is None else len(set(job.groups))
    targets, scores = arrays["targets"].size, arrays[job.spec.scores].size if job.spec.metrics else 0
    found = job.batch.plan.result_bytes * (3 if columns else 2) + of_groups(job.spec, groups)
    found += OF_SAMPLE * size * (2 if groups else 1) + OF_TARGET * targets + OF_SCORE * scores
    by_class = OF_LIMB_BY_CLASS * classes * (groups + 1)
    of_limb = OF_LIMB_BY_SAMPLE * size + OF_LIMB_BY_TARGET * targets + by_class + OF_LIMB_BY_SCORE * scores
    return int(OF_ANY + found + limbs(job.weight) * of_limb)


def document(state: State, reply: ReportReply) -> dict[str, Any]:
    """The report of `state`, if that is wanted."""
    return {} if reply.state_alone else report(state)


class Report:
    """See Asked."""

    at_once: ClassVar[bool] = False  # the smallest takes 3 ms

    def __init__(self, task: Task, most_elements: int) -> None:
        self.task, self.most_elements, self.name = task, most_elements, task.name
        self.model, self.says = report_schemas.request_model(task), report_schemas.says(task)

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        """See Asked."""
        return schemas.validate(self.model, self.task.request, fields, self.says)

    def prepare(self, given: dict[str, Any], reply: ReportReply) -> "ReportJob":
        """See Asked."""
        columns, state = given.pop("columns", False), given.pop("state", False)
        dtype = given.pop("dtype", "float32")
        job = prepare(self.task, given, dtype=dtype, max_elements=self.most_elements)
        if columns:
            reply.require_room([job.batch.plan.samples] * len(self.task.columns.outputs))
        return ReportJob(job, reply, columns and not reply.state_alone, state or reply.state_alone)


@dataclass(slots=True)
class ReportJob:
    """See asked.Job."""

    job: Job
    reply: ReportReply
    columns: bool  # whether they are wanted
    state: bool
    found: Found = field(init=False)
    device: str = field(init=False)

    @property
    def elements(self) -> int:
        """See asked.Job."""
        return sum(array.size for array in self.job.batch.arrays.values())

    @property
    def bytes(self) -> int:
        """See asked.Job."""
        return reserved(self.job, columns=self.columns)

    @property
    def samples(self) -> int:
        """See asked.Job."""
        return self.job.size

    def compute(self, engine: Engine, over: Callable[[], bool], hold: Callable[[int], None]) -> None:
        """See asked.Job."""
        plan = self.job.batch.plan
        values = engine.per_sample(self.job.batch, over)
        state = gather(self.job, values)
        if over():
            raise Cancelled(GIVEN_UP)
        self.found, self.device = Found(document(state, self.reply), np.dtype(plan.dtype).name), values.device
        if self.columns:
            outputs = self.job.task.columns.outputs
            self.found.columns = {name: values.arrays[name].reshape(plan.samples) for name in outputs}
        if self.state:
            self.found.state = storage.write(state)

    def encode(self) -> Answer:
        """See asked.Job."""
        answer = self.reply.encode(self.found)
        answer.device = self.device
        return answer
