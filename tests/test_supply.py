"""What is built of what: pins with hashes, bills of materials, audits, and a wheel that is the same each time."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted(path.stem for path in (ROOT / "requirements").glob("*.txt"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sbom, audit = script("sbom"), script("audit")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_of_one_version_and_has_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text().replace("\\\n", "")
    for line in text.splitlines():
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[^ ]+ ( ?; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+$", line), (
            line[:80]
        )


def test_installs_take_only_wheels_whose_hashes_are_pinned() -> None:
    dockerfile, makefile = (ROOT / "Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    installs = re.findall(r"^.*pip.* install .*$", dockerfile, re.MULTILINE)
    installs += re.findall(r"^INSTALL := .*$", makefile, re.MULTILINE)
    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes --only-binary :all: --no-deps" in line


@pytest.mark.parametrize("name", sbom.LOCKS)
def test_the_bill_of_materials_is_that_of_the_lock(name: str) -> None:
    committed = (ROOT / "requirements" / f"{name}.cdx.json").read_text()
    assert committed == sbom.document(name), "run `make sbom`"
    bill = json.loads(committed)
    refs = [part["bom-ref"] for part in bill["components"]]
    assert len(set(refs)) == len(refs)
    assert sum(ref.startswith("pkg:pypi/") for ref in refs) == (ROOT / f"requirements/{name}.txt").read_text().count(
        "=="
    )
    files = [part["name"] for whole in bill["components"] for part in whole.get("components", [])]
    assert sorted(files) == ["redoc.standalone.js", "swagger-ui-bundle.js", "swagger-ui.css"]


def test_a_pin_that_is_not_understood_is_not_left_out() -> None:
    assert [part["purl"] for part in sbom.packages("a==1 \\\n    --hash=x\n")] == ["pkg:pypi/a@1"]
    with pytest.raises(SystemExit):
        sbom.packages("a==1 \\\n    --hash=x\nB @ git==2\n")


def test_an_audit_fails_where_something_is_known_and_says_where_nothing_could_be_looked_up() -> None:
    vulnerable = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    fine, skipped = {"name": "b", "version": "1", "vulns": []}, {"name": "c", "skip_reason": "not found"}

    def judged(*packages: object) -> tuple[bool, list[str]]:
        found: tuple[bool, list[str]] = audit.judge("serve", json.dumps({"dependencies": packages}), "")
        return found

    bad, lines = judged(vulnerable, fine, skipped)
    assert bad
    assert "a 1 has CVE-1" in lines[0]
    assert "2 of 3 packages looked up, 1 known" in lines[1]
    assert judged(fine) == (False, ["serve: 1 of 1 packages looked up, 0 known to be bad"])
    for bad, lines in (judged(skipped), audit.judge("serve", "", "Traceback\nConnectionError: no route")):
        assert not bad
        assert "NOT AUDITED" in lines[0]
    assert audit.main(str(ROOT / "there-is-none")) == 0


def test_a_wheel_is_the_same_bytes_wherever_and_whenever_it_is_built(tmp_path: Path) -> None:
    """As scripts/wheel builds it, but from the working tree."""
    program = "import sys; from setuptools import build_meta as b; print(b.build_wheel(sys.argv[1]))"
    wheels: list[bytes] = []
    for number, place in enumerate(("one", "another/place")):
        copy, out = tmp_path / place, tmp_path / f"out{number}"
        for part in ("core", "offline", "service", "pyproject.toml", "README.md", "LICENSE"):
            source, put = ROOT / part, shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            put(source, copy / part)
        for file in copy.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
            os.utime(file, (1_600_000_000 + number * 10_000,) * 2)
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000", "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", program, str(out)]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, umask=0o022)
        assert done.returncode == 0, done.stderr
        wheels.append((out / done.stdout.split()[-1]).read_bytes())
    assert wheels[0] == wheels[1]
