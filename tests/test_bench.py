"""The benchmark asks, checks and reports; how fast anything is, is not tested."""

import os

import pytest

from bench import report
from bench.driver import window
from bench.work import Work
from tests.service.live import listening

RESULTS = {
    "machine": {"cpu": "a CPU", "cores": 2, "python": "3.11", "packages": {"numpy": "2"}},
    "requests": [
        {
            "work": "JSON 64x10, c8",
            "server": "service",
            "cpu_ms": 0.1,
            "rate": 5000.0,
            "cpu_floors": 3.5,
            "cpu_floors_spread": (3.0, 4.0),
            "rate_floors": 0.25,
            "goal": 4.0,
        }
    ],
    "calls": [
        {"case": "cross_entropy", "core_ms": 0.02, "torch_ms": 0.01, "ratio": 2.0, "spread": (1.9, 2.1), "goal": 3.0}
    ],
    "reports": {
        "requests": [
            {
                "case": "binary 5x3, c1",
                "report_ms": 4.0,
                "loss_ms": 2.0,
                "wall": 2.0,
                "cpu": 2.25,
                "cpu_spread": (2.0, 2.5),
                "goal": 2.5,
            }
        ],
        "calls_ms": {"core": 3.0, "scikit-learn": 60.0},
    },
    "memory": {"idle": 113.4, "largest_body": 45.0},
}


@pytest.mark.parametrize("form", ["JSON", "binary"])
def test_answers_are_counted_and_checked(form: str) -> None:
    work = Work(form, 5, 3, 2, 0.0)
    with listening() as address:
        port = int(address.rpartition(":")[2])

        def is_right(body: bytes) -> bool:
            return work.is_right("service", body)

        found = window(port, os.getpid(), work.request("service"), is_right, 2, 0.0, 3)
        assert found.requests == 6
        with pytest.raises(RuntimeError, match="a wrong answer"):
            window(port, os.getpid(), work.request("service"), lambda body: not is_right(body), 1, 0.0, 1)
        wrong = work.request("service").replace(b"cross_entropy", b"x_entropy____", 1)
        with pytest.raises(RuntimeError, match="404"):
            window(port, os.getpid(), wrong, is_right, 1, 0.0, 1)


def test_a_wrong_mean_is_no_right_answer() -> None:
    assert not Work("JSON", 5, 3, 1, 0.0).is_right("service", b'{"loss": 0.5}')


def test_results_become_tables() -> None:
    text = report.tables(RESULTS)
    assert "| JSON 64x10, c8 | service | 0.100 | 5000 | 3.50 | 3.00 to 4.00 | 0.25 | 4 |" in text
    assert "| cross_entropy | 0.020 | 0.010 | 2.00 | 1.90 to 2.10 | 3.00 |" in text
    assert "| binary 5x3, c1 | 4.00 | 2.00 | 2.00 | 2.25 | 2.00 to 2.50 | 2.5 |" in text
    assert "core 3.0 ms, scikit-learn 60.0 ms" in text
    assert "idle 113, largest body 45" in text


def test_the_readme_has_the_tables_of_the_last_run() -> None:
    last = report.README.read_text().partition(report.MARK)[2]
    assert last.count("\n| ") > 20
