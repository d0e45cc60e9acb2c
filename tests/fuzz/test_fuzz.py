"""A slice of the fuzzing, the same every time unless FUZZ_SEED says otherwise; `make fuzz` and `make soak` run longer,
with a seed of their own, and watch time and memory too."""

import asyncio
import os

from tests.fuzz.__main__ import run


def test_mutated_requests_are_answered_or_refused() -> None:
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    report = asyncio.run(run(1500, seed))
    assert not report.failures, (seed, report.failures[:3])
    # The mutations must reach both sides, or they test little.
    assert report.statuses[200] > 25
    assert report.statuses[400] > 25
    assert report.statuses[422] > 25
