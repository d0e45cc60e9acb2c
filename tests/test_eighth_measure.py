"""Adding a measure is adding one file: its route, schema, catalogue entry and graph come from it."""

import shutil
import subprocess
import sys
from pathlib import Path

from core.variants import FOLDER, manifest

ROOT = Path(__file__).parent.parent
TOY = '''
"""Squared distance of predictions from targets, element by element.

    per_sample = (x - t) ** 2

Source: torch.nn.functional.mse_loss.
"""

from core.declare import Example, Kind, Measure, Tensor
from core.inputs import reduction
from core.rules import Between


def graph(op, predictions, targets):
    difference = op.Sub(predictions, targets)
    return op.Mul(difference, difference)


def reference(predictions, targets):
    return ((predictions - targets) ** 2,)


MEASURE = Measure(
    name="toy",
    doc=__doc__,
    formula=r"(x - t)^2",
    source="torch.nn.functional.mse_loss",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("predictions", Kind.FLOAT, (...,), "What was predicted."),
        Tensor("targets", Kind.FLOAT, (...,), "What is true.", rules=(Between(0.0, 9.0),)),
    ),
    choices=(reduction(),),
    examples=(Example("Two elements", {"predictions": [1, 2], "targets": [0, 5]}, loss=5.0, per_sample=(1.0, 9.0)),),
)
'''
CLIENT = """
from starlette.testclient import TestClient
from service.app import create_app
from service.settings import Settings

with TestClient(create_app(Settings(device="cpu"))) as client:
    answer = client.post("/v1/losses/toy", json={"predictions": [1, 2], "targets": [0, 5]}).json()
    assert (answer["loss"], answer["per_sample"]) == (5.0, [1.0, 9.0]), answer
    refusal = client.post("/v1/losses/toy", json={"predictions": [1, 2], "targets": [0, 10]}).json()
    assert refusal["detail"] == "targets[1] is 10.0, but must be between 0.0 and 9.0", refusal
    assert "toy" in {loss["name"] for loss in client.get("/v1/losses").json()["losses"]}
    assert client.get("/v1/losses/toy/graph").content
    document = client.get("/openapi.json").json()
    assert document["paths"]["/v1/losses/toy"]["post"]["operationId"] == "toy"
    assert set(document["components"]["schemas"]["ToyRequest"]["required"]) == {"predictions", "targets"}
print("the toy works")
"""


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_file_adds_a_measure(tmp_path: Path) -> None:
    for package in ("core", "offline", "service", "tests"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "core" / "measures" / "toy.py").write_text(TOY)
    assert f"{len(manifest(FOLDER)) + 2} graphs" in run(tmp_path, "-m", "core.export")
    assert "the toy works" in run(tmp_path, "-c", CLIENT)
    generic = ("tests/core/test_measures.py", "tests/service/test_losses.py", "tests/service/test_openapi.py")
    run(tmp_path, "-m", "pytest", "-q", *generic, "-k", "toy")
