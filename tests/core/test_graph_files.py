"""A folder of graphs that somebody has changed does not load, and no graph makes the engine read another file."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from core.engine import Engine
from core.errors import GraphDamaged
from core.measures import MEASURES
from core.variants import FOLDER, MANIFEST

MEASURE = MEASURES["kl_div"]
NAME = "kl_div.float32.onnx"
SECRET = np.full(64, 7, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the graphs."""
    return shutil.copytree(FOLDER, tmp_path / "graphs")


def load(folder: Path) -> None:
    Engine([MEASURE], device="cpu", threads=1, graphs=folder).close()


def put(folder: Path, name: str, content: bytes) -> None:
    """Write a graph and its place in the manifest, as whoever may write the whole folder can."""
    (folder / name).write_bytes(content)
    listed = [line for line in (folder / MANIFEST).read_text().splitlines() if not line.endswith(f"  {name}")]
    (folder / MANIFEST).write_text("\n".join([*listed, f"{hashlib.sha256(content).hexdigest()}  {name}", ""]))


def with_weight(path: Path, tensor: TensorProto) -> bytes:
    """The graph of a file, which adds the 64 values of `tensor`, which stand elsewhere, to nothing of use."""
    model = onnx.load(path)
    tensor.name = "elsewhere"
    model.graph.initializer.append(tensor)
    model.graph.node.append(helper.make_node("ReduceSum", ["elsewhere"], ["summed"]))
    model.graph.output.append(helper.make_tensor_value_info("summed", TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def external(location: str, **more: str) -> TensorProto:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[64], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_the_untouched_folder_loads(folder: Path) -> None:
    load(folder)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link_to_another(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nll_loss.float32.onnx"))


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "change",
    [
        flip,
        link_to_another,
        link_to_itself,
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(path.with_name("kl_div.log_target.float32.onnx").read_bytes()),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_changed_file_does_not_load(folder: Path, change: Callable[[Path], object]) -> None:
    change(folder / NAME)
    with pytest.raises(GraphDamaged, match=NAME):
        load(folder)


@pytest.mark.parametrize("manifest", [b"", b"\xff", b"one\n", b"0" * 64 + b"  ../kl_div.float32.onnx\n"])
def test_a_changed_manifest_does_not_load(folder: Path, manifest: bytes) -> None:
    (folder / MANIFEST).write_bytes(manifest)
    with pytest.raises(GraphDamaged):
        load(folder)


def test_the_manifest_names_no_file_to_be_read(folder: Path) -> None:
    """What is read are the names that the declarations give."""
    with (folder / MANIFEST).open("a") as file:
        file.write(f"{'0' * 64}  ../../etc/passwd\n{'0' * 64}  /etc/passwd\n")
    load(folder)


@pytest.mark.parametrize("content", [b"no graph", onnx.ModelProto().SerializeToString(), b"\x08\x0a\x3a\x00"])
def test_what_is_no_graph_does_not_load_though_it_is_listed(folder: Path, content: bytes) -> None:
    put(folder, NAME, content)
    with pytest.raises(GraphDamaged, match=f"the graph {NAME} cannot be loaded"):
        load(folder)


@pytest.mark.parametrize(
    "location",
    [
        "secret.bin",
        "./secret.bin",
        "../secret.bin",
        "graphs/secret.bin",
        "{folder}/secret.bin",
        "file://{folder}/secret.bin",
        "link.bin",
        "linked/secret.bin",
        "/proc/self/environ",
        "/dev/zero",
        "*/_ORT_MEM_ADDR_/*",
        "",
    ],
)
def test_a_graph_whose_weights_stand_in_another_file_does_not_load(
    folder: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that is beside it, or in the working directory, and listed."""
    for place in (folder, folder.parent):
        (place / "secret.bin").write_bytes(SECRET.tobytes())
        (place / "link.bin").symlink_to(place / "secret.bin")
        (place / "linked").symlink_to(place, target_is_directory=True)
    original = (folder / NAME).read_bytes()
    for directory in (folder, folder.parent, Path("/")):
        monkeypatch.chdir(directory)
        for more in ({}, {"offset": "0", "length": "256"}, {"offset": "-64"}, {"length": str(2**62)}):
            (folder / NAME).write_bytes(original)
            put(folder, NAME, with_weight(folder / NAME, external(location.format(folder=folder), **more)))
            with pytest.raises(GraphDamaged, match=NAME):
                load(folder)


def test_the_same_weights_within_the_graph_load(folder: Path) -> None:
    """So that it is where they stand that the others are refused for."""
    put(folder, NAME, with_weight(folder / NAME, onnx.numpy_helper.from_array(SECRET)))
    load(folder)
