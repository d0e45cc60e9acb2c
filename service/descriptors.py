"""A process that runs out of file descriptors.

libuv refuses what it has no descriptor for, without a word; and should it then find none for itself, uvloop closes the
listening socket for good. So a few are kept free: a connection that would take one of those is closed at once.
"""

import logging
import resource
import time

log = logging.getLogger("lossmeter.server")

SPARE = 8  # descriptors for what else a process opens
LOG_SECONDS = 10  # between two lines that say the same


class Descriptors:
    """How many files and connections this process may have open."""

    def __init__(self) -> None:
        self._logged_at = -float(LOG_SECONDS)

    def take(self, number: int) -> bool:
        """Whether the connection with this descriptor, the lowest that was free, may stay."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most == resource.RLIM_INFINITY or number < most - SPARE:
            return True
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("new connections are closed: all but %d of the process's %d files are open", SPARE, most)
        return False


descriptors = Descriptors()
