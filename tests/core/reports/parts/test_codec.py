"""Primitives are read as they were written, and nothing else is read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadState
from core.reports.parts.codec import MOST_TEXT, Reader, Writer


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.booleans(),
)
def test_what_is_written_is_read(small: int, count: int, number: int, value: float, text: str, flag: bool) -> None:
    writer = Writer()
    writer.u8(small)
    writer.u32(count)
    writer.i64(number)
    writer.f64(value)
    writer.text(text)
    writer.u8(flag)
    writer.array(np.array([number]), "<i8")
    reader = Reader(writer.content())
    assert (reader.u8(), reader.u32(), reader.i64()) == (small, count, number)
    found = reader.f64()
    assert found == value or (math.isnan(found) and math.isnan(value))
    assert reader.text() == text
    assert reader.flag() == flag
    assert reader.array("<i8", 1).tolist() == [number]
    reader.end()


def test_every_nan_is_written_as_one_and_no_other_is_read() -> None:
    contents = set()
    for bits in (0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001):
        writer = Writer()
        writer.f64(float(np.array(bits, np.uint64).view(np.float64)))
        contents.add(writer.content())
    assert len(contents) == 1
    for bits in (0xFFF8000000000000, 0x7FF0000000000001):
        with pytest.raises(BadState, match="NaN"):
            Reader(bits.to_bytes(8, "little")).f64()


@pytest.mark.parametrize(
    ("content", "read", "says"),
    [
        (b"", Reader.u8, "1 bytes are wanted, but 0 are left"),
        (b"\2", Reader.flag, "0 or 1"),
        (b"123", Reader.u32, "4 bytes are wanted, but 3"),
        (b"1234567", Reader.i64, "8 bytes"),
        (b"1234567", Reader.f64, "8 bytes"),
        (b"\5\0\0\0abcd", Reader.text, "5 bytes are wanted"),
        (b"\2\0\0\0\xff\xff", Reader.text, "not UTF-8"),
        (b"\3\0\0\0\xed\xa0\x80", Reader.text, "not UTF-8"),  # half of a surrogate pair
        (b"\2\0\0\0\xc0\x80", Reader.text, "not UTF-8"),  # two bytes for NUL
        ((MOST_TEXT + 1).to_bytes(4, "little"), Reader.text, f"at most {MOST_TEXT}"),
        (b"1234567", lambda reader: reader.array("<u4", 2), "8 bytes"),
        (b"", lambda reader: reader.array("<u8", 2**62), "bytes are wanted"),
        (b"1", Reader.end, "1 bytes more"),
    ],
)
def test_what_cannot_be_is_refused(content: bytes, read: object, says: str) -> None:
    assert callable(read)
    with pytest.raises(BadState, match=says):
        read(Reader(content))
