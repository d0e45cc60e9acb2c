"""`python -m tests.service.inside PREFIX...`: start the service as a command behind PREFIX, ask it everything, stop it.

Runs where a test puts it, so that both ends are in the same sandbox; prints what was seen, as JSON.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from tests.service.bodies import BATCH, INFER, LENGTH
from tests.service.conftest import GOOD, JSON, LOSS
from tests.service.test_server import free_port

CANARY = "canary"
NAMES = (  # of measures, that somebody hopes are a path, an address or a module
    f"../{CANARY}",
    f"..%2f{CANARY}",
    f"%2e%2e%2f%2e%2e%2f{CANARY}",
    f"..%5c{CANARY}",
    f"%2ftmp%2f{CANARY}",
    f"kl_div/../../{CANARY}",
    f"kl_div%2f..%2f..%2f{CANARY}",
    f"kl_div%00{CANARY}",
    f"kl_div.{CANARY}.onnx",
    f"http%3a%2f%2fcanary.invalid%2f{CANARY}",
    f"file%3a%2f%2f%2ftmp%2f{CANARY}",
    f"%7e%2f{CANARY}",
    f"os.{CANARY}",
    f"__init__{CANARY}",
    f"%24%7bjndi:ldap:%2f%2fcanary.invalid%7d{CANARY}",
)
ROUTES = (
    *("/v1/losses/{}", "/v1/losses/{}/graph", "/v2/models/{}", "/v2/models/{}/config", "/v2/models/{}/infer"),
    *("/v2/models/{}/versions/1/infer", "/static/{}", "/{}", "/v2/repository/models/{}/load", "/v2/repository/{}"),
    *("/v1/losses/kl_div/graph/{}", "/docs/{}", "/v2/models/kl_div/versions/{}"),
)
TRICKS = tuple(route.format(name) for route in ROUTES for name in NAMES)
PLAIN = (
    *("/livez", "/readyz", "/v1/info", "/v1/losses", "/v1/losses/kl_div", f"{LOSS}/graph?dtype=float64", "/metrics"),
    *("/docs", "/redoc", "/openapi.json", "/static/docs.js", "/v2", "/v2/models/stats", "/v2/health/ready", "/nope"),
)


def bodies() -> list[tuple[str, bytes, dict[str, str]]]:
    """Batches small and large in every form, and broken ones: path, body, headers."""
    logits, targets = np.zeros((20_000, 10), np.float32), np.zeros(20_000, np.int64)
    header: dict[str, Any] = {"logits": {"dtype": "F32", "shape": [20_000, 10], "data_offsets": [0, 800_000]}}
    header["targets"] = {"dtype": "I64", "shape": [20_000], "data_offsets": [800_000, 960_000]}
    text = json.dumps(header).encode()
    large = len(text).to_bytes(8, "little") + text + logits.tobytes() + targets.tobytes()
    small = {name: {"name": name, "shape": list(array.shape)} for name, array in BATCH.items()}
    small["logits"] |= {"datatype": "FP32", "data": BATCH["logits"].tolist()}
    small["targets"] |= {"datatype": "INT64", "data": BATCH["targets"].tolist()}
    return [
        (LOSS, GOOD, JSON),
        (LOSS, json.dumps({"logits": logits.tolist(), "targets": targets.tolist()}).encode(), JSON),
        (LOSS, large, {"Content-Type": "application/x-safetensors", "Accept": "application/x-safetensors"}),
        (INFER, json.dumps({"inputs": list(small.values())}).encode(), JSON),
        (INFER, b"{}", JSON | {LENGTH: "2"}),
        (LOSS, b"{", JSON),
        (LOSS, b"{}", JSON),
        (LOSS, b"\x80\x04cos\nsystem\n.", {"Content-Type": "application/octet-stream"}),
        (LOSS, b"\x80\x04cos\nsystem\n.", {"Content-Type": "application/x-pickle"}),
        ("/v2/repository/index", b"", JSON),
    ]


def ask(port: int) -> dict[str, int]:
    """The status of everything that is asked."""
    found = {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked: list[tuple[str, str, bytes, dict[str, str]]] = [("GET", path, b"", {}) for path in (*PLAIN, *TRICKS)]
    asked += [("POST", path, GOOD, JSON) for path in TRICKS]
    asked += [("POST", path, body, headers) for path, body, headers in bodies()]
    for number, (method, path, body, headers) in enumerate(asked):
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        response.read()
        found[f"{number} {method} {path}"] = response.status
    connection.close()
    return found


def ask_when_it_listens(process: "subprocess.Popen[str]", port: int) -> dict[str, int]:
    """Ask, and end the process."""
    try:
        for _ in range(600):
            try:
                return ask(port)
            except ConnectionRefusedError:
                if process.poll() is not None:
                    break
                time.sleep(0.1)
        return {}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def main() -> None:
    """Start, ask, stop, say."""
    port = free_port()
    environment = os.environ | {"LOSSMETER_PORT": str(port), "LOSSMETER_DEVICE": "cpu", "LOSSMETER_THREADS": "2"}
    command = [*sys.argv[1:], sys.executable, "-m", "service"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        with ThreadPoolExecutor(1) as asking:
            statuses = asking.submit(ask_when_it_listens, process, port)
            output, _ = process.communicate(timeout=150)  # which reads the log meanwhile
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    print(json.dumps({"code": process.returncode, "statuses": statuses.result(), "output": output}))


if __name__ == "__main__":
    main()
