"""The worst are the same in any split and order; equal losses are in the order of names."""

import numpy as np
import pytest

from core.errors import BadState
from core.reports.parts import ids as names
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.ids import INTEGER, POSITION, STRING, Ids, text_or_int
from core.reports.parts.worst import Entry, Worst
from tests.core.reports.parts.written import read_again, written
from tests.core.reports.trees import merged, split

LOSSES = (0.0, -0.0, 0.5, 0.5, 2.0, np.inf, np.nan, -np.inf)


def some_ids(rng: np.random.Generator, kind: int, count: int) -> Ids:
    if kind == POSITION:
        return Ids.default("shard", 7)
    numbers = rng.permutation(count) - count // 2
    if rng.random() < 0.5:  # names that several samples have
        numbers = numbers // 4
    if kind == INTEGER:
        return Ids.of(numbers.tolist())
    return Ids.of([f"{'é' * (number % 3)}{number}" for number in numbers.tolist()])


@pytest.mark.parametrize("kind", [INTEGER, STRING, POSITION])
def test_any_split_order_and_tree_of_merges_has_the_same_bytes(kind: int) -> None:
    rng = np.random.default_rng(kind)
    for most in (0, 1, 3, 10, 100):
        for _ in range(40):
            count = int(rng.integers(1, 40))
            losses = rng.choice(LOSSES, count).astype(rng.choice(["float32", "float64"]))
            extras = [rng.integers(-3, 3, count), rng.choice([0.5, np.nan], count)]
            ids = some_ids(rng, kind, count)
            whole = written(Worst.of(most, losses, ids, extras))
            shards = [
                Worst.of(most, losses[chosen], ids.take(chosen), [extra[chosen] for extra in extras])
                for chosen in split(rng, count)
            ]
            assert written(merged(rng, [*shards, Worst(most)])) == whole
            assert written(read_again(Worst, whole, most, 2)) == whole


def test_nan_is_worst_then_infinity_and_equal_ones_are_in_the_order_of_names() -> None:
    losses = np.array([1.0, np.inf, np.nan, 1.0, np.nan, 2.0, 1.0])
    found = Worst.of(5, losses, Ids.of([3, 9, 8, 2, 7, 1, 4]), [])
    assert [text_or_int(entry.id) for entry in found.entries] == [7, 8, 9, 1, 2]


def test_integers_come_before_strings_and_those_before_positions() -> None:
    each = [Ids.default("a", 0), Ids.of(["a:1"]), Ids.of([2**63 - 1]), Ids.of([-(2**63)]), Ids.of(["", "z"])]
    found = Worst(10)
    for ids in each:
        count = 2 if ids.strings and len(ids.strings) == 2 else 1
        found += Worst.of(10, np.ones(count), ids, [])
    assert [text_or_int(entry.id) for entry in found.entries] == [-(2**63), 2**63 - 1, "", "a:1", "z", "a:0"]


def test_positions_are_of_the_shard_then_by_number() -> None:
    ids = Ids.default("b", 9)
    found = Worst.of(3, np.ones(200), ids.take(np.arange(200)[::-1]), [])
    found += Worst.of(1, np.ones(1), Ids.default("a", 50), [])
    assert [text_or_int(entry.id) for entry in found.entries] == ["a:50", "b:9", "b:10"]


def test_samples_of_one_name_are_told_apart_by_everything_known_of_them() -> None:
    """Nothing asks that names be distinct; the bytes are the same all the same."""
    entries = [Entry((INTEGER, "", 1), loss, (extra,)) for loss in (0.0, -0.0) for extra in (1, 2, 1.0)]
    rng = np.random.default_rng(0)
    contents = {
        written(merged(rng, [Worst(4, (entries[place],)) for place in rng.permutation(len(entries))]))
        for _ in range(50)
    }
    assert len(contents) == 1


def _entries(*entries: Entry) -> bytes:
    return written(Worst(len(entries), entries))


def one(loss: float, number: int = 0, extra: float = 1) -> Entry:
    return Entry((INTEGER, "", number), loss, (extra,))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_entries(one(1), one(2)), "order"),
        (_entries(one(1), one(np.nan)), "order"),
        (_entries(one(np.nan), one(1), one(2)), "order"),
        (_entries(one(1, 2), one(1, 1)), "order"),
        (_entries(*[one(1)] * 4), "at most 3"),
        (_entries(Entry((INTEGER, "a", 0), 1, (1,))), "name"),
        (_entries(Entry((STRING, "a", 1), 1, (1,))), "name"),
        (_entries(Entry((POSITION, "a", -1), 1, (1,))), "name"),
        (_entries(Entry((3, "a", 0), 1, (1,))), "name"),
        (_entries(one(1))[:-9] + b"\2" + _entries(one(1))[-8:], "0 or 1"),
        (_entries(one(np.nan, extra=0.5)).replace(b"\xf8\x7f", b"\xf8\xff"), "NaN"),
        (_entries(one(1, extra=np.nan)).replace(b"\xf8\x7f", b"\xf4\x7f"), "NaN"),
    ],
)
def test_what_no_list_of_the_worst_writes_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(BadState, match=says):
        Worst.read(Reader(content), 3, 1)


@pytest.mark.parametrize("name", [(INTEGER, "", -5), (STRING, "\U0001f600é", 0), (POSITION, "", 0), (STRING, "", 0)])
def test_names_are_read_as_they_were_written(name: names.Id) -> None:
    writer = Writer()
    names.write(writer, name)
    assert names.read(Reader(writer.content())) == name
