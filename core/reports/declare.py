"""The words that tasks and metrics are declared in. A declaration is plain data: it runs nothing and registers nothing.

A task turns a batch into columns, one value a sample (core.reports.columns), and those into the parts of a state; a
metric is a number that follows from some of the parts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

from core.declare import Choice, Measure, Tensor
from core.reports.parts.codec import Reader, Writer
from core.reports.samples import Samples
from core.reports.spec import Spec
from core.reports.view import Value, View

INTEGERS = "integers"


@dataclass(frozen=True, slots=True)
class Labels:
    """A list with a string or an integer for each sample."""

    name: str
    doc: str
    says: str = "a list of strings or of integers, one for each sample"


@dataclass(frozen=True, slots=True)
class Picks:
    """A short list without repetitions: of words among `values`, or, where there are none, of integers from 1 on."""

    name: str
    values: tuple[str, ...]
    default: tuple[str, ...] | tuple[int, ...]
    doc: str
    most: int = 16

    @property
    def says(self) -> str:
        """What it must be, as an error puts it."""
        if self.values:
            return "a list of some of " + ", ".join(f'"{value}"' for value in self.values)
        return f"a list of at most {self.most} distinct integers from 1 on"

    @property
    def entry_says(self) -> str:
        """What each entry must be."""
        return "one of " + ", ".join(f'"{value}"' for value in self.values) if self.values else "an integer from 1 on"


@dataclass(frozen=True, slots=True)
class Text:
    """A short string."""

    name: str
    doc: str
    default: str = ""
    most: int = 256

    @property
    def says(self) -> str:
        """What it must be, as an error puts it."""
        return f"a string of at most {self.most} characters"


Listed = Labels | Picks | Text


class Content(Protocol):
    """What a part of a state holds: it merges by addition, exactly and in any order, and has stable bytes."""

    def __add__(self, other: Self) -> Self: ...

    def write(self, writer: Writer) -> None:
        """Write it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a task's state: what there is without any sample, what a batch adds, and how it is read.

    `kept` says for which options there is such a part at all. A part that has `products` of samples, (rows, samples),
    is made of the sums of those rows; those of several parts are added up together.
    """

    name: str
    doc: str
    empty: Callable[[Spec], Any]
    of: Callable[[Samples], Any]
    read: Callable[[Reader, Spec], Any]
    kept: Callable[[Spec], bool] = lambda spec: True
    products: Callable[[Samples], list[Any]] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a report.

    `value` takes the View of a state; where `over` gives the values of an option (the k of top-k), it takes one of
    them too, and each has a number. `reference` is the same from the raw data in float64 NumPy: see
    core.reports.references.Data. `examples` are its true values on the example of each task that has it.
    """

    name: str
    doc: str
    formula: str  # LaTeX
    low: float
    high: float
    needs: tuple[str, ...]  # parts of the state, of which a task has some
    value: Callable[..., Value]
    reference: Callable[..., float]
    examples: Mapping[str, float | tuple[float, ...]]
    source: str
    kept: Callable[[Spec], bool] = lambda spec: True
    over: Callable[[Spec], Sequence[int]] | None = None

    def names(self, spec: Spec) -> dict[str, tuple[int, ...]]:
        """The names of its numbers under `spec`, and what `value` takes for each beside the view."""
        if not self.kept(spec):
            return {}
        if self.over is None:
            return {self.name: ()}
        return {self.name.replace("k", str(k), 1): (k,) for k in self.over(spec)}


@dataclass(frozen=True, slots=True)
class Detail:
    """A further member of a report: `of` makes plain values, lists and arrays of the View of a state."""

    name: str
    doc: str
    of: Callable[[View], Any]
    kept: Callable[[Spec], bool] = lambda spec: True


@dataclass(frozen=True, eq=False)  # no slots: what follows from a declaration is kept; one task equals only itself
class Task:
    """A kind of evaluation: its columns, its options, the parts of its state, its metrics.

    `gather` makes Samples of a batch's columns. `example` are the fields of a small request. `state_bytes` bounds a
    state's size for a number of classes (labels), without weights and groups, under the default options.
    """

    name: str
    doc: str
    columns: Measure
    tensors: tuple[Tensor, ...]  # beside those of the columns; options too
    choices: tuple[Choice, ...]
    listed: tuple[Listed, ...]
    parts: tuple[Part, ...]
    metrics: tuple[Metric, ...]
    details: tuple[Detail, ...]
    gather: Callable[..., Samples]
    worst: tuple[str, ...]  # the members of an entry of `worst` beside its id and its loss
    example: Mapping[str, Any]
    state_bytes: Callable[[int], int]

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.strip().splitlines()[0]

    @cached_property
    def extras(self) -> Measure:
        """What a request may bring beside the inputs of the columns, but for the lists, as one declaration."""
        return replace(self.columns, inputs=self.tensors, choices=self.choices, alternatives=(), outputs=())

    @cached_property
    def request(self) -> Measure:
        """All that a request may bring, but for the lists, as one declaration."""
        columns = self.columns
        return replace(columns, inputs=columns.inputs + self.tensors, choices=columns.choices + self.choices)

    @cached_property
    def lists(self) -> dict[str, Listed]:
        """The lists and texts by name."""
        return {listed.name: listed for listed in self.listed}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may use."""
        return (*self.request.names, *self.lists)

    def kept(self, spec: Spec) -> Iterable[Part]:
        """The parts of a state of `spec`."""
        return (part for part in self.parts if part.kept(spec))
