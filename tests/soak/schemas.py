"""python -m tests.soak.schemas CASES [SEED]: schemathesis asks a running service what its OpenAPI document allows,
and what it forbids, CASES times an operation, and judges the answers by the document. How often each was really asked
is printed: where there is nothing to vary, schemathesis soon has no more cases.

Wrong are a server error, a body that was to be refused and was not, and a status, media type, header or body that the
document does not have. `make soak` installs schemathesis beside the tests' own packages, in .venv-soak; SCHEMATHESIS
names another command.
"""

import os
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.soak.served import started

COMMAND = os.environ.get("SCHEMATHESIS", ".venv-soak/bin/schemathesis")
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
ROOT = Path(__file__).parents[2]


def run(cases: int, seed: int) -> int:
    """The exit code: 0 if all was well."""
    phases = "examples,coverage,fuzzing,stateful"
    # One worker: CPython 3.11 cannot compile in several threads at once what hypothesis compiles.
    how = ["--workers=1", f"--max-examples={cases}", f"--seed={seed}", f"--phases={phases}", "--continue-on-failure"]
    how += ["--generation-database=none"]  # no case is to be read from a file instead of drawn
    command = str(Path(COMMAND).absolute()) if "/" in COMMAND else COMMAND
    with started() as served, TemporaryDirectory() as folder:  # where it leaves reports and examples
        document = f"http://{served.host}:{served.port}/openapi.json"
        configured = [command, f"--config-file={CONFIGURATION}", "--no-color", "run", document, *how]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.soak.cases", "PYTHONPATH": str(ROOT)}
        failed = subprocess.run(configured, cwd=folder, env=environment, check=False).returncode
        if "Traceback" in served.said():
            print(served.said()[-3000:])
            failed = 1
    return failed


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(f"schemathesis: {sys.argv[1]} cases an operation, seed {chosen}", flush=True)
    sys.exit(run(int(sys.argv[1]), chosen))
