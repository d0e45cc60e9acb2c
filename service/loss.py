"""What is asked for by name on /v1/losses and as a model on /v2: a loss, or the columns of a report."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, Protocol

from core.check import Batch, prepare
from core.declare import Measure
from core.engine import Engine
from core.reduction import Result, reduce

from service import schemas
from service.exchange import Answer, Reply
from service.memory import LARGE, discard

WRITTEN = 8  # elements that can be computed while one is written as JSON


class LossReply(Reply, Protocol):
    """How the answer with a loss is written."""

    def require_room(self, samples: tuple[int, ...], *, per_sample: bool) -> None:
        """Raise Problem if an answer for `samples` cannot be written, so that it is not computed."""

    def encode(self, result: Result, *, per_sample: bool) -> Answer:
        """The answer. Raises Problem where it would be too long."""


class Loss:
    """See Asked."""

    at_once: ClassVar[bool] = True

    def __init__(self, measure: Measure, most_elements: int) -> None:
        self.measure, self.most_elements, self.name = measure, most_elements, measure.name
        self.model = schemas.request_model(measure)

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        """See Asked."""
        return schemas.validate(self.model, self.measure, fields)

    def prepare(self, given: dict[str, Any], reply: LossReply) -> "LossJob":
        """See Asked."""
        per_sample, dtype = given.pop("per_sample", True), given.pop("dtype", "float32")
        batch = prepare(self.measure, given, dtype=dtype, max_elements=self.most_elements)
        reply.require_room(batch.plan.samples, per_sample=per_sample)
        return LossJob(batch, reply, per_sample)


@dataclass(slots=True)
class LossJob:
    """See Job."""

    batch: Batch
    reply: LossReply
    per_sample: bool
    result: Result = field(init=False)

    @property
    def elements(self) -> int:
        """See Job."""
        written = WRITTEN * prod(self.batch.plan.samples) if self.per_sample else 0
        return written + max(array.size for array in self.batch.arrays.values())

    @property
    def bytes(self) -> int:
        """See Job."""
        return self.batch.plan.result_bytes * (2 if self.per_sample else 1)  # the answer is made beside them

    @property
    def samples(self) -> int:
        """See Job."""
        return int(self.result.totals["count"] + self.result.totals["ignored"])

    def compute(self, engine: Engine, over: Callable[[], bool], hold: Callable[[int], None]) -> None:
        """See Job."""
        self.result = reduce(self.batch, engine.per_sample(self.batch, over))

    def encode(self) -> Answer:
        """See Job."""
        answer = self.reply.encode(self.result, per_sample=self.per_sample)
        answer.device = self.result.device
        if self.batch.plan.result_bytes > LARGE:
            for values in self.result.outputs.values():
                discard(values)
        return answer
