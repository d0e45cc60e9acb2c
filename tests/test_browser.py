"""/docs and /redoc in a real browser: they are drawn, ask no other host, and complain of nothing."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, drawn

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LOSSMETER_PORT": str(port), "LOSSMETER_DEVICE": "cpu", "LOSSMETER_LOG_LEVEL": "error"}
    process = subprocess.Popen([sys.executable, "-m", "service"], env=environment)
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("page", "element"), [("/docs", "operations-losses-cross_entropy"), ("/redoc", "cross_entropy")]
)
def test_the_page_is_drawn_asks_no_other_host_and_the_console_is_silent(
    address: str, page: str, element: str, tmp_path: Path
) -> None:
    elements, console, hosts = drawn(f"http://{address}{page}", tmp_path)
    assert f'id="{element}' in elements or f'id="tag/losses/operation/{element}' in elements
    assert console == []
    assert hosts == {address}


def test_a_page_that_asks_another_host_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('seen')</script><img src='http://elsewhere.invalid/x.png'>")
    _, console, hosts = drawn(page.as_uri(), tmp_path)
    assert any("seen" in line for line in console)
    assert hosts == {"elsewhere.invalid"}
