"""Writes what is in an image as CycloneDX 1.6, one file beside each lock: the same bytes for the same locks.

Python packages are those of the lock, with their hashes there; what is vendored in service/static comes from
scripts/vendor-docs, and its hashes from the files.
"""

import hashlib
import json
import re
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = {"serve": "cpu", "cuda": "cuda"}  # requirements/NAME.txt, and the image that is made of it
_PIN = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)
_VENDORED = re.compile(r"^(?:swagger|redoc)=([a-z-]+)@([0-9.]+)$", re.MULTILINE)


def component(kind: str, name: str, version: str, **more: Any) -> dict[str, Any]:
    """A library of a package index."""
    purl = f"pkg:{kind}/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **more}


def packages(lock: str) -> list[dict[str, Any]]:
    """The packages that a lock pins, with the marker of those that are not installed everywhere."""
    found = []
    for name, version, marker in _PIN.findall(lock):
        more = {"properties": [{"name": "lossmeter:marker", "value": marker}]} if marker else {}
        found.append(component("pypi", name, version, **more))
    pins = sum("==" in line and not line.startswith((" ", "#")) for line in lock.splitlines())
    if len(found) != pins:
        raise SystemExit(f"{pins} packages are pinned, but {len(found)} understood")
    return found


def vendored() -> list[dict[str, Any]]:
    """The projects whose files are in service/static."""
    found = []
    for name, version in _VENDORED.findall((ROOT / "scripts" / "vendor-docs").read_text()):
        files = sorted((ROOT / "service" / "static").glob(f"{name.removesuffix('-dist')}*"))
        inside = [
            {
                "type": "file",
                "name": file.name,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
            }
            for file in files
        ]
        found.append(component("npm", name, version, components=inside))
    return found


def document(name: str) -> str:
    """The bill of one image."""
    lock = (ROOT / "requirements" / f"{name}.txt").read_bytes()
    (version,) = re.findall(r'__version__ = "([^"]+)"', (ROOT / "core" / "__init__.py").read_text())
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "lossmeter",
                "name": "lossmeter",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "properties": [
                    {"name": "lossmeter:image", "value": LOCKS[name]},
                    {"name": f"lossmeter:sha256:requirements/{name}.txt", "value": hashlib.sha256(lock).hexdigest()},
                ],
            }
        },
        "components": packages(lock.decode()) + vendored(),
    }
    bill["dependencies"] = [{"ref": "lossmeter", "dependsOn": [part["bom-ref"] for part in bill["components"]]}]
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(bill, sort_keys=True))}"
    return json.dumps(bill, indent=1) + "\n"


if __name__ == "__main__":
    for each in LOCKS:
        (ROOT / "requirements" / f"{each}.cdx.json").write_text(document(each))
