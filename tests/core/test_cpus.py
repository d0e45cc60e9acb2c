"""Threads come from affinity and cgroup quotas."""

import os
from pathlib import Path

import pytest

from core import cpus


def group(root: Path, name: str, **files: str) -> None:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)


def membership(root: Path, text: str) -> Path:
    (root / "membership").write_text(text)
    return root / "membership"


def test_version_2_takes_the_least_quota_up_to_the_root(tmp_path: Path) -> None:
    group(tmp_path, "a", cpu__max="300000 100000\n")
    group(tmp_path, "a/b", cpu__max="max 100000\n")
    group(tmp_path, "a/b/c", cpu__max="900000 100000\n")
    assert cpus.quota(tmp_path, membership(tmp_path, "0::/a/b/c\n")) == 3.0


def test_version_1_takes_its_quota(tmp_path: Path) -> None:
    group(tmp_path, "cpu/a", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    lines = "5:memory:/a\n3:cpu,cpuacct:/a\n"
    assert cpus.quota(tmp_path, membership(tmp_path, lines)) == 0.5


@pytest.mark.parametrize("text", ["", "0::/nowhere\n", "0::/../odd\n", "nonsense\n"])
def test_no_quota_is_none(tmp_path: Path, text: str) -> None:
    group(tmp_path, "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert cpus.quota(tmp_path, membership(tmp_path, text)) is None
    assert cpus.quota(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("affinity", "quota", "threads"), [(8, None, 8), (8, 2.7, 2), (2, 4.0, 2), (8, 0.5, 1), (1, None, 1)]
)
def test_threads_are_the_least_of_both(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, threads: int
) -> None:
    monkeypatch.setattr(cpus, "affinity", lambda: affinity)
    monkeypatch.setattr(cpus, "quota", lambda: quota)
    assert cpus.threads() == threads
    assert cpus.threads(5) == 5


def test_affinity_is_the_schedulers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cpus.affinity() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cpus.affinity() == (os.cpu_count() or 1)
