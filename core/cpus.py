"""How many CPUs this process may use: its affinity and its cgroup's quota, never the host's core count."""

import os
from pathlib import Path


def _read(file: Path) -> list[str]:
    try:
        return file.read_text("ascii").split()
    except (OSError, ValueError):
        return []


def _number(words: list[str], place: int) -> float:
    try:
        return float(words[place])
    except (IndexError, ValueError):  # not there, or the word "max"
        return 0.0


def _folders(groups: Path, own: str) -> list[Path]:
    """The folder of the cgroup `own` and of every group that holds it: each may set a quota."""
    parts = [part for part in own.split("/") if part and part != ".."]
    return [groups.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def quota(groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """The least CPU quota of this process's cgroups, in CPUs; None where there is none (cgroup v1 and v2)."""
    found = []
    for line in _read(membership):
        _, _, rest = line.partition(":")
        controllers, _, own = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in _folders(groups / "cpu" if controllers else groups, own):
            limit = _read(folder / "cpu.max")
            used, period = _number(limit, 0), _number(limit, 1)
            if not limit:
                used = _number(_read(folder / "cpu.cfs_quota_us"), 0)
                period = _number(_read(folder / "cpu.cfs_period_us"), 0)
            if used > 0 and period > 0:
                found.append(used / period)
    return min(found, default=None)


def affinity() -> int:
    """The number of CPUs that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(wanted: int = 0) -> int:
    """`wanted` threads, or for 0 as many as there are whole CPUs to run them on, at least one."""
    if wanted:
        return wanted
    allowed = quota()
    return max(1, min(affinity(), int(allowed) if allowed else affinity()))
