"""States that were written once are still read, and say what they said then."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.reports import storage
from core.reports.report import report
from core.reports.tasks import TASKS
from tests.core.reports.make_golden import FOLDER, plain

STATES = sorted(FOLDER.glob("*.state"))


def leaves(value: Any, *where: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Everything in a document that holds nothing more, and where it stands."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if not members:
        yield where, value
    else:
        for name, member in members:
            yield from leaves(member, *where, name)


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_a_state_that_is_kept_is_still_read(path: Path) -> None:
    content = path.read_bytes()
    state = storage.read(content, TASKS)
    assert storage.write(state) == content
    found, kept = dict(leaves(plain(report(state)))), dict(leaves(json.loads(path.with_suffix(".json").read_text())))
    numbers = {where: value for where, value in kept.items() if isinstance(value, float)}
    assert {where: found.pop(where) for where in numbers} == pytest.approx(numbers, rel=1e-12, nan_ok=True)
    assert found == {where: value for where, value in kept.items() if where not in numbers}


def test_there_is_one_of_each_task() -> None:
    assert {storage.read(path.read_bytes(), TASKS).task.name for path in STATES} == set(TASKS)


def test_they_stand_one_after_another_in_one_file() -> None:
    contents = [path.read_bytes() for path in STATES]
    assert [bytes(one) for one in storage.split(b"".join(contents))] == contents
