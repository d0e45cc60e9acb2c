"""Looks the locked packages up among known vulnerabilities, with pip-audit: `python scripts/audit.py PIP_AUDIT`.

Exits with 1 where one is known. Where the data cannot be reached it says so, and that nothing was audited.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = ("serve", "cuda", "test")


def judge(lock: str, output: str, error: str) -> tuple[bool, list[str]]:
    """Whether something is known of a lock's packages, and lines that say what; from what pip-audit wrote."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, LookupError):
        reason = error.strip().rpartition("\n")[2] or "pip-audit said nothing"
        return False, [f"{lock}: NOT AUDITED, the data cannot be reached: {reason[:300]}"]
    known = [
        f"{lock}: {package['name']} {package['version']} has {found['id']}, mended in {found['fix_versions']}"
        for package in packages
        for found in package.get("vulns", [])
    ]
    looked_up = sum("skip_reason" not in package for package in packages)
    if not looked_up:
        return False, [f"{lock}: NOT AUDITED, none of its {len(packages)} packages is known where the data is"]
    return bool(known), [
        *known,
        f"{lock}: {looked_up} of {len(packages)} packages looked up, {len(known)} known to be bad",
    ]


def main(pip_audit: str) -> int:
    """Audit every lock. The exit code."""
    bad = False
    for lock in LOCKS:
        file = ROOT / "requirements" / f"{lock}.txt"
        command = [pip_audit, "--requirement", str(file), "--disable-pip", "--require-hashes", "--format", "json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)  # noqa: S603
            output, error = done.stdout, done.stderr
        except (OSError, subprocess.TimeoutExpired) as failure:
            output, error = "", str(failure)
        found, lines = judge(lock, output, error)
        bad |= found
        print("\n".join(lines), flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
