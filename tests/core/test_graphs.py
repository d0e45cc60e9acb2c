"""The committed graphs are those that the declarations export, and serving needs nothing that exports."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from core import export
from core.errors import GraphDamaged
from core.measures import MEASURES
from core.reports.columns import COLUMNS
from core.variants import (
    DTYPES,
    FOLDER,
    IR_VERSION,
    MANIFEST,
    OPSET,
    WIDENED,
    complete,
    manifest,
    read,
    select,
    variants,
    widening,
)


def test_committed_graphs_are_fresh() -> None:
    committed = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert export.files([*MEASURES.values(), *COLUMNS.values()]) == committed, "run `make graphs`"


def test_writing_removes_what_is_stale(tmp_path: Path) -> None:
    (tmp_path / "old.float32.onnx").write_bytes(b"")
    measure = MEASURES["kl_div"]
    assert export.write(tmp_path, [measure]) == 6
    made = {variant.file(dtype) for variant in variants(measure) for dtype in DTYPES} | set(map(widening, WIDENED))
    assert {path.name for path in tmp_path.iterdir()} == made | {MANIFEST}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_complete_graph_takes_every_input_under_its_name(dtype: str) -> None:
    for measure in MEASURES.values():
        model = onnx.load(FOLDER / complete(measure).file(dtype))
        assert [value.name for value in model.graph.input] == [tensor.name for tensor in measure.inputs]
        assert [value.name for value in model.graph.output] == list(complete(measure).outputs)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
        assert model.ir_version == IR_VERSION


def _with_branches(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    branches = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(inner for branch in branches for inner in _with_branches(branch))]


def test_no_graph_computes_what_nothing_reads() -> None:
    for path in FOLDER.glob("*.onnx"):
        graphs = _with_branches(onnx.load(path).graph)
        nodes = [node for graph in graphs for node in graph.node]
        read = {name for node in nodes for name in node.input} | {one.name for graph in graphs for one in graph.output}
        assert [node.name for node in nodes if read.isdisjoint(node.output)] == [], path.name
        assert {one.name for graph in graphs for one in graph.initializer} <= read, path.name


@pytest.mark.parametrize("left_out", [set(), {"weight"}])
def test_smoothing_pads_and_widens_no_whole_batch(left_out: set[str]) -> None:
    """The quick sum of rows: what is padded and cast to float64 are at most its few parts."""
    variant = select(MEASURES["cross_entropy"], {}, frozenset(left_out))
    graph = onnx.load(FOLDER / variant.file("float32")).graph
    makers = {output: node for node in graph.node for output in node.output}
    wide = [makers[node.input[0]].op_type for node in graph.node if node.op_type == "Pad"]
    assert [node.op_type for node in graph.node].count("MatMul") == 1
    assert wide == (["Squeeze"] if left_out else [])
    assert all(makers[n.input[0]].op_type != "LogSoftmax" for n in graph.node if n.op_type in ("Cast", "Mul", "Pad"))


def test_a_sigmoid_takes_no_logarithm() -> None:
    for variant in variants(MEASURES["binary_cross_entropy_with_logits"]):
        graphs = {dtype: onnx.load(FOLDER / variant.file(dtype)).graph for dtype in DTYPES}
        logs = {dtype: sum(node.op_type == "Log" for node in graph.node) for dtype, graph in graphs.items()}
        assert logs == {"float32": 0, "float64": 1}


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"good")
    with pytest.raises(GraphDamaged, match=r"x\.onnx has the SHA-256 \w+, but must have abc"):
        read(tmp_path, "x.onnx", {"x.onnx": "abc"})
    with pytest.raises(GraphDamaged, match=r"y\.onnx cannot be read: No such file"):
        read(tmp_path, "y.onnx", {})
    with pytest.raises(GraphDamaged, match="cannot be read"):
        manifest(tmp_path)


def test_serving_imports_no_exporter_and_no_torch() -> None:
    script = "import service.app, sys; print(sorted({'onnx', 'onnxscript', 'onnx_ir', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
