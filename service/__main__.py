"""`lossmeter serve`, also as `python -m service serve`: takes signals before anything that takes long is imported."""

import os
import signal


def end_on_signals() -> None:
    """Until the server takes them, SIGTERM and SIGINT end the process at once, as process 1 of a container too, which
    would ignore them; SIGHUP does nothing."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def main() -> None:
    """See service.command.main."""
    end_on_signals()
    from service import command

    command.main()


if __name__ == "__main__":
    main()
