"""What every test may use: one engine for the session, and each measure in turn."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from core.declare import Measure
from core.engine import Engine
from core.measures import MEASURES

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine on the CPU with two threads."""
    made = Engine(MEASURES.values(), device="cpu", threads=2)
    yield made
    made.close()


@pytest.fixture(params=MEASURES.values(), ids=lambda measure: measure.name)
def measure(request: pytest.FixtureRequest) -> Measure:
    """Each measure: a test that takes this runs once for each."""
    found: Measure = request.param
    return found
