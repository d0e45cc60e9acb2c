"""docs/metrics.md is what the declarations say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "metrics_page.py"))
    assert (ROOT / "docs" / "metrics.md").read_text() == made["page"](), "run `make docs`"
