"""Which graph files there are, what they are called, and that they are the ones that were exported.

A measure has one graph for each combination of its graph choices and of its neutral inputs being there or not: what
is not asked for costs nothing. The complete graph at the default choices carries the measure's plain name.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from core.declare import Measure, Tensor
from core.errors import GraphDamaged

FOLDER = Path(__file__).parent / "graphs"
MANIFEST = "SHA256SUMS"  # in the format that `sha256sum --check` reads
DTYPES = ("float32", "float64")
DEVICES = ("cpu", "cuda")
WIDENED = ("float16", "bfloat16")  # which a card gets as they are, and computes in float32
OPSET = 18
IR_VERSION = 10


@dataclass(frozen=True)
class Variant:
    """One graph of a measure: the graph choices taken, and the neutral inputs left out."""

    measure: Measure
    choices: tuple[tuple[str, Any], ...]
    left_out: frozenset[str]

    @cached_property
    def stem(self) -> str:
        """The file's name without the dtype."""
        defaults = {choice.name: choice.default for choice in self.measure.choices}
        parts = [self.measure.name]
        for name, value in self.choices:
            if value != defaults[name]:
                parts.append(name if value is True else f"{name}_{value}")
        parts += [f"without_{tensor.name}" for tensor in self.measure.inputs if tensor.name in self.left_out]
        return ".".join(parts)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs that this graph takes."""
        return tuple(tensor for tensor in self.measure.inputs if tensor.name not in self.left_out)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of this graph's outputs."""
        weighted = self.measure.weighted and self.measure.weighted not in self.left_out
        return self.measure.outputs + (("sample_weight",) if weighted else ())

    def file(self, dtype: str, device: str = "cpu") -> str:
        """The name of this graph's file in `dtype`; where a device has none of its own, it runs the CPU's."""
        return f"{self.stem}.{dtype}.onnx" if device == "cpu" else f"{self.stem}.{dtype}.{device}.onnx"


def widening(dtype: str) -> str:
    """The name of the graph file that makes float32 `wide` of `halves`, which are `dtype`, one of WIDENED."""
    return f"widen.{dtype}.onnx"


def select(measure: Measure, choices: Mapping[str, Any], left_out: frozenset[str]) -> Variant:
    """The variant that a request with `choices`, and without the neutral inputs `left_out`, is computed by."""
    return _variant(measure, tuple((choice.name, choices[choice.name]) for choice in measure.graph_choices), left_out)


@lru_cache(1024)  # the same object each time, which keeps its names: saves 4 us of a call
def _variant(measure: Measure, choices: tuple[tuple[str, Any], ...], left_out: frozenset[str]) -> Variant:
    return Variant(measure, choices, left_out)


def complete(measure: Measure) -> Variant:
    """The graph with every input, at the default choices: the one that is offered for download."""
    return select(measure, {choice.name: choice.default for choice in measure.choices}, frozenset())


def variants(measure: Measure) -> Iterator[Variant]:
    """Every graph of the measure."""
    neutral = [tensor.name for tensor in measure.neutral]
    for values in product(*(choice.values for choice in measure.graph_choices)):
        chosen = {choice.name: value for choice, value in zip(measure.graph_choices, values, strict=True)}
        for mask in product((False, True), repeat=len(neutral)):
            yield select(measure, chosen, frozenset(name for name, out in zip(neutral, mask, strict=True) if out))


def manifest(folder: Path) -> dict[str, str]:
    """The SHA-256 of every graph file that was exported to `folder`, by file name."""
    try:
        lines = (folder / MANIFEST).read_text("ascii").splitlines()
        return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    except (OSError, ValueError) as error:
        raise GraphDamaged(f"the list of graphs {folder / MANIFEST} cannot be read: {error}") from error


def read(folder: Path, name: str, digests: Mapping[str, str]) -> bytes:
    """The graph file `name`, checked against its digest."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise GraphDamaged(f"the graph {folder / name} cannot be read: {error.strerror}") from error
    found, expected = hashlib.sha256(content).hexdigest(), digests.get(name)
    if found != expected:
        raise GraphDamaged(f"the graph {folder / name} has the SHA-256 {found}, but must have {expected}")
    return content
