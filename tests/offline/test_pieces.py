"""What pieces are made of, and how they come: one ahead, in memory that is used again."""

from collections.abc import Iterator
from threading import Event

import numpy as np
import pyarrow as pa
import pytest

from offline.ahead import Ahead
from offline.arrow_columns import Columns
from offline.progress import Progress
from offline.source import Buffers, Filling, Piece, rows_of


def test_the_next_item_is_made_while_one_is_worked_on() -> None:
    made = Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    ahead = Ahead(items())
    found = []
    for item in ahead:
        assert made.wait(60)
        found.append(item)
    ahead.close()
    assert found == [1, 2]


def test_what_making_an_item_raises_is_raised_where_it_is_taken() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    ahead = Ahead(items())
    with pytest.raises(ValueError, match="no second"):
        list(ahead)
    ahead.close()


def test_an_endless_reader_ends_when_it_is_closed() -> None:
    ahead = Ahead(iter(int, 1))
    assert next(iter(ahead)) == 0
    ahead.close()
    assert not ahead._thread.is_alive()


def test_pieces_are_filled_in_memory_that_is_free_again() -> None:
    used = Buffers()
    filling = Filling(10, 17, 4, used)
    assert filling.add({"a": np.arange(3), "ids": ["x", "y", "z"]}) is None
    first = filling.add({"a": np.array([3]), "ids": ["w"]})
    assert first is not None
    assert (first.first, first.rows, first.columns["a"].tolist()) == (10, 4, [0, 1, 2, 3])
    assert (first.columns["ids"], first.bytes) == (["x", "y", "z", "w"], 4 * 8 + 4)
    used.put(first.columns)
    last = filling.add({"a": np.arange(3), "ids": ["x", "y", "z"]})
    assert last is not None
    assert (last.first, last.rows) == (14, 3)
    again = Filling(0, 4, 4, used)
    used.put(first.columns)
    reused = Filling(0, 4, 4, used).add({"a": np.arange(4), "ids": list("abcd")})
    assert reused is not None
    assert reused.columns["a"] is first.columns["a"]
    assert reused.columns["ids"] is not first.columns["ids"]
    assert again.room == 4


def test_a_piece_has_as_many_rows_as_its_scores_allow() -> None:
    logits = {"logits": "logits"}
    assert [rows_of(size, logits) for size in (0, 1, 1024, 2**30)] == [2**19, 2**19, 2**11, 1]
    assert [rows_of(size, {**logits, "ids": "ids"}) for size in (1, 2**20)] == [2**16, 2]


def test_lists_within_lists_have_one_shape() -> None:
    columns = Columns("a.parquet")
    nested = pa.array([[[1.0, 2.0]], [[3.0, 4.0]]], pa.list_(pa.list_(pa.float32())))
    assert columns.convert("logits", nested, 0).shape == (2, 1, 2)
    with pytest.raises(Exception, match=r"^a\.parquet: row 6: logits has 3 entries, but must have 2, as the rows"):
        columns.convert("logits", pa.array([[[1.0, 2.0]], [[1.0, 2.0, 3.0]]]), 5)
    with pytest.raises(Exception, match=r"^a\.parquet: row 9: logits is null"):
        columns.convert("logits", pa.array([[[1.0, 2.0]], [[1.0, None]]]), 8)
    with pytest.raises(Exception, match=r"^a\.parquet: row 4: logits has shape \(2,\), but must have \(1, 2\)"):
        columns.convert("logits", pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), 4)


def test_the_axes_of_a_tensor_stand_in_their_logical_order() -> None:
    kind = pa.fixed_shape_tensor(pa.float32(), [3, 2], permutation=[1, 0])
    column = pa.ExtensionArray.from_storage(kind, pa.array([list(range(6))], pa.list_(pa.float32(), 6)))
    assert Columns("a").convert("logits", column, 0).tolist() == column.to_numpy_ndarray().tolist()


def test_progress_says_rows_rate_and_time_left() -> None:
    times = iter([0.0, 10.0])
    progress = Progress(None, 4000, clock=lambda: next(times))
    progress(Piece(0, 1000, {}, 500_000_000))
    assert progress.line(10.0) == "[######                  ]  25%  1,000 of 4,000 rows  50 MB/s  0:30 left"
    assert progress.line(4000.0).endswith("3:20:00 left")
