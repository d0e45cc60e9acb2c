"""The documents are true: every request in them is sent, every command is run, every setting is listed."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.measures import MEASURES
from core.reports.tasks import TASKS
from service.app import create_app
from service.settings import PREFIX, Settings
from tests.service.bodies import LENGTH

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FORMATS = (ROOT / "docs" / "formats.md").read_text()
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """`make serve`, as the README has it, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = int(probe.getsockname()[1])
    assert blocks("sh")[0] == "make serve\n"
    environment = {**os.environ, f"{PREFIX}PORT": str(found)}
    process = subprocess.Popen(["make", "serve"], cwd=ROOT, env=environment, start_new_session=True)  # noqa: S607
    try:
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{found}/readyz", timeout=5):
                    break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        else:
            pytest.fail("make serve is not ready after two minutes")
        yield found
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def test_the_readmes_requests_have_the_readmes_answers(port: int) -> None:
    requests = [block for block in blocks("sh") if block.startswith("curl")]
    answers = blocks("json") + blocks("text")
    assert len(requests) == len(answers) == 3
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for request, answer in zip(requests, answers, strict=True):
        done = subprocess.run(
            ["bash", "-c", request.replace(":8000", f":{port}")],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == answer.strip()


def test_the_readmes_python_runs(port: int) -> None:
    programs = [program for program in blocks("python") if "np.savez" not in program]
    assert len(programs) == 3
    for program in programs:
        command = [sys.executable, "-c", program.replace(":8000", f":{port}")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(".") >= 64  # per_sample


def test_the_readmes_files_have_a_report_and_their_halves_the_same(tmp_path: Path) -> None:
    (writes,) = (program for program in blocks("python") if "np.savez" in program)
    subprocess.run([sys.executable, "-c", writes], cwd=tmp_path, check=True)
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("lossmeter ")]
    assert len(commands) == 4
    reports = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command in commands:
        words = [sys.executable, "-m", "service", *command.split()[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        reports.append(done.stdout)
    assert "cross_entropy" in reports[0]
    assert reports[3] == reports[0]


def test_files_that_the_documents_link_to_exist() -> None:
    for document in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        for link in re.findall(r"\]\((?!http)([^)]+)\)", document):
            assert (ROOT / link).exists(), link


def test_every_guard_of_the_threat_model_has_a_test_that_is_there() -> None:
    table = (ROOT / "docs" / "threat-model.md").read_text().split("\n## ")[3]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        cells = row.strip("| ").split(" | ")
        assert len(cells) == 3, row
        path, tests = "", re.findall(r"`([^`]*)::(test_\w+)`", cells[2])
        assert tests, row
        assert "".join(f"`{file}::{test}`" for file, test in tests) == cells[2].replace(", ", ""), row
        for file, test in tests:
            path = file or path
            assert re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.MULTILINE), (path, test)


def test_docker_commands_name_what_there_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    for target in re.findall(r"--target (\w+)", README):
        assert re.search(rf"^FROM \S+ AS {target}$", dockerfile, re.MULTILINE), target
    assert next(block for block in blocks("sh") if block.startswith("docker")).split() == [
        *("docker", "compose", "up", "--build"),
        *("docker", "compose", "--profile", "gpu", "up", "--build", "gpu"),
    ]
    assert re.search(r"^  gpu:$", compose, re.MULTILINE)
    assert "profiles: [gpu]" in compose


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    rows = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \| (\S+) \|", README, re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = rows[name.upper()]
        unset = default == "(unset)"  # set to nothing, it stops the start
        made: Any = {} if unset else {name: "" if default == "(none)" else default}
        assert getattr(Settings(**made), name) == field.default, name


def test_every_input_and_option_of_a_loss_is_in_its_row_of_the_readme() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE)
    table = {name: text for name, text in rows if name in MEASURES}
    assert set(table) == set(MEASURES)
    assert set(TASKS) <= {name for name, _ in rows}
    for measure in (MEASURES[name] for name in table):
        for name in set(measure.names) - {"reduction"}:
            assert f"`{name}`" in table[measure.name], (measure.name, name)


def test_makefile_targets_in_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        for words in re.findall(r"`make ([a-z ]+)`", document):
            for target in words.split():
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(device="cpu"))) as made:
        yield made


def test_every_request_of_the_semantics_page_has_its_answer(client: TestClient) -> None:
    asked = 0
    for section in SEMANTICS.split("\n### ")[1:]:
        name = re.findall(r"`(\w+)`", section.splitlines()[0])[0]
        for request, per_sample, loss in re.findall(r"^\| .* \| `(.*)` \| `(.*)` \| `(.*)` \|$", section, re.M):
            answer = client.post(f"/v1/losses/{name}", json=json.loads(request)).json()
            assert (answer["per_sample"], answer["loss"]) == (json.loads(per_sample), json.loads(loss)), request
            asked += 1
    assert asked > 20


def test_no_document_or_code_names_a_registry_host_or_a_path_of_one_machine() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listing = [git, "grep", "-z", "-I", "--name-only", "-e", ""]  # every tracked file that git takes for text
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    assert "README.md" in files
    for name in filter(None, files):
        path = ROOT / name
        if "static" in path.parts or not path.exists():
            continue
        content = path.read_bytes()
        for forbidden in ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "/ho" + "me/"):
            assert forbidden.encode() not in content, (name, forbidden)


def test_the_bytes_of_the_formats_page_have_the_answers_that_it_shows(client: TestClient) -> None:
    def content(dump: str) -> bytes:
        return b"".join(bytes.fromhex(line[6:53]) for line in dump.splitlines())

    found = re.findall(r"```http\n(.*?)\n```\n\n```hex\n(.*?)\n```.*?```hex\n(.*?)\n```", FORMATS, re.DOTALL)
    assert len(found) == 2
    for head, body, answer in found:
        first, *headers = head.splitlines()
        said = dict(line.split(": ") for line in headers)
        response = client.post(first.removeprefix("POST "), content=content(body), headers=said)
        assert response.status_code == 200
        assert response.content == content(answer)
        if LENGTH in said:
            assert f"`{LENGTH}` is {response.headers[LENGTH]}" in FORMATS
