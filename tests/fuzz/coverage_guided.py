"""python -m tests.fuzz.coverage_guided RUNS [SEED]: atheris, which keeps the inputs that reach new code, on decoders.

Every input must decode and be checked, or be refused as Problem or CoreError, within a second and 256 MiB. What breaks
is written to a file crash-..., timeout-... or oom-... in this folder. With KEEP=1 the inputs worth keeping are written
to tests/fuzz/corpus.json.gz, which every run begins with and the tests read. atheris is in no requirement of the tests:
`make soak` installs it.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.corpus import kept, write
from tests.fuzz.decoders import seed_inputs
from tests.fuzz.mutations import WORDS

LIMITS = ["-max_len=4096", "-timeout=1", "-malloc_limit_mb=256", "-rss_limit_mb=1024", "-print_final_stats=1"]
PORTION = 2_000_000  # runs of one process: atheris itself leaks 300 bytes a run (the decoders, without it, none)


def fuzz(command: Path, *flags: str) -> int:
    """The exit code of libFuzzer with these flags."""
    return subprocess.run([command, *LIMITS, *flags], check=False).returncode


def fill(folder: Path) -> None:
    """Begin with good requests and with what was kept."""
    for number, data in enumerate([*seed_inputs(), *kept()]):
        (folder / f"input{number}").write_bytes(data)


def run(runs: int, seed: int) -> int:
    """Fuzz until `runs` inputs are decoded. The exit code: 0 if all was well."""
    with TemporaryDirectory() as found, TemporaryDirectory() as merged, TemporaryDirectory() as more:
        fill(Path(found))
        dictionary = Path(more) / "words"
        words = {word.encode("ascii", "ignore").decode() for word in WORDS}
        dictionary.write_text("".join(f'"\\"{word}\\""\n' for word in sorted(words) if word.isidentifier()))
        command = Path(more) / "fuzz"  # for libFuzzer, which merges by starting itself
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.fuzz.instrumented "$0" "$@"\n')
        command.chmod(0o755)
        for number, done in enumerate(range(0, runs, PORTION)):
            more_runs = f"-runs={min(PORTION, runs - done)}"
            failed = fuzz(command, more_runs, f"-seed={seed + number}", f"-dict={dictionary}", found)
            if failed:
                return failed
        if os.environ.get("KEEP"):
            fuzz(command, "-merge=1", merged, found)
            write([path.read_bytes() for path in sorted(Path(merged).iterdir())])
    return 0


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), "little")
    print(f"coverage-guided fuzz: {sys.argv[1]} runs, seed {chosen}", flush=True)
    sys.exit(run(int(sys.argv[1]), chosen))
