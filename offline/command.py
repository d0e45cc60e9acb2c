"""`lossmeter report` and `lossmeter merge`: see offline.arguments for what they take."""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from operator import add

from core.engine import Engine
from core.errors import BadState, CoreError
from core.reports import storage
from core.reports.report import report
from core.reports.state import State
from core.reports.tally import Tally
from core.reports.tasks import TASKS

from offline.arguments import given_options, parser
from offline.document import to_json
from offline.errors import Ended, Refused, Unreadable
from offline.progress import Progress
from offline.run import Plan, parts, state_of
from offline.table import to_text
from offline.write import require_regular, require_writable, write

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
WIDTH = 100  # of a table that no terminal shows


def main(arguments: Sequence[str]) -> int:
    """Do what `arguments` say. The exit code: 0, 2 on bad usage or input, 1 where something cannot be read, 130 or 143
    on SIGINT or SIGTERM, which leave nothing half-written."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(parser(TASKS).parse_args(arguments))
    except Ended as error:
        return _say(error, error.code)
    except (CoreError, OSError) as error:  # a device, a graph, memory; stdout that is closed
        return _say(error, 1)
    except KeyboardInterrupt:
        return INTERRUPTED


def _terminate(*_: object) -> None:
    sys.exit(TERMINATED)


def _say(error: Exception, code: int) -> int:
    print(f"lossmeter: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def _run(found: argparse.Namespace) -> int:
    if found.state_out:
        require_writable(found.state_out, found.files)
    state = merged(found.files) if found.command == "merge" else reported(found)
    if found.state_out:
        write(found.state_out, storage.write(state))
    document = report(state)
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    try:
        print(to_json({**document, "dtype": state.spec.dtype}) if found.json else to_text(document, width), flush=True)
    except BrokenPipeError:  # whoever reads has enough; nothing more is flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def reported(found: argparse.Namespace) -> State:
    """The state of the rows of files. Raises Ended or CoreError."""
    plan = Plan(
        TASKS[found.task], given_options(found, TASKS), _renamings(found.column, found.task), found.dtype, found.shard
    )
    if plan.options.get("class_axis") in (0, -3):
        raise Refused(f"class_axis is {plan.options['class_axis']}, but must not be the first: that is the rows'")
    files = parts(plan, found.files)
    shown = found.progress == "always" or (found.progress == "auto" and sys.stderr.isatty())
    engine = Engine([plan.task.columns], device=found.device, threads=found.threads, spare=True)
    progress = Progress(sys.stderr if shown else None, sum(part.stop - part.start for part in files))
    try:
        state = state_of(plan, files, engine.per_sample, progress)
        progress.end()
        return state
    finally:
        progress.close()
        engine.close()
        for part in files:
            part.source.close()


def _renamings(said: Sequence[tuple[str, str]], task: str) -> dict[str, str]:
    known = Plan(TASKS[task]).by_row
    for place, (name, _) in enumerate(said):
        if name not in known:
            raise Refused(f"--column {name} is not known: {task} has {', '.join(sorted(known))}")
        if any(name == other for other, _ in said[:place]):
            raise Refused(f"--column {name} is there twice")
    return dict(said)


def merged(paths: Sequence[str]) -> State:
    """The sum of the states in files, each of one or more. Raises Refused, which names the first file that does not go
    with those before it, or Unreadable."""
    tally: Tally[State] = Tally(add)
    seen: State | None = None  # what all are of, without what they hold: whether they add up is known at once
    for path in paths:
        require_regular(path)
        for state in _states(path):
            hollow = replace(state, groups={})
            try:
                seen = hollow if seen is None else seen + hollow
            except BadState as error:
                raise Refused(f"{path}: {error}") from error
            tally.add(state)
    found = tally.total()
    assert found is not None  # noqa: S101 - every file has a state, and there is a file
    return found


def _states(path: str) -> list[State]:
    try:
        with open(path, "rb") as file:
            head = file.read(len(storage.MAGIC))
            content = head + file.read() if head == storage.MAGIC else head  # what is none need not be read
            found = [storage.read(one, TASKS) for one in storage.split(content)]
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except BadState as error:
        raise Unreadable(f"{path}: {error}") from error
    if not found:
        raise Unreadable(f"{path}: the file is empty, but must be a state of a report")
    return found
