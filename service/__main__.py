"""`lossmeter serve`, also as `python -m service serve`: takes signals before anything that takes long is imported.

`lossmeter report` and `lossmeter merge` are another program's, which needs no server: see offline.command.
"""

import os
import signal
import sys

OFFLINE = ("report", "merge")


def end_on_signals() -> None:
    """Until the server takes them, SIGTERM and SIGINT end the process at once, as process 1 of a container too, which
    would ignore them; SIGHUP does nothing."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def offline() -> int:
    """See offline.command.main."""
    try:
        from offline import command

        return command.main(sys.argv[1:])
    except KeyboardInterrupt:  # while that is imported
        return 128 + signal.SIGINT


def main() -> None:
    """See service.command.main."""
    if sys.argv[1:2] and sys.argv[1] in OFFLINE:
        sys.exit(offline())
    end_on_signals()
    from service import command

    command.main()


if __name__ == "__main__":
    main()
