"""What a request for a report must not be is refused: the error names the input, what it must be, and what it was."""

from typing import Any

import numpy as np
import pytest

from core.arguments import Untyped
from core.errors import InvalidInput
from core.reports import options
from core.reports.prepare import MOST_LABEL, Job, prepare
from core.reports.tasks import TASKS

ONES = np.ones(3)
FIELDS: dict[str, dict[str, Any]] = {
    "multiclass": {"logits": np.zeros((3, 4), np.float32), "targets": np.zeros(3, np.int64)},
    "binary": {"logits": np.zeros(3, np.float32), "targets": np.zeros(3, np.int64)},
    "multilabel": {"logits": np.zeros((3, 4), np.float32), "targets": np.zeros((3, 4), np.int64)},
    "tokens": {"logits": np.zeros((3, 2, 4), np.float32), "targets": np.zeros((3, 2), np.int64)},
}


def job_of(task: str, **more: Any) -> Job:
    fields = FIELDS[task] | more
    return prepare(TASKS[task], {name: value for name, value in fields.items() if value is not None})


LABELS = "must be a 64-bit integer or a string of at most 256 characters, all of one type"
PICK = "must be an integer from 1 on"


@pytest.mark.parametrize(
    ("task", "more", "where", "says"),
    [
        ("binary", {"top_k": [1]}, ("top_k",), r"top_k is not known: binary takes logits, .*targets"),
        ("tokens", {"confusion": True}, ("confusion",), "confusion is not known: tokens takes"),
        ("binary", {"targets": None}, ("targets",), "targets is missing, but must be"),
        ("binary", {"logits": None}, None, "exactly one of logits, log_probabilities, probabilities"),
        ("binary", {"probabilities": ONES}, None, "exactly one of logits, log_probabilities, probabilities"),
        ("binary", {"targets": np.zeros(4, np.int64)}, None, r"\(3,\).*\(4,\)|\(4,\).*\(3,\)|4.*3|3.*4"),
        ("binary", {"targets": np.array([0, 1, 2])}, ("targets", 2), r"targets\[2\] is 2, but must be"),
        (
            "multiclass",
            {"targets": np.array([0, 4, 1])},
            ("targets", 1),
            r"\[1\] is 4, but must be a class index",
        ),
        ("binary", {"sample_weight": np.ones(4)}, ("sample_weight",), r"has shape \(4,\), but must have shape \(3,\)"),
        ("tokens", {"sample_weight": np.ones((3, 2))}, ("sample_weight",), r"has shape \(3, 2\), but must"),
        ("binary", {"sample_weight": np.array([1, 2, 3])}, ("sample_weight",), "sample_weight .*must"),
        (
            "binary",
            {"sample_weight": -ONES},
            ("sample_weight", 0),
            r"\[0\] is -1\.0, but must be finite and at least",
        ),
        ("binary", {"sample_weight": np.array([1, np.nan, 1])}, ("sample_weight", 1), r"\[1\] is NaN, but must be"),
        (
            "binary",
            {"sample_weight": np.array([1, 1, np.inf])},
            ("sample_weight", 2),
            r"\[2\] is Infinity, but must",
        ),
        (
            "tokens",
            {"bytes": np.array([1, -2, 3])},
            ("bytes", 1),
            r"bytes\[1\] is -2, but must be finite and at least 0",
        ),
        ("tokens", {"bytes": np.zeros(2, np.int64)}, ("bytes",), r"bytes has shape \(2,\), but must have shape \(3,\)"),
        ("binary", {"bins": np.int64(0)}, ("bins",), "bins is 0, but must be between 1 and 1000"),
        ("binary", {"bins": np.int64(1001)}, ("bins",), "bins is 1001, but must be between 1 and 1000"),
        ("binary", {"worst": np.int64(1001)}, ("worst",), "worst is 1001, but must be between 0 and 1000"),
        ("binary", {"worst": np.int64(-1)}, ("worst",), "worst is -1, but must be between 0 and 1000"),
        ("binary", {"threshold": np.float64(1.5)}, ("threshold",), "threshold is 1.5, but must be between 0"),
        ("binary", {"threshold": np.float64(np.nan)}, ("threshold",), "threshold is NaN, but must be between 0"),
        ("binary", {"confidence": np.float64(1)}, ("confidence",), "confidence is 1.0, but must be above 0"),
        ("binary", {"binning": "best"}, ("binning",), 'binning is "best", but must be'),
        ("multiclass", {"confusion": "yes"}, ("confusion",), 'confusion is "yes", but must be'),
        ("binary", {"ids": "abc"}, ("ids",), 'ids is "abc", but must be a list of strings or of integers'),
        ("binary", {"ids": {"a": 1}}, ("ids",), "ids is an object, but must be a list"),
        ("binary", {"ids": ["a", "b"]}, ("ids",), "ids has 2 entries, but must have 3: one for each sample"),
        ("binary", {"ids": [1, 2, 3, 4]}, ("ids",), "ids has 4 entries, but must have 3"),
        ("binary", {"ids": ["a", 2, "c"]}, ("ids", 1), rf"ids\[1\] is 2, but {LABELS}"),
        ("binary", {"ids": [1, "b", 3]}, ("ids", 1), rf'ids\[1\] is "b", but {LABELS}'),
        ("binary", {"ids": [1, 2.0, 3]}, ("ids", 1), rf"ids\[1\] is 2.0, but {LABELS}"),
        ("binary", {"ids": [True, False, True]}, ("ids", 0), rf"ids\[0\] is true, but {LABELS}"),
        ("binary", {"ids": [1, True, 3]}, ("ids", 1), rf"ids\[1\] is true, but {LABELS}"),
        ("binary", {"ids": [None] * 3}, ("ids", 0), rf"ids\[0\] is null, but {LABELS}"),
        ("binary", {"ids": [["a"], "b", "c"]}, ("ids", 0), rf"ids\[0\] is an array, but {LABELS}"),
        ("binary", {"ids": [1, 2**63, 3]}, ("ids", 1), rf"ids\[1\] is 9223372036854775808, but {LABELS}"),
        ("binary", {"ids": [1, 2, -(2**63) - 1]}, ("ids", 2), rf"ids\[2\] is -9223372036854775809, but {LABELS}"),
        ("binary", {"ids": ["a", "b" * 257, "c"]}, ("ids", 1), rf'ids\[1\] is "b{{40}}", but {LABELS}'),
        ("binary", {"ids": ["a", "b", "\ud800"]}, ("ids", 2), rf"ids\[2\] is .*, but {LABELS}"),
        ("binary", {"ids": np.ones(3)}, ("ids",), r"ids is an array of float64 of shape \(3,\), but must be integers"),
        (
            "binary",
            {"ids": np.ones((3, 1), np.int64)},
            ("ids",),
            r"ids is an array of int64 of shape \(3, 1\), but",
        ),
        (
            "binary",
            {"ids": np.array([1, 2, 2**63], np.uint64)},
            ("ids", 2),
            rf"ids\[2\] is 9223372036854775808, but {LABELS}",
        ),
        ("binary", {"groups": ["a"] * 2}, ("groups",), "groups has 2 entries, but must have 3"),
        ("binary", {"groups": ["a", "b", "\udfff"]}, ("groups", 2), rf"groups\[2\] is .*, but {LABELS}"),
        ("binary", {"shard": 5}, ("shard",), "shard is 5, but must be a string of at most 256 characters"),
        ("binary", {"shard": "s" * 257}, ("shard",), 'shard is "s{40}", but must be a string of at most 256'),
        ("binary", {"shard": "\ud800"}, ("shard",), "shard is .*, but must be a string"),
        (
            "tokens",
            {"top_k": 5},
            ("top_k",),
            "top_k is 5, but must be a list of at most 16 distinct integers from 1 on",
        ),
        ("tokens", {"top_k": [1, 0]}, ("top_k", 1), rf"top_k\[1\] is 0, but {PICK}"),
        ("tokens", {"top_k": [1, 1]}, ("top_k", 1), rf"top_k\[1\] is 1, but {PICK}, each once"),
        ("tokens", {"top_k": [1, 2.0]}, ("top_k", 1), rf"top_k\[1\] is 2.0, but {PICK}"),
        ("tokens", {"top_k": [True]}, ("top_k", 0), rf"top_k\[0\] is true, but {PICK}"),
        ("tokens", {"top_k": ["1"]}, ("top_k", 0), rf'top_k\[0\] is "1", but {PICK}'),
        ("tokens", {"top_k": [2**63]}, ("top_k", 0), rf"top_k\[0\] is 9223372036854775808, but {PICK}"),
        ("tokens", {"top_k": list(range(1, 18))}, ("top_k",), "top_k has 17 entries, but at most 16 are allowed"),
        ("tokens", {"top_k": np.array([[1]])}, ("top_k", 0), rf"top_k\[0\] is an array, but {PICK}"),
        ("tokens", {"top_k": np.array(1)}, ("top_k",), "top_k is .*, but must be a list of at most 16 distinct"),
        ("tokens", {"top_k": np.array([1.0])}, ("top_k", 0), rf"top_k\[0\] is 1.0, but {PICK}"),
        (
            "multiclass",
            {"averages": ["macro", "best"]},
            ("averages", 1),
            r'\[1\] is "best", but must be one of',
        ),
        ("multiclass", {"averages": ["samples"]}, ("averages", 0), r'averages\[0\] is "samples", but must be'),
        ("multiclass", {"averages": ["macro", "macro"]}, ("averages", 1), r'averages\[1\] is "macro".*each once'),
        ("multiclass", {"averages": "macro"}, ("averages",), 'averages is "macro", but must be a list of some of'),
        ("multiclass", {"averages": [1]}, ("averages", 0), r"averages\[0\] is 1, but must be one of"),
        ("multiclass", {"averages": [["macro"]]}, ("averages", 0), r"averages\[0\] is an array, but must be one of"),
        (
            "multiclass",
            {"metrics": ["ranking_loss"]},
            ("metrics", 0),
            r'\[0\] is "ranking_loss", but must be .*"auroc"',
        ),
    ],
)
def test_what_cannot_be_is_refused(
    task: str, more: dict[str, Any], where: tuple[str | int, ...] | None, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        job_of(task, **more)
    if where:
        assert where in [fault.where for fault in caught.value.faults]


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        job_of("tokens", ids=[1], groups=5, top_k=[0], bins=None, sample_weight=-ONES, worst=np.int64(-1))
    assert {fault.where[0] for fault in caught.value.faults} == {"ids", "groups", "top_k", "sample_weight", "worst"}


def test_more_classes_than_a_report_has_are_refused() -> None:
    none = {"logits": np.zeros((0, options.MOST_CLASSES + 1), np.float32), "targets": np.zeros(0, np.int64)}
    with pytest.raises(InvalidInput, match=r"logits has 1048577 classes, but a report has at most 1048576"):
        prepare(TASKS["multiclass"], none)


def test_a_confusion_matrix_of_too_many_classes_is_refused() -> None:
    wide = np.zeros((3, options.MOST_CONFUSION + 1), np.float32)
    says = "confusion is true, but must be false where there are 1025 classes: 1024 at most"
    with pytest.raises(InvalidInput, match=says):
        job_of("multiclass", logits=wide, confusion=True)
    assert job_of("multiclass", logits=wide[:, :-1], confusion=True).spec.confusion


def test_more_groups_than_a_report_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "MOST_GROUPED", 8)
    with pytest.raises(InvalidInput, match="groups has 3 different labels, but must have at most 2"):
        job_of("multiclass", groups=[1, 2, 3])
    assert job_of("multiclass", groups=[1, 2, 2]).groups == ["1", "2", "2"]
    assert job_of("tokens", groups=[1, 2, 3]).spec.grouped


def test_what_is_at_the_limits_is_taken() -> None:
    long = "é" * MOST_LABEL
    job = job_of("multiclass", ids=[long, "", "\0"], groups=[long] * 3, shard=long, top_k=list(range(1, 17)))
    assert [job.ids.at(place)[1] for place in range(3)] == [long, "", "\0"]
    numbers = [2**63 - 1, -(2**63), 0]
    for ids in (numbers, np.array(numbers), Untyped(np.array(numbers))):
        job = job_of("binary", ids=ids, worst=np.int64(1000), bins=np.int64(1000))
        assert [job.ids.at(place)[2] for place in range(3)] == numbers


def test_weights_of_0_and_targets_that_are_ignored_are_taken() -> None:
    job = job_of("binary", sample_weight=0 * ONES, targets=np.full(3, -100))
    assert job.spec.weighted
    assert job.weight is not None
    assert job.weight.dtype == np.float64


def test_lists_are_kept_in_one_order() -> None:
    first = job_of("multiclass", top_k=[5, 1], averages=["weighted", "macro"]).spec
    second = job_of("multiclass", top_k=np.array([1, 5]), averages=["macro", "weighted"]).spec
    assert first == second


def test_a_column_of_weights_for_a_column_of_scores_is_taken() -> None:
    square = {"logits": np.zeros((3, 2), np.float32), "targets": np.zeros((3, 2), np.int64)}
    for weight in (np.arange(6.0), np.arange(6.0).reshape(3, 2)):
        job = job_of("binary", **square, sample_weight=weight)
        assert job.size == 6
        assert job.weight is not None
        assert job.weight.tolist() == [0, 1, 2, 3, 4, 5]
