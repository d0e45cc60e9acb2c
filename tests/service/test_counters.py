"""Counters at fixed places, of one process or of several."""

import multiprocessing
import os
from typing import Any

import pytest

from service.counters import Layout, Rows, Shared

SPAWN = multiprocessing.get_context("spawn")


def count(shared: Shared, times: int, hold: Any) -> None:
    rows = Rows(3, shared)
    for _ in range(times):
        rows.own[1] += 1
    rows.own[2] = times
    hold.wait(30)


def test_every_combination_of_labels_has_a_place_of_its_own() -> None:
    layout = Layout()
    first, second = layout.family(["a", "b"], range(3)), layout.family([""])
    assert sorted([*first.values(), *second.values()]) == list(range(7)) == list(range(layout.size))
    assert set(first) == {(name, number) for name in "ab" for number in range(3)}


def test_one_process_has_one_row() -> None:
    rows = Rows(2)
    rows.own[1] += 5
    assert [rows.total(0), rows.total(1), rows.latest(1)] == [0, 5, 5]


def test_processes_add_up_and_none_writes_in_the_row_of_another() -> None:
    shared, hold = Shared(SPAWN, 3, 2), SPAWN.Barrier(4)
    children = [SPAWN.Process(target=count, args=(shared, times, hold)) for times in (10, 200, 3000)]
    for child in children:
        child.start()
    hold.wait(30)
    for child in children:
        child.join(30)
    rows = Rows(3, shared)
    assert [rows.total(0), rows.total(1), rows.latest(2)] == [0, 3210, 3000]


def test_the_row_of_a_process_that_has_ended_is_gone_on_with() -> None:
    shared, hold = Shared(SPAWN, 3, 1), SPAWN.Barrier(1)
    for _ in range(2 * shared.count):
        child = SPAWN.Process(target=count, args=(shared, 1, hold))
        child.start()
        child.join(30)
    assert Rows(3, shared).total(1) == 2 * shared.count


def test_a_process_of_another_user_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, signal: int) -> None:
        raise PermissionError

    shared = Shared(SPAWN, 1, 1)
    assert shared.claim() == 0
    monkeypatch.setattr(os, "kill", refuse)
    assert shared.claim() == 1
