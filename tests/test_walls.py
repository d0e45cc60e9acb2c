"""The walls between the packages are linted, in every file of them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(file: str, more: str) -> str:
    """What ruff says of the imports of `file` with `more` at its end."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", file, "-"]
    text = (ROOT / file).read_text() + more
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize(
    ("file", "banned"),
    [
        *(
            (file, banned)
            for file in ("core/sessions.py", "core/export.py", "core/measures/kl_div.py", "core/reduction.py")
            for banned in ("fastapi", "json", "pydantic", "service.settings", "torch", "orjson")
        ),
        ("core/reduction.py", "onnxruntime"),
        ("core/measures/kl_div.py", "onnx"),
        ("service/native.py", "onnxruntime"),
        ("service/wire/json.py", "onnx"),
        ("service/app.py", "torch"),
        *(("offline/run.py", banned) for banned in ("service.settings", "fastapi", "onnxruntime", "torch")),
    ],
)
def test_a_banned_import_is_refused(file: str, banned: str) -> None:
    assert "TID251" not in lint(file, "")
    assert "TID251" in lint(file, f"\nimport {banned}\n")


def test_nothing_reads_a_pickle_or_a_file_of_numpy() -> None:
    """np.load, and what unpickles, run what a file says; their linter rule is S301, and np.load has none."""
    files = [*ROOT.glob("core/**/*.py"), *ROOT.glob("service/**/*.py"), *ROOT.glob("offline/**/*.py")]
    assert len(files) > 50
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "dill", "marshal", "shelve", "cloudpickle"} & set(names), file
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("np", "numpy")
            ):
                assert node.attr not in ("load", "memmap", "fromfile", "genfromtxt", "loadtxt"), file
