"""The service with something broken in it: a program that changes what it imports, and then serves."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STUCK_WORK = """
    import time
    from core.engine import Engine
    real = Engine.per_sample
    def per_sample(self, batch, *rest):
        if batch.plan.computed[0] > 1000:
            time.sleep(600)
        return real(self, batch, *rest)
    Engine.per_sample = per_sample
"""
STUCK_LOOP = STUCK_WORK.replace("> 1000", "== 3")  # a batch so small is computed on the loop
SLOW_START = """
    import hashlib
    from core.engine import Engine
    def start(*_, **__):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in which its thread sees no signal
    Engine.__init__ = start
"""


def program(folder: Path, change: str) -> tuple[str]:
    """The program in `folder`; workers, which import it too, run `change` as well."""
    file = folder / "program.py"
    lines = [line.removeprefix("    ") for line in change.splitlines()]
    start = ['if __name__ == "__main__":', "    from service.__main__ import main", "    main()", ""]
    file.write_text("\n".join(["import sys", f"sys.path.insert(0, {str(ROOT)!r})", *lines, *start]))
    return (str(file),)
