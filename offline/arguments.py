"""The command line. What a report may be asked for are flags made of the declarations of the tasks, nowhere else."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from core.declare import Choice, Kind, Tensor
from core.reports.declare import Picks, Task

from offline.errors import Refused

Option = Tensor | Choice | Picks
DTYPES, DEVICES, PROGRESS = ("float32", "float64"), ("auto", "cpu", "cuda"), ("auto", "always", "never")
EPILOG = """columns: logits, log_probabilities or probabilities, and targets; and where they are there sample_weight,
ids, groups, bytes. Rows are counted from 0. Exit codes: 0; 2 bad usage or input; 1 a file that cannot be read;
130 interrupted."""


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise Refused."""
        raise Refused(message)


def parser(tasks: Mapping[str, Task]) -> Parser:
    """The two commands, `report` and `merge`."""
    made = Parser(prog="lossmeter", allow_abbrev=False)
    commands = made.add_subparsers(dest="command", required=True, parser_class=Parser)
    report = commands.add_parser(
        "report",
        help="report on files of scores and targets",
        description="Every metric of the rows of files: Parquet, Arrow, .npz or .safetensors.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    report.add_argument("files", nargs="+", metavar="FILE")
    report.add_argument("--task", required=True, choices=list(tasks), help="what the rows are")
    _add_run_flags(report)
    for name, found in _options(tasks).items():
        one, users = next(iter(found.values())), ", ".join(found)
        text = f"{one.doc} [{users}; {_default(one)}]".replace("%", "%%")
        report.add_argument(flag(name), dest=name, type=_reader(one), metavar=_metavar(*found.values()), help=text)
    merge = commands.add_parser(
        "merge",
        help="merge states that reports have left",
        description="The report of the samples of several states together.",
        allow_abbrev=False,
    )
    merge.add_argument("files", nargs="+", metavar="STATE")
    for each in (report, merge):
        each.add_argument("--state-out", metavar="FILE", help="where the state is written, to be merged later")
        each.add_argument("--json", action="store_true", help="answer JSON, not a table")
    return made


def _add_run_flags(report: argparse.ArgumentParser) -> None:
    report.add_argument(
        "--column",
        action="append",
        type=_renaming,
        default=[],
        metavar="NAME=OWN",
        help="the file's own name of a column, such as targets=label; may be there several times",
    )
    report.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="only part I of N of each file")
    report.add_argument("--dtype", choices=DTYPES, help="what is computed in [float64 for float64 scores]")
    report.add_argument("--device", choices=DEVICES, default="auto", help="where it is computed [auto]")
    report.add_argument("--threads", type=_threads, default=0, help="how many compute; 0: as many as there are [0]")
    report.add_argument("--progress", choices=PROGRESS, default="auto", help="a bar on stderr [auto: on a terminal]")


def _options(tasks: Mapping[str, Task]) -> dict[str, dict[str, Option]]:
    """Every option by name, as each task that takes it declares it."""
    found: dict[str, dict[str, Option]] = {}
    for task in tasks.values():
        for one in options_of(task):
            found.setdefault(one.name, {})[task.name] = one
    return found


def options_of(task: Task) -> list[Option]:
    """What is said once for all rows."""
    return [*task.request.scalars, *(one for one in task.listed if isinstance(one, Picks))]


def given_options(found: argparse.Namespace, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """The options that are there, by name. Raises Refused for one that the task does not take."""
    own = {one.name for one in options_of(tasks[found.task])}
    given = {name: getattr(found, name) for name in _options(tasks) if getattr(found, name) is not None}
    for name in given:
        if name not in own:
            raise Refused(f"{flag(name)} is not known: {found.task} takes {', '.join(map(flag, sorted(own)))}")
    return given


def flag(name: str) -> str:
    """The flag of an option."""
    return "--" + name.replace("_", "-")


def _reader(one: Option) -> Callable[[str], Any]:
    """What reads the text of an option; whether the value may be is for the core to say."""
    if isinstance(one, Picks):
        return _texts if one.values else _integers
    if isinstance(one, Choice):
        return (_boolean if isinstance(one.default, bool) else str) if one.values else _integer
    return _number if one.kind is Kind.FLOAT else _integer


def _metavar(one: Option, *others: Option) -> str:
    if isinstance(one, Picks):
        values = dict.fromkeys(value for each in (one, *others) if isinstance(each, Picks) for value in each.values)
        return ",".join(values) or "K,K"
    if isinstance(one, Choice) and one.values:
        return "|".join(str(value).lower() for value in one.values)
    return "X" if isinstance(one, Tensor) and one.kind is Kind.FLOAT else "N"


def _default(one: Option) -> str:
    if isinstance(one.default, tuple):
        return ",".join(map(str, one.default)) or "none"
    return str(one.default).lower()


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text[:40]}" is no integer') from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text[:40]}" is no number') from None


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f'"{text[:40]}" is neither true nor false')
    return text == "true"


def _texts(text: str) -> list[str]:
    return text.split(",") if text else []


def _integers(text: str) -> list[int]:
    return [_integer(one) for one in _texts(text)]


def _threads(text: str) -> int:
    count = _integer(text)
    if not 0 <= count <= 1024:
        raise argparse.ArgumentTypeError(f"{count} is not between 0 and 1024")
    return count


def _renaming(text: str) -> tuple[str, str]:
    name, _, own = text.partition("=")
    if not name or not own:
        raise argparse.ArgumentTypeError(f'"{text[:40]}" must be NAME=OWN')
    return name, own


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise argparse.ArgumentTypeError(f'"{text[:40]}" must be i/n with 1 <= i <= n')
