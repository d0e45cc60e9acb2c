"""How far a run is, on one line of a terminal that is written anew."""

import time
from collections.abc import Callable
from typing import TextIO

from offline.source import Piece

WIDTH = 24  # of the bar, in characters
EVERY_SECONDS = 0.2
CLEAR = "\r\x1b[K"


class Progress:
    """A bar on `out`, or, without, nothing. `rows` is how many there will be."""

    def __init__(self, out: TextIO | None, rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._total, self._clock = out, rows, clock
        self._rows = self._bytes = 0
        self._start = clock()
        self._shown = float("-inf")

    def __call__(self, piece: Piece) -> None:
        """Count a piece that is done."""
        self._rows += piece.rows
        self._bytes += piece.bytes
        now = self._clock()
        if self._out and (now - self._shown >= EVERY_SECONDS or self._rows == self._total):
            self._shown = now
            self._out.write(CLEAR + self.line(now - self._start))
            self._out.flush()

    def line(self, seconds: float) -> str:
        """What is said after `seconds`."""
        share = self._rows / max(1, self._total)
        bar = ("#" * int(share * WIDTH)).ljust(WIDTH)
        rate = self._bytes / 1e6 / max(seconds, 1e-9)
        left = seconds * (self._total - self._rows) / max(1, self._rows)
        rows = f"{self._rows:,} of {self._total:,} rows"
        return f"[{bar}] {share:4.0%}  {rows}  {rate:,.0f} MB/s  {_clock_time(left)} left"

    def end(self) -> None:
        """Say in the bar's place what was done in all."""
        if self._out:
            seconds = max(self._clock() - self._start, 1e-9)
            rates = f"{self._rows / seconds:,.0f} rows/s  {self._bytes / 1e6 / seconds:,.0f} MB/s"
            self._out.write(f"{CLEAR}{self._rows:,} rows in {seconds:,.1f} s  {rates}\n")
            self._out.flush()
            self._out = None

    def close(self) -> None:
        """Take the bar away, if it is there still: what follows stands alone."""
        if self._out and self._rows:
            self._out.write(CLEAR)
            self._out.flush()


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
