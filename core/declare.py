"""The words a measure is declared in. A declaration is plain data: it runs nothing and registers nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from types import EllipsisType
from typing import Any

from core.rules import Rule

Dims = tuple[str | EllipsisType, ...]
Value = bool | int | float | str


FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
INDEX_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
FLOATS = "an array of floats (float16, bfloat16, float32 or float64)"
INTEGERS = "an array of integers (any integer type, or bool)"
ROW_AXES = ("classes", "labels")  # the names that an axis within a sample may have


class Kind(Enum):
    """What the entries of a tensor are."""

    FLOAT = "float"  # float16, bfloat16, float32 or float64; computed in float32 or float64
    INDEX = "index"  # any integer type or bool; computed in int64


class Fit(Enum):
    """How an elementwise input's shape relates to that of the measure's first input."""

    SAME = "same"  # equal to it
    INTO = "into"  # broadcasts to it and never enlarges it
    WITH = "with"  # broadcasts with it, either way


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a formula.

    `dims` names its axes: "batch", "classes" (or "labels"), and `...` for any further ones; `(...,)` alone is any
    shape, and `()` makes it an option, a scalar. An input without a default is required, unless it is `one_of` several
    of which a request brings exactly one. `neutral` marks a default at which the formula is the same without the
    input, so that a graph without it is exported too.
    """

    name: str
    kind: Kind
    dims: Dims
    doc: str
    rules: tuple[Rule, ...] = ()
    default: float | int | None = None
    neutral: bool = False
    fit: Fit = Fit.SAME
    hint: str = ""  # said beside a wrong type or shape
    one_of: bool = False

    @property
    def advice(self) -> str:
        """The hint, as the end of an error."""
        return f"; {self.hint}" if self.hint else ""

    @property
    def required(self) -> bool:
        """Whether a request must bring this input."""
        return self.default is None and not self.one_of

    @property
    def says(self) -> str:
        """What it must be, as an error puts it."""
        if not self.is_option:
            return FLOATS if self.kind is Kind.FLOAT else INTEGERS
        number = "a number" if self.kind is Kind.FLOAT else "a 64-bit integer"
        return " ".join([number, *(rule.says({}) for rule in self.rules)])

    @property
    def is_option(self) -> bool:
        """Whether this is a scalar."""
        return not self.dims

    @property
    def by_sample(self) -> bool:
        """Whether it has a value (or a row of values) for each sample, rather than one for all."""
        return "batch" in self.dims or self.dims == (...,)

    @property
    def row_axis(self) -> str:
        """The axis that lies within a sample, "classes" or "labels"; "" where it has none."""
        return next((axis for axis in ROW_AXES if axis in self.dims), "")


class Role(Enum):
    """What a choice selects."""

    GRAPH = "graph"
    LAYOUT = "layout"
    REDUCTION = "reduction"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is no tensor. `values` is all that may be chosen; empty, it is any integer."""

    name: str
    role: Role
    values: tuple[bool | str, ...]
    default: Value
    doc: str

    @property
    def says(self) -> str:
        """What a value must be, as an error puts it."""
        if not self.values:
            return "an integer"
        if isinstance(self.default, bool):
            return "true or false"
        return "one of " + ", ".join(f'"{value}"' for value in self.values)


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: a request's fields as nested lists and scalars, and what it must give: the mean `loss`, and the
    values of the first output."""

    title: str
    fields: Mapping[str, Any]
    loss: float
    per_sample: tuple[float, ...] | float


@dataclass(frozen=True, eq=False)  # no slots: what follows from a declaration is kept; one measure equals only itself
class Measure:
    """A loss, or the columns of a report: its inputs, its formula as an ONNX graph and in float64 NumPy, and examples.

    `graph` and `reference` take the inputs by name, in the layout that they are computed in: (samples, classes) and
    (samples,) for a measure over classes, (samples,) for an elementwise one; and each choice of role GRAPH. They
    return one array (samples,) for each of `outputs`, then, where `weighted` is an input that was given, the
    weight of each sample in the mean. An input that is not there is None.

    A measure without a choice of role REDUCTION has no loss and no sums, only its outputs. One with `alternatives` is
    their union: its inputs are theirs, of whose first ones a request brings exactly one, which says the alternative
    that computes it; it has no graph of its own.
    """

    name: str
    doc: str
    formula: str  # LaTeX
    source: str
    inputs: tuple[Tensor, ...]
    graph: Callable[..., Any]
    reference: Callable[..., Any]
    examples: tuple[Example, ...]
    choices: tuple[Choice, ...]
    outputs: tuple[str, ...] = ("per_sample",)
    weighted: str = ""  # the input whose values weigh the mean
    zero_weight_nan: str = ""  # the option that, when not 0, makes the mean of no weight NaN, never an infinity
    indices: frozenset[str] = frozenset()  # the outputs that are int64, not floats
    no_index: int = 0  # what those are of a sample that has nothing
    mended: bool = False  # whether a sample whose first output is NaN is computed anew by `reference`
    alternatives: tuple["Measure", ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.strip().splitlines()[0]

    @cached_property
    def main(self) -> Tensor:
        """The input that sets the shapes of the others."""
        return self.inputs[0]

    @cached_property
    def over_classes(self) -> bool:
        """Whether a sample is a row of classes, rather than one element."""
        return bool(self.main.row_axis)

    @property
    def concrete(self) -> tuple["Measure", ...]:
        """What has graphs: this, or its alternatives."""
        return self.alternatives or (self,)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may use: inputs, options, choices."""
        return tuple(tensor.name for tensor in self.inputs) + tuple(choice.name for choice in self.choices)

    @cached_property
    def is_reduced(self) -> bool:
        """Whether the per-sample values become a loss."""
        return any(choice.role is Role.REDUCTION for choice in self.choices)

    @property
    def reduction(self) -> Choice:
        """The choice of how the per-sample values become the loss, of a measure that is reduced."""
        return next(choice for choice in self.choices if choice.role is Role.REDUCTION)

    @property
    def scalars(self) -> tuple[Tensor | Choice, ...]:
        """The options and the choices."""
        return (*self.options, *self.choices)

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs that have axes."""
        return tuple(tensor for tensor in self.inputs if not tensor.is_option)

    @cached_property
    def options(self) -> tuple[Tensor, ...]:
        """The inputs that are scalars."""
        return tuple(tensor for tensor in self.inputs if tensor.is_option)

    @cached_property
    def neutral(self) -> tuple[Tensor, ...]:
        """The inputs that a graph may be without."""
        return tuple(tensor for tensor in self.inputs if tensor.neutral)

    @cached_property
    def by_sample(self) -> tuple[Tensor, ...]:
        """The arrays that have a value or a row for each sample."""
        return tuple(tensor for tensor in self.tensors if tensor.by_sample)

    @cached_property
    def rows(self) -> frozenset[str]:
        """The names of the arrays that have a row of classes (or labels) for each sample."""
        return frozenset(tensor.name for tensor in self.by_sample if tensor.row_axis)

    @cached_property
    def by_class(self) -> tuple[Tensor, ...]:
        """The arrays that every sample shares."""
        return tuple(tensor for tensor in self.tensors if not tensor.by_sample)

    @cached_property
    def rules(self) -> tuple[tuple[Tensor, Rule], ...]:
        """Every rule beside the input that it is of."""
        return tuple((tensor, rule) for tensor in self.inputs for rule in tensor.rules)

    @cached_property
    def graph_choices(self) -> tuple[Choice, ...]:
        """The choices that select a graph."""
        return tuple(choice for choice in self.choices if choice.role is Role.GRAPH)
