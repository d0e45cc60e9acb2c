"""`python -m tests.service.audited FILE ...`: the service; what Python audits goes to FILE as JSON.

Python raises audit events where its own code opens files and connections, imports, unpickles and starts programs: what
native code does is for strace to see. Runs where there is no strace.
"""

import json
import sys
from typing import Any

from service.command import main

QUIET = ("builtins.", "object.", "sys.")


def run(file: str) -> None:
    """Serve, and write what happened meanwhile."""
    events: list[tuple[str, str]] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not event.startswith(QUIET):
            events.append((event, repr(arguments)[:300]))

    sys.addaudithook(watch)
    try:
        main([])
    finally:
        seen = list(events)
        with open(file, "w") as written:
            json.dump(seen, written)


if __name__ == "__main__":
    run(sys.argv[1])
