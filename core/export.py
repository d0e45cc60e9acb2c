"""From declarations to ONNX files: `python -m core.export [FOLDER]`. The only importer of onnx and onnxscript.

Opset and IR version stand in `core.variants`. The files hold no weights, no paths and no time stamps: the same
declarations give the same bytes.
"""

import hashlib
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import onnx  # noqa: TID251
import onnx_ir as ir  # noqa: TID251
import onnxscript  # noqa: TID251
from onnx_ir.passes.common import RemoveUnusedNodesPass  # noqa: TID251

from core.declare import Kind, Measure, Tensor
from core.measures import MEASURES
from core.reports.columns import COLUMNS
from core.variants import DEVICES, DTYPES, FOLDER, IR_VERSION, MANIFEST, OPSET, WIDENED, Variant, variants, widening


def _axes(tensor: Tensor, over_classes: bool) -> list[str]:
    """The axes of an input as it is computed: any number of sample axes is one."""
    axes = ["samples"] if tensor.by_sample else []
    return axes + ([tensor.row_axis] if over_classes and tensor.row_axis else [])


def _value(tensor: Tensor, measure: Measure, dtype: str) -> ir.Value:
    if tensor.kind is Kind.INDEX:
        element = ir.DataType.INT64
    else:  # options keep the full precision of the number that was sent
        element = ir.DataType.DOUBLE if tensor.is_option or dtype == "float64" else ir.DataType.FLOAT
    shape = ir.Shape(_axes(tensor, measure.over_classes))
    return ir.Value(name=tensor.name, type=ir.TensorType(element), shape=shape, doc_string=tensor.doc)


class Builder:
    """onnxscript's builder of nodes, for graphs that run on `device`."""

    def __init__(self, op: Any, device: str) -> None:
        self._op, self.device = op, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._op, name)

    def either(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """What `then` makes with a builder where `condition`, one bool, is true, else what `otherwise` makes: only that
        is computed."""

        def branch(name: str, make: Any) -> Any:
            def trace(op: Any) -> Any:
                op.builder.push_module(name)  # names are the graph's: a branch may not use one twice
                return make(Builder(op, self.device))

            return self._op.builder.subgraph(trace, [], [ir.Value(name=f"{name}_value")], name=name)

        return self._op.If(condition, then_branch=branch("then", then), else_branch=branch("else", otherwise))


def model(variant: Variant, dtype: str, device: str = "cpu") -> bytes:
    """The ONNX file of `variant` in `dtype` ("float32" or "float64") for `device` ("cpu" or "cuda")."""
    measure = variant.measure
    given = {tensor.name: _value(tensor, measure, dtype) for tensor in variant.inputs}
    element = ir.DataType.FLOAT if dtype == "float32" else ir.DataType.DOUBLE
    types = {name: ir.DataType.INT64 if name in measure.indices else element for name in variant.outputs}
    outputs = [ir.Value(name=name, type=ir.TensorType(of), shape=ir.Shape(["samples"])) for name, of in types.items()]

    def trace(op: Any, *values: ir.Value) -> Any:
        named = dict(zip(given, values, strict=True))
        everything = {tensor.name: named.get(tensor.name) for tensor in measure.inputs}
        return measure.graph(Builder(op, device), **everything, **dict(variant.choices))

    return _file(variant.stem, trace, list(given.values()), outputs, measure.doc)


def widener(dtype: str) -> bytes:
    """The ONNX file that makes float32 `wide` of `halves` ("float16" or "bfloat16"), flat both."""
    halves = ir.Value(name="halves", type=ir.TensorType(ir.DataType[dtype.upper()]), shape=ir.Shape(["elements"]))
    wide = ir.Value(name="wide", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["elements"]))
    said = f"{dtype} as float32 of the same values."
    return _file(f"widen.{dtype}", lambda op, given: op.Cast(given, to=ir.DataType.FLOAT), [halves], [wide], said)


def _file(stem: str, trace: Any, inputs: list[ir.Value], outputs: list[ir.Value], doc: str) -> bytes:
    graph = onnxscript.build_graph(trace, inputs, outputs, opset_imports={"": OPSET}, name=stem.replace(".", "_"))
    built = ir.Model(graph, ir_version=IR_VERSION, producer_name="lossmeter", doc_string=doc.strip())
    RemoveUnusedNodesPass()(built)  # onnxruntime would run them
    proto = ir.to_proto(built)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def files(measures: Iterable[Measure]) -> dict[str, bytes]:
    """Every graph file of `measures` by name, and the list of their SHA-256."""
    made = {widening(dtype): widener(dtype) for dtype in WIDENED}
    for measure in measures:
        every = (variant for one in measure.concrete for variant in variants(one))
        for variant, dtype in product(every, DTYPES):
            plain, *others = (model(variant, dtype, device) for device in DEVICES)
            made[variant.file(dtype)] = plain
            # What a device computes as the CPU does is not written twice.
            made |= {variant.file(dtype, d): m for d, m in zip(DEVICES[1:], others, strict=True) if m != plain}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(made.items())]
    return made | {MANIFEST: "".join(lines).encode("ascii")}


def write(folder: Path, measures: Iterable[Measure]) -> int:
    """Write the graph files of `measures` to `folder`, remove any others there, and say how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    made = files(measures)
    for stale in set(folder.glob("*.onnx")) - {folder / name for name in made}:
        stale.unlink()
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return len(made) - 1


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    print(f"{write(target, [*MEASURES.values(), *COLUMNS.values()])} graphs in {target}")
