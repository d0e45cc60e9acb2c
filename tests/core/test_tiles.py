"""Blocks cover the samples once, in order, and run on any number of threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Cancelled
from core.tiles import Block, plan, run


@given(st.lists(st.integers(1, 9), max_size=4), st.integers(1, 50))
def test_blocks_take_every_sample_once_and_in_order(shape: list[int], most: int) -> None:
    numbers = np.arange(prod(shape)).reshape(shape)
    blocks = plan(shape, most)
    taken = [numbers[block.index].reshape(-1) for block in blocks]
    assert [len(part) for part in taken] == [block.stop - block.start for block in blocks]
    assert np.concatenate(taken).tolist() == list(range(prod(shape)))
    assert all(len(part) <= most for part in taken)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), st.integers(1, 50), st.sampled_from([2, 4, 64]))
def test_blocks_are_cut_at_multiples(shape: list[int], most: int, multiple: int) -> None:
    blocks = plan(shape, most, multiple)
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == prod(shape)
    assert all(block.stop - block.start <= most for block in blocks)
    if len(shape) == 1 and most >= multiple:
        assert all(block.start % multiple == 0 for block in blocks)


def test_a_small_batch_is_one_block() -> None:
    assert plan((3, 4), 12) == [Block(0, 12, (slice(0, 3),))]
    assert plan((), 1) == [Block(0, 1, ())]


def test_one_block_runs_on_the_calling_thread() -> None:
    ran = []
    with ThreadPoolExecutor(1) as helpers:
        run(plan((5,), 9), lambda block: ran.append(threading.get_ident()), helpers, 2)
    assert ran == [threading.get_ident()]


def test_one_block_wakes_no_helper() -> None:
    helpers = ThreadPoolExecutor(1)
    helpers.shutdown()  # whatever is submitted from here on raises
    ran: list[Block] = []
    run(plan((5,), 9), ran.append, helpers, 2)
    assert len(ran) == 1
    with pytest.raises(Cancelled):
        run(plan((5,), 9), ran.append, helpers, 2, lambda: True)


def test_helpers_take_their_share() -> None:
    meeting = threading.Barrier(2, timeout=30)  # two blocks must run at the same time to pass it
    ran = []

    def work(block: Block) -> None:
        meeting.wait()
        ran.append(threading.get_ident())

    with ThreadPoolExecutor(1) as helpers:
        run(plan((2,), 1), work, helpers, 2)
    assert len(set(ran)) == 2


def test_busy_helpers_are_not_waited_for() -> None:
    release, ran = threading.Event(), []
    with ThreadPoolExecutor(1) as helpers:
        helpers.submit(release.wait, 30)
        run(plan((6,), 1), lambda block: ran.append(block.start), helpers, 2)
        release.set()
    assert ran == [0, 1, 2, 3, 4, 5]


def test_cancelled_stops_between_blocks() -> None:
    ran: list[int] = []
    with pytest.raises(Cancelled):
        run(plan((10,), 1), lambda block: ran.append(block.start), None, 1, lambda: len(ran) == 3)
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_any_block_is_raised_when_all_threads_are_done(failing: int) -> None:
    meeting = threading.Barrier(2, timeout=30)

    def work(block: Block) -> None:
        meeting.wait()
        if block.start == failing:
            raise ZeroDivisionError

    with ThreadPoolExecutor(1) as helpers, pytest.raises(ZeroDivisionError):
        run(plan((2,), 1), work, helpers, 2)
