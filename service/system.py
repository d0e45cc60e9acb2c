"""What the operating system says of processes and of the memory that there is; 0 where it does not say."""

import os
from pathlib import Path

GROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")


def resident_bytes(process: int) -> int:
    """The memory that a process has in RAM; 0 if it is gone."""
    words = _read(PROC / str(process) / "statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else 0


def memory_bytes(groups: Path = GROUPS, membership: Path = PROC / "self" / "cgroup") -> int:
    """The most memory that this process may have: the least limit of its cgroups (v1 and v2), or all of the machine."""
    found = [_machine()]
    for line in _read(membership).splitlines():
        controllers, _, own = line.partition(":")[2].partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        parts = [part for part in own.split("/") if part and part != ".."]
        limits = [_read(base.joinpath(*parts[:depth], name)).strip() for depth in range(len(parts) + 1)]
        found += [int(limit) for limit in limits if limit.isdecimal()]  # not "max"
    return min(filter(None, found), default=0)


def _machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, ValueError):
        return ""
