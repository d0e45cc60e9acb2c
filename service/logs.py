"""One line an event. Those of requests are written together, a few times a second, as one record of many lines."""

import asyncio
import json
import logging
import re
import sys
import time
from functools import lru_cache
from typing import Any

access = logging.getLogger("lossmeter.access")

FLUSH_SECONDS = 0.2  # a line by itself costs 10 us, among others 3
MOST_LINES = 4096  # that wait
_UNSAFE = re.compile(r"[^\x20-\x7e]")  # what may end a line or move a terminal's cursor; outside ASCII, all


class AccessLog:
    """The lines of requests that are answered; for use on the event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, dict[str, Any]]] = []

    def add(self, fields: dict[str, Any]) -> None:
        """Write a line with `fields`, soon."""
        if not access.isEnabledFor(logging.INFO):
            return
        self._waiting.append((time.time(), fields))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        elif len(self._waiting) == MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits, now."""
        lines, self._waiting = self._waiting, []
        if lines:
            access.info("%d requests", len(lines), extra={"lines": lines})


class LineFormatter(logging.Formatter):
    """One line a record, whatever a client sent: JSON, or text with quoted values. Only as text, the traceback of a
    failure stands on indented lines below its own."""

    def __init__(self, form: str) -> None:
        super().__init__("%(message)s")
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, without their end."""
        level, lines = record.levelname.lower(), getattr(record, "lines", None)
        if lines is not None:
            return "\n".join([self._line(created, level, record.name, "request", fields) for created, fields in lines])
        message = super().format(record)
        if self.form != "json":
            lines = message.split("\n") if record.exc_info is not None else [message]
            message = "\n  ".join([_UNSAFE.sub(_escaped, line) for line in lines])
        return self._line(record.created, level, record.name, message, {})

    def _line(self, created: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
        moment = f"{_moment(int(created))}.{int(created * 1000) % 1000:03d}Z"
        if self.form == "json":
            entry = {"time": moment, "level": level, "logger": logger, "message": message}
            return json.dumps(entry | fields)  # all of it ASCII: nothing in it can move a terminal's cursor
        return f"{moment} {level:7} {logger} {_words(fields) if fields else message}"


def _words(fields: dict[str, Any]) -> str:
    text = " ".join([f"{name}={value}" for name, value in fields.items()])
    if text.isascii() and text.isprintable() and text.count(" ") == len(fields) - 1:  # 3 us less than one by one
        return text
    return " ".join([f"{name}={_word(value)}" for name, value in fields.items()])


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


@lru_cache(1)
def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _word(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def set_up_logging(level: str, form: str) -> None:
    """Send every log record to standard output, in `form` ("text" or "json")."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").name = "lossmeter.server"
