"""Compressed arrays of archives are read a few rows at a time, in any order, and what is damaged is said to be."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.rules import Array
from offline import packed, source
from offline.errors import Unreadable
from offline.npz import Npz
from offline.packed import Packed
from tests.offline.conftest import Lossmeter
from tests.offline.files import multiclass, npz

ROWS = 300
VALUES = np.random.default_rng(3).standard_normal((ROWS, 2, 5))


def of(path: Path, values: Array = VALUES) -> Packed:
    """`values` in an archive."""
    np.savez_compressed(path / "a.npz", values=values)
    found = Npz(str(path / "a.npz")).array("values")
    assert isinstance(found, Packed)
    return found


@pytest.mark.parametrize(
    "order", [[(0, 300)], [(0, 7), (7, 150), (150, 300)], [(200, 210), (3, 4), (290, 300), (0, 9)]]
)
def test_rows_are_those_of_the_array(
    tmp_path: Path, order: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "SKIPPED_BYTES", 64)
    found = of(tmp_path)
    assert (found.shape, len(found), found.ndim) == (VALUES.shape, ROWS, 3)
    for start, stop in order:
        np.testing.assert_array_equal(found[start:stop], VALUES[start:stop])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0,)])
def test_there_may_be_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert of(tmp_path, np.zeros(shape))[0 : shape[0]].shape == shape


def test_no_more_is_read_at_once_than_a_piece_has(
    lossmeter: Lossmeter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    npz(tmp_path / "a.npz", multiclass(2000), compressed=True)
    assert lossmeter("report", "a.npz", "--task", "multiclass", "--state-out", "whole") == 0
    read, sizes = zipfile.ZipExtFile.read, []

    def watched(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        sizes.append(n)
        return read(self, n)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    monkeypatch.setattr(source, "ELEMENTS", 70)
    assert lossmeter("report", "a.npz", "--task", "multiclass", "--state-out", "state") == 0
    assert max(size if size and size >= 0 else 10**9 for size in sizes) <= 10 * 7 * 4
    assert (tmp_path / "state").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_checksum_that_is_wrong_is_found(tmp_path: Path) -> None:
    found = of(tmp_path)
    found._member.CRC ^= 1
    found[0 : ROWS - 1]
    with pytest.raises(Unreadable, match=r"a\.npz: values: Bad CRC-32"):
        found[ROWS - 1 : ROWS]


@pytest.mark.parametrize(("rows", "says"), [(ROWS + 1, "there is less than"), (ROWS - 1, "there is more than")])
def test_a_member_has_as_many_rows_as_it_says(tmp_path: Path, rows: int, says: str) -> None:
    found = of(tmp_path)
    found.shape = (rows, *found.shape[1:])
    with pytest.raises(Unreadable, match=says):
        found[0:rows]
