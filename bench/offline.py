"""How fast `lossmeter report` goes through a file of logits, and in how much memory: `python -m bench.offline FILE`.

The two halves of the file are then reported on by themselves, and merged: that must give the same bytes as the whole.
`--gigabytes N` makes the file first and removes it at the end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAM = (sys.executable, "-m", "service")


@dataclass(frozen=True)
class Run:
    """What a run took: wall seconds, seconds of processors, and bytes of memory at most."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def line(self, name: str, size: int) -> str:
        """The run in a line, of a file of `size` bytes."""
        rates = f"{size / 1e6 / self.seconds:6,.0f} MB/s, {size / 1e6 / self.cpu_seconds:6,.0f} MB/s a core"
        return f"{name:8} {self.seconds:7.2f} s {self.cpu_seconds:7.2f} CPU s {rates}, {self.peak_bytes / 1e6:5,.0f} MB"


def run(*arguments: str) -> Run:
    """Run `lossmeter` with these arguments. Raises CalledProcessError."""
    start = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def make(path: str, gigabytes: float, nullable: bool) -> None:
    """Make the file in a process of its own: what memory this one has taken would count as that of those it starts."""
    more = ["--nullable"] if nullable else []
    subprocess.run([sys.executable, "-m", "bench.make_parquet", *more, str(gigabytes), path], check=True)


def measure(path: str, folder: Path, threads: int) -> bool:
    """Print what a run over `path`, and over its halves, takes; whether both give the same bytes."""
    size = os.path.getsize(path)
    whole, merged, halves = folder / "whole", folder / "merged", [folder / "1", folder / "2"]
    common = ("report", path, "--task", "multiclass", "--threads", str(threads))
    print(run(*common, "--state-out", str(whole)).line("whole", size))
    for number, half in enumerate(halves, 1):
        shard = ("--shard", f"{number}/{len(halves)}")
        print(run(*common, *shard, "--state-out", str(half)).line(f"half {number}", size // len(halves)))
    run("merge", *map(str, halves), "--state-out", str(merged))
    return whole.read_bytes() == merged.read_bytes()


def main() -> int:
    """See this module. 1 where the bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--nullable", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    found = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = found.file or os.path.join(folder, "made.parquet")
        if not found.file:
            make(path, found.gigabytes, found.nullable)
        same = measure(path, Path(folder), found.threads)
    print("the halves merged are the whole" if same else "the halves merged DIFFER from the whole")
    return not same


if __name__ == "__main__":
    sys.exit(main())
