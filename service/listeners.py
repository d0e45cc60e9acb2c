"""The sockets that are listened on, bound before anything else is begun."""

import logging
import socket
import sys

from service.settings import Settings

log = logging.getLogger("lossmeter.server")

BACKLOG = 128  # connections that wait to be accepted, those that come while the graphs are loaded among them


def bind(settings: Settings) -> list[socket.socket]:
    """Sockets bound to every address of HOST; none, and a line in the log, where that cannot be."""
    sockets: list[socket.socket] = []
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            one = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            notice_vanished(one, settings.send_seconds)
            one.bind(address)
            one.listen(BACKLOG)  # two that have only bound one port would not notice
    except (OSError, UnicodeError) as error:  # the name of a host that is none
        for one in sockets:
            one.close()
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        log.error("cannot start: HOST %s and PORT %d cannot be listened on: %s", host, port, reason)
        return []
    for one in sockets:
        address, number = one.getsockname()[:2]
        log.info("listens on http://%s:%d", f"[{address}]" if ":" in address else address, number)
    return sockets


def notice_vanished(listener: socket.socket, send_seconds: float) -> None:
    """Have the kernel give up what a host that is gone does not acknowledge: accepted sockets inherit it on Linux.

    Keepalive is not asked for: it cost 25 us of 130 a request where it was measured, and a connection without bytes on
    their way has a deadline here.
    """
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(send_seconds * 1000))


def waiting(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait at a listener, accepted."""
    found: list[socket.socket] = []
    listener.setblocking(False)
    while True:
        try:
            connection, _ = listener.accept()
        except ConnectionAbortedError:  # hung up meanwhile
            continue
        except OSError:  # nobody is left, or there are no more descriptors
            return found
        connection.setblocking(False)
        found.append(connection)
