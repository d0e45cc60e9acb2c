"""What is so now: numbers that each process sets for itself, and what the operating system says of it."""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from service.counters import Rows, lives
from service.system import memory_bytes, resident_bytes

if TYPE_CHECKING:
    from service.telemetry import Metrics

PLACES = ("in_flight_requests", "in_flight_bytes", "in_flight_limit_bytes", "ready", "started_ms", "process")


class Own:
    """An attribute of Metrics that is one of PLACES in the row of this process."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, metrics: "Metrics", owner: type) -> int:
        return metrics.rows.own[metrics.gauges[self.name]]

    def __set__(self, metrics: "Metrics", value: int) -> None:
        metrics.rows.own[metrics.gauges[self.name]] = value


def begin(row: memoryview, places: dict[str, int]) -> None:
    """This process writes `row` from now on, in which one that died may have left its numbers."""
    for place in places.values():
        row[place] = 0
    row[places["started_ms"]], row[places["process"]] = time.time_ns() // 10**6, os.getpid()


def collect(rows: Rows, places: dict[str, int]) -> Iterator[Metric]:
    """The gauges of all processes together."""
    processes = rows.each(places["process"])
    living = [bool(process) and lives(process) for process in processes]
    resident = sum(resident_bytes(process) for process in processes if process)

    def total(name: str) -> int:
        """Of the processes that are there: one that was killed has left its numbers."""
        return sum(value for value, there in zip(rows.each(places[name]), living, strict=True) if there)

    for name, said, value in (
        ("in_flight_requests", "Requests being answered now.", total("in_flight_requests")),
        ("in_flight_bytes", "Bytes held for requests now.", total("in_flight_bytes")),
        ("in_flight_limit_bytes", "The most bytes held for requests.", total("in_flight_limit_bytes")),
        ("ready_workers", "Processes that are ready to answer.", total("ready")),
        ("start_time_seconds", "When the latest process started, since 1970.", rows.latest(places["started_ms"]) / 1e3),
        ("resident_memory_bytes", "Memory of the processes that is in RAM.", resident),
        ("memory_limit_bytes", "The most of it: the limit of the cgroup, or all of the machine.", memory_bytes()),
    ):
        yield GaugeMetricFamily(f"lossmeter_{name}", said, value)
