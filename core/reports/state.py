"""The state of a report: what is kept of samples, and how states merge, to the same bits in any order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from core.errors import BadState
from core.exact import exact_rows
from core.reduction import Values
from core.reports.declare import Part, Task
from core.reports.options import most_groups
from core.reports.parts.coverage import Coverage
from core.reports.parts.exact_sums import ExactSums
from core.reports.prepare import Job
from core.reports.samples import Samples
from core.reports.spec import Spec
from core.reports.tally import Tally

FEW = 2**14  # samples up to which a call of NumPy's takes longer than what it does
EVERYONE = ""  # the label of the samples of a report without groups

Parts = Mapping[str, Any]


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """Everything that a report of some samples needs. `groups` are the parts by name, by the label of each group.

    `a + b` is the state of the samples of both. Raises BadState if they are of different specs, or have samples in
    common as far as their shards' names say, or more groups than a report may have.
    """

    task: Task
    spec: Spec
    coverage: Coverage
    groups: Mapping[str, Parts]

    @classmethod
    def empty(cls, task: Task, spec: Spec) -> "State":
        """The state of no samples."""
        return cls(task, spec, Coverage(), {})

    def __add__(self, other: "State") -> "State":
        self.spec.require_same(other.spec)
        if "" in self.coverage and "" in other.coverage:
            raise BadState("states without ids and without the name of a shard cannot be merged: send either")
        groups = dict(self.groups)
        for label, parts in other.groups.items():
            groups[label] = _added(groups[label], parts) if label in groups else parts
        if len(groups) > (most := most_groups(self.task, self.spec.classes)):
            raise BadState(f"the states together have {len(groups)} groups, but at most {most} are allowed")
        return State(self.task, self.spec, self.coverage + other.coverage, groups)

    @property
    def whole(self) -> Parts:
        """The parts of all groups together."""
        if len(self.groups) == 1:
            return next(iter(self.groups.values()))
        tally: Tally[Parts] = Tally(_added)
        for parts in self.groups.values():
            tally.add(parts)
        return tally.total() or {part.name: part.empty(self.spec) for part in self.task.kept(self.spec)}


def _added(first: Parts, second: Parts) -> Parts:
    return {name: first[name] + second[name] for name in first}


def gather(job: Job, values: Values) -> State:
    """The state of the samples of a job, whose columns an engine has computed."""
    with np.errstate(all="ignore"):  # what is infinite or NaN is counted as that, squares of weights too
        return _gathered(job, job.task.gather(job, values.arrays))


def _gathered(job: Job, samples: Samples) -> State:
    coverage = Coverage.of(job.shard, job.first, job.first + job.size) if job.shard or not job.named else Coverage()
    kept = _kept(job.task, job.spec)
    groups = {label: _parts(kept, one) for label, one in _by_group(job, samples)}
    return State(job.task, job.spec, coverage, groups)


@lru_cache(maxsize=64)
def _kept(task: Task, spec: Spec) -> tuple[Part, ...]:
    return tuple(task.kept(spec))


def _parts(kept: Sequence[Part], samples: Samples) -> Parts:
    """The parts of a state that `samples` make. Of few samples all products are added up together."""
    rows = {part.name: part.products(samples) for part in kept if part.products and samples.size <= FEW}
    found = dict(zip(rows, _summed(list(rows.values()), samples.size), strict=True))
    return {part.name: found[part.name] if part.name in found else part.of(samples) for part in kept}


def _summed(several: list[list[Any]], size: int) -> list[ExactSums]:
    """The sums of each list of rows, of `size` each."""
    if not several:
        return []
    distinct = {id(row): row for rows in several for row in rows}  # without weights some are the same
    totals = exact_rows(np.concatenate(list(distinct.values()), dtype=np.float64).reshape(len(distinct), size))
    total = dict(zip(distinct, totals, strict=True))
    sums = ExactSums.of_totals([total[id(row)] for rows in several for row in rows])
    return [sums.part(start, stop) for start, stop in pairwise(accumulate(map(len, several), initial=0))]


def _by_group(job: Job, samples: Samples) -> Iterable[tuple[str, Samples]]:
    """The samples of each group that there is, by its label."""
    if job.groups is None:
        return [(EVERYONE, samples)] if job.size else []
    labels = sorted(set(job.groups))
    numbers = {label: number for number, label in enumerate(labels)}
    group = np.fromiter((numbers[label] for label in job.groups), np.int64, job.size)
    sizes, there = np.bincount(group, minlength=len(labels)), group[samples.places]

    def of(number: int) -> Samples:
        chosen = np.flatnonzero(there == number)
        return samples.take(chosen, int(sizes[number]) - len(chosen))

    return ((label, of(number)) for number, label in enumerate(labels))
