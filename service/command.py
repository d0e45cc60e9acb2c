"""What `lossmeter` does, once signals are taken: see service.__main__."""

import argparse
import faulthandler
import http.client
import logging
import sys

from core import __version__

from service.logs import set_up_logging
from service.settings import PREFIX, Settings, SettingsError, load, unknown
from service.tracing import require_packages

OFFLINE = """commands that need no service, each with its own --help:
  report FILE...   report on files of scores and targets
  merge STATE...   merge states that reports have left"""


def parser() -> argparse.ArgumentParser:
    """The command line; its help lists the settings."""
    fields = Settings.model_fields.items()
    defaults = {name: _as_set(field.default) for name, field in fields}
    settings = "\n".join(f"  {PREFIX}{name.upper():16} {f.description} [{defaults[name]}]" for name, f in fields)
    made = argparse.ArgumentParser(
        prog="lossmeter",
        description="PyTorch's losses over HTTP.",
        epilog=f"{OFFLINE}\n\nsettings (environment variables):\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "command",
        choices=["serve", "healthy"],
        nargs="?",
        default="serve",
        help="serve: answer requests; healthy: exit with 0 if the service that these settings describe is ready",
    )
    made.add_argument("--version", action="version", version=__version__)
    return made


def _as_set(default: object) -> str:
    """A default as a variable would say it."""
    return str(default).lower() if isinstance(default, bool) else "none" if default == () else str(default)


def healthy(settings: Settings) -> bool:
    """Whether a service on this host, with these settings, answers that it is ready."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serve(settings: Settings) -> int:
    """Serve until a signal says to stop. The exit code: 0, or 3 where the start failed."""
    from service.listeners import bind  # these take most of a second
    from service.process import START_FAILED, run
    from service.supervisor import Supervisor

    sockets = bind(settings)
    try:
        if not sockets:
            return START_FAILED
        return run(settings, sockets) if settings.workers == 1 else Supervisor(settings, sockets).run()
    finally:
        for one in sockets:
            one.close()


def main(arguments: list[str] | None = None) -> None:
    """Serve until a signal says to stop. Exits with 2 on a bad setting and 3 where the start fails."""
    command = parser().parse_args(arguments).command
    try:
        settings = load()
        if settings.traces:
            require_packages()
    except SettingsError as error:
        print(f"lossmeter: {error}", file=sys.stderr)
        sys.exit(2)
    if command == "healthy":
        sys.exit(not healthy(settings))
    set_up_logging(settings.log_level, settings.log_format)
    for name in unknown():
        logging.getLogger("lossmeter").warning("%s is not a setting of this version", name)
    faulthandler.enable()
    code = serve(settings)
    if code:
        sys.exit(code)
