"""Families of metrics over counters: each knows its places, counts in them, and is written for Prometheus."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from service.counters import Layout

Labels = tuple[str, ...]


class Counts:
    """A counter by labels. Those that have counted nothing are not written."""

    def __init__(self, layout: Layout, name: str, said: str, labels: Mapping[str, Iterable[str | int]]) -> None:
        self.name, self.said, self.labels = name, said, list(labels)
        self.places = layout.family(*map(list, labels.values()))

    def collect(self, totals: Sequence[int]) -> Metric:
        """The family, of what all processes have counted."""
        family = CounterMetricFamily(self.name, self.said, labels=self.labels)
        for labels, place in self.places.items():
            if totals[place]:
                family.add_metric([str(label) for label in labels], totals[place])
        return family


class Histogram:
    """A histogram by labels. `bounds` are whole numbers, of which `unit` are one of the metric's base unit."""

    def __init__(
        self,
        layout: Layout,
        name: str,
        said: str,
        labels: Mapping[str, Iterable[str]],
        bounds: Sequence[int],
        unit: int = 1,
    ) -> None:
        self.name, self.said, self.labels, self.bounds, self.unit = name, said, list(labels), bounds, unit
        self.size = len(bounds) + 2  # a bucket past the last bound, then the sum
        places = layout.family(*map(list, labels.values()), range(self.size))
        self.first = {values[:-1]: place for values, place in places.items() if values[-1] == 0}

    def observe(self, row: memoryview, labels: Labels, value: int) -> None:
        """Count `value`."""
        first = self.first[labels]
        row[first + bisect_left(self.bounds, value)] += 1
        row[first + self.size - 1] += value

    def observe_all(self, row: memoryview, first: Mapping[str, int], values: Mapping[str, int]) -> None:
        """Count each of `values`, by one label; `first` are the places for it: a third of the time of `observe`."""
        bounds, last = self.bounds, self.size - 1
        for label, value in values.items():
            begin = first[label]
            row[begin + bisect_left(bounds, value)] += 1
            row[begin + last] += value

    def count(self, totals: Sequence[int], labels: Labels) -> int:
        """How many values were counted."""
        return sum(totals[self.first[labels] : self.first[labels] + self.size - 1])

    def sum(self, totals: Sequence[int], labels: Labels) -> int:
        """What they come to."""
        return totals[self.first[labels] + self.size - 1]

    def collect(self, totals: Sequence[int]) -> Metric:
        """The family, of what all processes have counted."""
        family = HistogramMetricFamily(self.name, self.said, labels=self.labels)
        bounds = [*(str(bound / self.unit) for bound in self.bounds), "+Inf"]
        for labels, first in self.first.items():
            buckets, reached = [], 0
            for bound, counted in zip(bounds, totals[first : first + self.size - 1], strict=True):
                reached += counted
                buckets.append((bound, reached))
            if reached:
                family.add_metric(labels, buckets, self.sum(totals, labels) / self.unit)
        return family
