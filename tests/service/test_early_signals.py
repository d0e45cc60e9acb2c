"""Signals before the service serves."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import GOOD, LOSS
from tests.service.programs import program
from tests.service.test_server import ask, ended, free_port, started, wait_until_ready

SLOWER_START = """
    import time
    from core.engine import Engine
    real = Engine.__init__
    def start(*given, **more):
        time.sleep(3)
        real(*given, **more)
    Engine.__init__ = start
"""
IMPORTED = "import sys, service.__main__; print([name for name in sys.modules if name.startswith('service')])"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_does_not_end_the_start(tmp_path: Path, workers: str) -> None:
    port = free_port()
    with started(program=program(tmp_path, SLOWER_START), PORT=str(port), WORKERS=workers) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "listens on" in line:
                process.send_signal(signal.SIGHUP)
            if "Waiting for application startup" in line:
                process.send_signal(signal.SIGHUP)
                break
        wait_until_ready(process, port)
        assert ask(port, "POST", LOSS, GOOD)[0] == 200
        process.terminate()
        assert ended(process)[0] == 0


def test_signals_are_taken_before_anything_that_takes_long_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['service', 'service.__main__']"
