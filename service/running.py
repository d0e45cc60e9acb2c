"""What serves between start and stop."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from core.engine import Engine

from service.problems import unavailable


@dataclass
class Running:
    """What exists between start and stop: None of it before the engine is ready."""

    engine: Engine | None = None
    workers: ThreadPoolExecutor | None = None
    draining: bool = False  # it will stop: probes say so, and all else is still answered
    giving_up: bool = False  # it stops now: whatever runs still is to end

    def wanted(self) -> None:
        """Raise Problem (503) unless further requests should come here: what readiness probes ask."""
        self.ready()
        if self.draining:
            raise unavailable("the service is stopping")

    def live(self) -> None:
        """Raise Problem (503) if only a start anew helps: what liveness probes ask."""
        if self.engine is not None and self.engine.card is not None and self.engine.card.failed:
            raise unavailable(self.engine.card.failed)

    def ready(self) -> tuple[Engine, ThreadPoolExecutor]:
        """Both. Raises Problem (503) before they are there."""
        if self.engine is None or self.workers is None:
            raise unavailable("the service is starting")
        self.live()
        return self.engine, self.workers
