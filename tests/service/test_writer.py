"""Long answers are written in slices, to the same text as in one."""

import numpy as np
import orjson
import pytest

from core.rules import Array
from service.wire import writer


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (9,), (100,), (5, 3), (3, 20), (1, 30), (4, 5, 3), (10, 0), (0,)])
@pytest.mark.parametrize("odd", [[], [np.nan], [np.nan, np.inf, -np.inf]])
def test_slices_come_to_the_text_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], odd: list[float]
) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    for place, value in enumerate(odd):
        values.flat[place :: 5 + place] = value
    whole = writer.dump(writer.array(values))
    written: list[int] = []
    lists = writer._lists

    def noted(part: Array) -> bytes:
        written.append(part.size)
        return lists(part)

    monkeypatch.setattr(writer, "_SLICE", 8)
    monkeypatch.setattr(writer, "_lists", noted)
    assert writer.dump(writer.array(values)) == whole
    assert sum(written) == values.size
    assert len(written) == 1 or max(written) <= max(8, values.size // len(values))
    words = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
    flat = np.array([words.get(entry, entry) for entry in np.array(orjson.loads(whole), object).ravel()], np.float32)
    np.testing.assert_array_equal(flat.reshape(shape), values)
