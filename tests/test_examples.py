"""The examples run as their README says, and print the losses that the engine computes."""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.engine import Engine
from core.measures import find
from core.reduction import Result
from tests.browser import CHROMIUM, drawn
from tests.service.live import listening

EXAMPLES = Path(__file__).parent.parent / "examples"
README = (EXAMPLES / "README.md").read_text()
ROWS = re.findall(r"^\| \[(\S+)\]\(\1\) \| (?:`(.+?)`|\(below\)) \| (\w+) \|", README, re.MULTILINE)
FORMATS = {name: form for name, _, form in ROWS}
COMMANDS = {name: shlex.split(command) for name, command, _ in ROWS if command}
PAGE = "loss.html"
MOST_LINES = 40
SECONDS = 60  # which only keep a hung example from hanging the tests
NEEDS = {  # what tells that a toolchain is here, and its name
    "loss.sh": ("curl --version && jq --version && od --endian=little /dev/null", "curl with jq and GNU od"),
    "loss.py": ("true", "Python"),
    "loss.mjs": ("node --eval 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'", "Node 20"),
    "Loss.java": ("javac --release 17 --version", "a JDK of Java 17"),
    "loss.go": ("go version", "Go"),
    "loss.R": ("Rscript -e 'library(httr2); library(jsonlite)'", "R with httr2 and jsonlite"),
}
BATCHES: dict[str, dict[str, Any]] = {
    "cross_entropy": {
        "logits": np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], np.float32),
        "targets": np.array([0, 2]),
        "weight": np.array([1, 1, 2], np.float32),
    },
    "binary_cross_entropy": {
        "probabilities": np.array([0.9, 0.2, 0.7], np.float32),
        "targets": np.array([1, 0, 1], np.float32),
    },
}


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a word of each request."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    """The host and port at which the examples are files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(EXAMPLES))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """The host and port of the examples' pages."""
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def service(files: str) -> Iterator[str]:
    """The host and port of a service that pages of `files` may ask."""
    with listening(cors_origins=f"http://{files}") as address:
        yield address


@pytest.fixture(scope="module")
def results(engine: Engine) -> dict[str, Result]:
    """What the examples ask for, by loss."""
    return {name: engine.compute(find(name), batch) for name, batch in BATCHES.items()}


@cache
def missing(example: str) -> str:
    """The toolchain of `example` if it is not here, else ""."""
    probe, toolchain = NEEDS[example]
    done = subprocess.run(["bash", "-c", probe], capture_output=True)  # noqa: S607
    return toolchain if done.returncode != 0 else ""


def require(example: str) -> None:
    """Skip where the toolchain of `example` is not here."""
    if missing(example):
        pytest.skip(f"{missing(example)} is not installed")


def run(example: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """An example, run as the README says."""
    program, *arguments = COMMANDS[example]
    command = [sys.executable if program == "python3" else program, *arguments]
    environment = os.environ | {"LOSSMETER_URL": url, "GOCACHE": str(folder), "NO_PROXY": "*", "no_proxy": "*"}
    return subprocess.run(command, cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=SECONDS)


def rows(example: str, results: dict[str, Result]) -> list[tuple[str, str, Result]]:
    """The loss, the format and the result of each line that an example must print, in their order."""
    return [(name, form, result) for name, result in results.items() for form in ("json", FORMATS[example])]


def test_the_table_has_every_example_and_a_test_for_each() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md", "ruff.toml"}
    assert set(FORMATS) == programs
    assert set(COMMANDS) == set(NEEDS) == programs - {PAGE}
    assert set(FORMATS.values()) == {"oip", "safetensors"}


@pytest.mark.parametrize("example", FORMATS)
def test_an_example_is_short_and_says_what_it_sends(example: str) -> None:
    text = (EXAMPLES / example).read_text()
    assert len(text.splitlines()) <= MOST_LINES
    comment = next(line for line in text.splitlines() if "Two losses with" in line)
    assert {"oip": "Open Inference Protocol", "safetensors": "safetensors"}[FORMATS[example]] in comment
    assert "http://127.0.0.1:8000" in text


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_prints_the_losses(example: str, service: str, results: dict[str, Result], tmp_path: Path) -> None:
    require(example)
    done = run(example, f"http://{service}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{name} {form} {result.loss:.6f}" for name, form, result in rows(example, results)
    ]


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_fails_with_the_detail_of_the_problem(example: str, service: str, tmp_path: Path) -> None:
    require(example)
    done = run(example, f"http://{service}/nowhere", tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "there is nothing at /nowhere/v1/losses/cross_entropy" in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_shows_the_losses_of_another_origin(
    files: str, service: str, results: dict[str, Result], tmp_path: Path
) -> None:
    elements, console, hosts = drawn(f"http://{files}/{PAGE}?url=http://{service}", tmp_path)
    assert console == []
    assert hosts == {files, service}
    found = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", elements)]
    numbers = {name: [result.loss, *result.outputs["per_sample"]] for name, result in results.items()}
    wanted = [[name, form, *(f"{number:.6f}" for number in numbers[name])] for name, form, _ in rows(PAGE, results)]
    assert [row for row in found if row] == wanted


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_shows_the_detail_of_a_problem(files: str, service: str, tmp_path: Path) -> None:
    elements, _, _ = drawn(f"http://{files}/{PAGE}?url=http://{service}/nowhere", tmp_path)
    assert '<p role="alert">there is nothing at /nowhere/v1/losses/cross_entropy</p>' in elements


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_is_refused_where_its_origin_is_not_named(service: str, tmp_path: Path) -> None:
    with served() as elsewhere:
        elements, console, _ = drawn(f"http://{elsewhere}/{PAGE}?url=http://{service}", tmp_path)
    assert '<p role="alert">Failed to fetch</p>' in elements
    assert any("blocked by CORS policy" in line for line in console)
