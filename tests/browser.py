"""A page in a real browser: what it draws, complains of and asks for."""

import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whatever is asked for, nothing leaves
)
BROWSERS_OWN = {
    *("accounts.google.com", "clients2.google.com"),
    *("update.googleapis.com", "content-autofill.googleapis.com", "optimizationguide-pa.googleapis.com"),
}


def drawn(url: str, folder: Path) -> tuple[str, list[str], set[str]]:
    """The page's elements once its scripts have run, what the console says of it, and every host that it asked for."""
    log = folder / "net.json"
    command = [
        *(str(CHROMIUM), *QUIET, f"--user-data-dir={folder}", "--enable-logging=stderr", f"--log-net-log={log}"),
        *("--virtual-time-budget=20000", "--dump-dom", url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    hosts = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text())) - BROWSERS_OWN
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line], hosts
