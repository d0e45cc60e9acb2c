"""The service opens no connection, writes no file and needs no right, whatever it is asked.

It is asked everything of tests.service.inside: every route, batches in every form, and names that hope to be a path,
an address or a module.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.service.inside import CANARY, PLAIN, TRICKS

ROOT = Path(__file__).parents[2]
STRACE, BWRAP = shutil.which("strace"), shutil.which("bwrap")
CALLS = "connect,sendto,sendmsg,sendmmsg,execve,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,"
CALLS += "link,linkat,symlink,symlinkat,mknod,mknodat,truncate,chmod,fchmodat,unlink,unlinkat"
FORBIDDEN = re.compile(
    r"socket\.(connect|sendto|sendmsg|gethost\w*)|(urllib|http|ftplib|smtplib|poplib|imaplib|telnetlib)\..*|pickle\..*|"
    r"subprocess\..*|pty\..*|shutil\..*|tempfile\..*|webbrowser\..*|"
    r"os\.(system|exec|fork|forkpty|spawn|posix_spawn|startfile|mkdir|remove|rename|rmdir|link|symlink|truncate|chmod)"
)


def seen(*prefix: str, sandbox: Sequence[str] = (), **settings: str) -> dict[str, int]:
    """The statuses by what was asked of a service behind `prefix`, asked from within `sandbox`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSMETER_")}
    environment |= {f"LOSSMETER_{name}": value for name, value in settings.items()}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)  # the service sets it itself
    command = [*sandbox, sys.executable, "-m", "tests.service.inside", *prefix]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["code"] == 0, found["output"]
    assert "Traceback" not in found["output"]
    statuses: dict[str, int] = found["statuses"]
    assert len(statuses) > len(PLAIN) + 2 * len(TRICKS)
    return statuses


def check(statuses: dict[str, int]) -> None:
    """What is there is answered, and no trick finds anything."""
    assert sum(status == 200 for status in statuses.values()) == len(PLAIN) - 1 + 5  # but /nope; five good bodies
    for asked, status in statuses.items():
        assert status < 500, asked
        if CANARY in asked:
            assert status in (404, 405), asked


def test_nothing_is_loaded_by_a_name_and_nothing_but_files_is_read(tmp_path: Path) -> None:
    """By Python's own account, which needs no tool."""
    file = tmp_path / "events.json"
    check(seen(sys.executable, "-m", "tests.service.audited", str(file)))
    events = json.loads(file.read_text())
    kinds = {event for event, _ in events}
    assert {"open", "socket.bind", "import"} <= kinds  # it does watch
    assert not sorted(filter(FORBIDDEN.fullmatch, kinds))
    for event, arguments in events:
        assert CANARY not in arguments, (event, arguments)
        if event == "open":
            mode = arguments.rsplit(", ", 2)[1]
            assert mode in ("'r'", "'rb'", "None"), arguments


@pytest.mark.skipif(STRACE is None, reason="there is no strace here: apt-get install strace")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_connection_is_opened_and_no_file_is_written(tmp_path: Path, workers: str) -> None:
    """By the kernel's account, native code included."""
    trace, home = tmp_path / "trace", tmp_path / "home"
    home.mkdir()
    probe = subprocess.run([str(STRACE), "-f", "--seccomp-bpf", "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"strace may not trace here: {probe.stderr.strip()[-100:]}")
    options = ("-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-o", str(trace))
    check(seen("env", f"HOME={home}", str(STRACE), *options, WORKERS=workers))
    calls = [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines()]
    calls = [call for call in calls if re.match(r"[a-z0-9_]+\(", call)]  # neither signals nor the second half of a call
    assert sum(call.startswith("openat(") for call in calls) > 100  # it does trace
    written = []
    for call in calls:
        name = call.partition("(")[0]
        assert name not in ("connect", "sendto", "sendmmsg"), call
        if name.startswith("open"):
            if re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)", call):
                written.append(call)
        elif name != "execve":
            written.append(call)
    allowed = r'"/dev/(null|shm/)|unlink\("/dev/shm/|sendmsg\(' if workers == "2" else '"/dev/null"'
    assert not [call for call in written if not re.search(allowed, call)]
    assert sum(call.startswith("execve(") and call.endswith("= 0") for call in calls) <= 2 * int(workers)
    assert not list(home.iterdir())


def confined(*, tmp: bool) -> list[str]:
    """A sandbox: a root that is read-only, no network but the loopback, another user, no capability."""
    needed = {str(ROOT), sys.prefix, sys.base_prefix}
    binds = [word for path in sorted(needed) for word in ("--ro-bind", path, path)]
    return [
        *(str(BWRAP), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", *binds),  # noqa: S108
        *([] if tmp else ["--remount-ro", "/tmp"]),  # noqa: S108
        *("--unshare-all", "--die-with-parent", "--uid", "65532", "--gid", "65532", "--cap-drop", "ALL"),
    ]


def needs_sandbox() -> None:
    if BWRAP is None:
        pytest.skip("there is no bwrap here: apt-get install bubblewrap")
    probe = subprocess.run([*confined(tmp=False), "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"bwrap makes no sandbox here: {probe.stderr.strip()[-100:]}")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("tmp", [True, False], ids=["tmp", "no-tmp"])
def test_it_serves_another_user_without_rights_network_and_a_place_to_write(workers: str, tmp: bool) -> None:
    needs_sandbox()
    check(seen(sandbox=confined(tmp=tmp), WORKERS=workers))


def test_the_sandbox_is_one() -> None:
    needs_sandbox()
    program = """
import os, socket
assert os.getuid() == os.getgid() == 65532
assert "CapEff:\\t0000000000000000" in open("/proc/self/status").read()
for folder in ("/", "/tmp", "/var/tmp", os.getcwd()):
    try:
        open(os.path.join(folder, "written"), "w")
    except OSError:
        continue
    raise SystemExit(f"{folder} can be written to")
try:
    socket.create_connection(("192.0.2.1", 9), timeout=1)
except OSError as error:
    assert error.errno, error
"""
    subprocess.run([*confined(tmp=False), sys.executable, "-c", program], check=True, cwd=ROOT)
