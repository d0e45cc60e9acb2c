"""Whatever bytes come as a state are refused with the reason, or make a report: nothing else, in little memory."""

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.engine import Engine
from core.errors import BadState
from core.reports import storage
from core.reports.columns import COLUMNS
from core.reports.parts.codec import Writer
from core.reports.report import report
from core.reports.spec import Spec
from core.reports.state import State
from core.reports.tasks import TASKS
from tests.core.reports.cases import seeded
from tests.core.reports.hostile import body_of, mutated, sealed
from tests.core.reports.states import data_sets, some, state_of

SETS = data_sets(3)
MEBI = 2**20


@pytest.fixture(scope="module")
def states() -> Iterator[dict[str, bytes]]:
    """Small ones of every data set: a changed byte seldom is one of a long array."""
    engine = Engine(COLUMNS.values(), device="cpu", threads=1)
    few = np.arange(3)
    yield {name: storage.write(state_of(engine, task, some(fields, few))) for name, (task, fields) in SETS.items()}
    engine.close()


def refusal(content: bytes) -> str:
    with pytest.raises(BadState) as caught:
        storage.read(content, TASKS)
    return str(caught.value)


def survived(content: bytes) -> bool:
    """Whether `content` is read; then it makes a report, merges, and is written as it was."""
    try:
        state = storage.read(content, TASKS)
    except BadState:
        return False
    assert storage.write(state) == content
    report(state)
    try:
        again = replace(state, coverage=type(state.coverage)())
        report(again + again)
    except BadState:
        pass
    return True


@pytest.mark.parametrize("name", SETS)
def test_a_state_that_ends_anywhere_is_refused(states: dict[str, bytes], name: str) -> None:
    content = states[name]
    for size in range(len(content)):
        assert refusal(content[:size])
    body = body_of(content)
    for size in range(0, len(body), 7):
        assert refusal(sealed(body[:size]))


@pytest.mark.parametrize("name", SETS)
def test_every_changed_byte_is_noticed(states: dict[str, bytes], name: str) -> None:
    content = bytearray(states[name])
    for place in range(len(content)):
        content[place] ^= 0x41
        assert refusal(bytes(content))
        content[place] ^= 0x41


def test_more_than_the_content_is_refused(states: dict[str, bytes]) -> None:
    content = states["binary"]
    assert "more than one state" in refusal(content + content)
    assert "more than one state" in refusal(content + b"LMREPORT")
    assert "8 bytes more than it should" in refusal(sealed(body_of(content) + b"\0" * 8))


def test_foreign_bytes_are_refused_by_what_they_are(states: dict[str, bytes]) -> None:
    body = body_of(states["binary"])
    assert "do not begin with LMREPORT" in refusal(b"")
    assert "do not begin with LMREPORT" in refusal(b"PK\3\4" + bytes(100))
    assert "do not begin with LMREPORT" in refusal(sealed(body, magic=b"LMREPORX"))
    assert "version 2, but this program reads version 1" in refusal(sealed(body, version=2))
    assert "checksum" in refusal(states["binary"][:-32] + bytes(32))
    for start in range(0, len(body), 50):
        refusal(bytes(100)[:start])


def test_states_of_other_tasks_are_refused(states: dict[str, bytes]) -> None:
    others = {name: task for name, task in TASKS.items() if name != "binary"}
    with pytest.raises(
        BadState, match=r"the state is of the task 'binary', but there are multiclass, multilabel, tokens"
    ):
        storage.read(states["binary"], others)


@pytest.mark.parametrize("name", SETS)
def test_changed_states_are_refused_or_make_a_report(states: dict[str, bytes], name: str) -> None:
    seed, count = seeded(250)
    rng = np.random.default_rng([seed, list(SETS).index(name)])
    body, others = body_of(states[name]), [body_of(content) for content in states.values()]
    read = 0
    for number in range(count):
        changed = sealed(mutated(rng, body, others[int(rng.integers(len(others)))]))
        try:
            read += survived(changed)
        except Exception as error:
            error.add_note(f"number {number} of {name}: {changed.hex()}")
            raise
    assert read < count


def empty(classes: int, groups: int = 0, **more: Any) -> bytes:
    """A state of no samples but with groups, which as bytes is small whatever the number of classes."""
    task = TASKS[more.pop("task", "multiclass")]
    spec = Spec(task.name, "logits", "float32", classes, grouped=groups > 0, **more)
    state = State.empty(task, spec)
    parts = {part.name: part.empty(spec) for part in task.kept(spec)}
    return storage.write(replace(state, groups={f"{number:04}": parts for number in range(groups)}))


def peak(work: Callable[[], object]) -> int:
    """How many bytes `work` takes at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_few_bytes_take_little_memory() -> None:
    """Sums of nothing take no bytes, but a report has a number for each class."""
    per_class = {"averages": ("macro", "per_class"), "metrics": ("auroc",)}
    for classes, groups in ((2**20, 1), (2**16, 16)):
        most = empty(classes, groups, **per_class)
        assert len(most) < 10_000
        assert peak(lambda content=most: report(storage.read(content, TASKS))) < 150 * MEBI  # type: ignore[misc]
        more = empty(classes, groups + 1, **per_class)
        assert peak(lambda content=more: refusal(content)) < MEBI  # type: ignore[misc]


def test_tokens_have_groups_whatever_the_vocabulary() -> None:
    content = empty(2**17, 200, task="tokens", averages=())
    assert len(report(storage.read(content, TASKS))["groups"]) == 200


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"classes": 2**20 + 1}, "classes of known scores are possible"),
        ({"classes": 5, "groups": 201}, "201 groups, but at most 200"),
        ({"classes": 2**14, "groups": 65}, "65 groups, but at most 64"),
        ({"classes": 2**20, "groups": 2}, "2 groups, but at most 1 "),
        ({"classes": 1025, "confusion": True}, "has confusions of"),
        ({"classes": 5, "threshold": 0.25}, "threshold, which a report on multiclass does not have"),
        ({"classes": 5, "bytes": True}, "bytes, which a report on multiclass does not have"),
        ({"task": "binary", "classes": 1, "top_k": (1,)}, "top_k, which a report on binary does not have"),
        ({"classes": 5, "bins": 0}, "bins is 0, but must be"),
        ({"classes": 5, "bins": 10**6}, "bins is 1000000, but must be"),
        ({"classes": 5, "worst": 1001}, "worst is 1001"),
        ({"classes": 5, "worst": -1}, "worst is -1"),
        ({"classes": 5, "confidence": 1.0}, "confidence is 1"),
        ({"classes": 5, "confidence": float("nan")}, "confidence is NaN"),
        ({"task": "binary", "classes": 1, "threshold": float("nan")}, "threshold is NaN"),
        ({"task": "binary", "classes": 1, "threshold": 1.5}, "threshold is 1.5"),
        ({"classes": 5, "binning": "best"}, "binning is"),
        ({"classes": 5, "averages": ("macro", "none")}, "must be a list of some of"),
        ({"classes": 5, "averages": ("micro", "macro")}, "must be a list of some of"),
        ({"classes": 5, "metrics": ("auroc", "auroc")}, "must be a list of some of"),
        ({"classes": 5, "top_k": (0, 1)}, "must be a list of at most"),
        ({"classes": 5, "top_k": (2, 1)}, "must be a list of at most"),
        ({"classes": 5, "top_k": tuple(range(1, 18))}, "must be a list of at most"),
    ],
)
def test_options_that_no_request_has_are_refused(more: dict[str, Any], says: str) -> None:
    assert says in refusal(empty(**more))


def _with(task: str, part: str, content: bytes, **spec: Any) -> bytes:
    """A state whose one group has `content` as one part, and the others empty."""
    kept = Spec(task, "logits", "float32", 3 if task != "binary" else 1, **spec)
    writer = Writer()
    kept.write(writer)
    for count in (0, 1, 0):  # shards, groups, the size of the group's label
        writer.u32(count)
    body = writer.content()
    for one in TASKS[task].kept(kept):
        own = Writer()
        one.empty(kept).write(own)
        body += content if one.name == part else own.content()
    return sealed(body)


def _sums(size: int, low: int, *limbs: int, odd: tuple[int, ...] = ()) -> bytes:
    writer = Writer()
    writer.u32(low)
    writer.u32(len(limbs))
    for limb in limbs:
        writer.array(np.full(size, limb, np.uint32), "<u4")
    writer.u8(bool(odd))
    for count in odd:
        writer.array(np.full(size, count), "<i8")
    return writer.content()


def _keys(kind: str, *keys: int) -> bytes:
    writer = Writer()
    writer.u8(1)
    writer.u32(len(keys))
    writer.u8(kind == "<u8")
    writer.array(np.array(keys, np.uint64), kind)
    return writer.content()


MINUS_ONE, ONE, HALF = _sums(4, 36, 2**32 - 1), _sums(4, 36, 1), _sums(4, 35, 2**31)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_with("binary", "counts", MINUS_ONE), "counts cannot be"),
        (_with("binary", "counts", HALF), "counts cannot be"),
        (_with("binary", "counts", _sums(4, 36, 1, odd=(0, 1, 0))), "counts cannot be"),
        (_with("binary", "counts", _sums(4, 38, 1)), "counts cannot be"),
        (_with("binary", "weight", _sums(2, 36, 2**32 - 1)), "weight cannot be"),
        (_with("binary", "weight", _sums(2, 36, 1, odd=(1, 0, 0))), "weight cannot be"),
        (_with("binary", "weight", _sums(2, 36, 1, odd=(0, 0, 1))), "weight cannot be"),
        (_with("binary", "decisions", _sums(8, 36, 2**32 - 1)), "decisions cannot be"),
        (_with("tokens", "tokens", _sums(1, 35, 2**31)), "tokens cannot be"),
        (_with("binary", "scores", _keys("<u8", 1 << 32) + _sums(2, 36, 1)), "scores cannot be"),
        (_with("binary", "losses", _keys("<u4", 1) + _sums(1, 36, 2**32 - 1)), "losses cannot be"),
        (
            _with("multiclass", "scores_by_class", _keys("<u8", 3 << 32) + _sums(2, 36, 1), metrics=("auroc",)),
            "scores_by_class cannot be",
        ),
        (
            _with("multiclass", "confusions", _keys("<u4", 3) + _sums(1, 36, 1), confusion=True),
            "confusions cannot be",
        ),
        (
            _with("multiclass", "confusions", _keys("<u8", 2**63) + _sums(1, 36, 1), confusion=True),
            "confusions cannot be",
        ),
    ],
)
def test_sums_and_keys_that_no_sample_has_are_refused(content: bytes, says: str) -> None:
    assert says in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        _with("binary", "counts", ONE),
        _with("binary", "weight", _sums(2, 36, 1, odd=(0, 1, 0))),
        _with("binary", "scores", _keys("<u4", 0, 2**32 - 1) + _sums(4, 36, 1)),  # keys of NaN
        _with("binary", "losses", _keys("<u4", 0, 2**32 - 1) + _sums(2, 79, 1)),
        _with("multiclass", "losses", _keys("<u4", 0, 2**32 - 1) + _sums(2, 0, 1)),
        _with("multiclass", "confusions", _keys("<u8", 1, 2 << 32) + _sums(2, 36, 1), confusion=True),
        _with("multiclass", "loss", _sums(3, 36, 1, odd=(1, 1, 1))),
    ],
)
def test_odd_sums_and_keys_that_are_read_make_a_report(content: bytes) -> None:
    assert survived(content)


def test_a_group_in_a_state_without_groups_is_refused() -> None:
    spec = Spec("binary", "logits", "float32", 1)
    parts = {part.name: part.empty(spec) for part in TASKS["binary"].kept(spec)}
    state = State.empty(TASKS["binary"], spec)
    assert "says that it has none" in refusal(storage.write(replace(state, groups={"a": parts})))
    assert "2 groups, but at most 1" in refusal(storage.write(replace(state, groups={"": parts, "a": parts})))


@pytest.mark.parametrize("labels", ["ba", "aa"])
def test_groups_that_are_not_in_order_are_refused(labels: str) -> None:
    spec = Spec("binary", "logits", "float32", 1, grouped=True)
    writer = Writer()
    spec.write(writer)
    for count in (0, len(labels)):  # shards, groups
        writer.u32(count)
    for label in labels:
        writer.text(label)
        for part in TASKS["binary"].kept(spec):
            part.empty(spec).write(writer)
    assert "groups are not in order" in refusal(sealed(writer.content()))
