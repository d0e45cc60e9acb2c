"""What can be asked for at a path, and what the way from a body to an answer asks of it: to check, compute, encode."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from core.engine import Engine

from service.exchange import Answer, Reply

ReplyT = TypeVar("ReplyT", bound=Reply, contravariant=True)


class Job(Protocol):
    """One request that was found good."""

    @property
    def elements(self) -> int:
        """How much there is to compute and to write."""

    @property
    def bytes(self) -> int:
        """What that takes beside the body."""

    @property
    def samples(self) -> int:
        """How many it was computed of, once it is."""

    def compute(self, engine: Engine, over: Callable[[], bool], hold: Callable[[int], None]) -> None:
        """Compute, until `over` says that nobody waits any more. The body may be gone afterwards. `hold` is told what
        all of it takes, with the body, where that was not known before. Raises Cancelled, another CoreError or Problem.
        """

    def encode(self) -> Answer:
        """The answer of what was computed. Raises Problem where it would be too long."""


class Asked(Protocol[ReplyT]):
    """A loss, a report on one task, a merge of reports."""

    @property
    def name(self) -> str:
        """By which it is counted."""

    @property
    def at_once(self) -> bool:
        """Whether the event loop computes what is small."""

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a request if every name and scalar type is right. Raises InvalidInput."""

    def prepare(self, given: dict[str, Any], reply: ReplyT) -> Job:
        """What there is to compute of `given`, once it is checked, for an answer by `reply`. Raises InvalidInput or
        Problem."""
