"""From the fields of a request to a Job, whose batch an engine computes the columns of, or to faults."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from core import check
from core.arguments import Untyped, parse
from core.check import MAX_ELEMENTS, Batch
from core.dtypes import name_of, numbers
from core.errors import Fault, InvalidInput, mistyped, refuse, unknown
from core.reports.declare import Labels, Listed, Picks, Task, Text
from core.reports.options import MOST_CLASSES, MOST_CONFUSION, most_groups
from core.reports.parts.ids import Ids
from core.reports.spec import Spec
from core.rules import Array

MOST_LABEL = 256  # characters of an id or a group
INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Job:
    """A checked request: what the engine computes, and what becomes of it.

    `weight` is float64 (samples,) or None where every weight is 1; `groups` the label of each sample, or None.
    `shard` is "" for none; its positions `first` to `first + size` are these samples'.
    """

    task: Task
    batch: Batch
    spec: Spec
    size: int
    weight: Array | None
    bytes: Array | None
    ids: Ids
    named: bool  # whether ids were given
    groups: list[str] | None
    shard: str
    first: int


def prepare(
    task: Task,
    given: Mapping[str, Any],
    *,
    dtype: str = "float32",
    max_elements: int = MAX_ELEMENTS,
    first: int = 0,
) -> Job:
    """Check `given`, the fields of a request by name, against the declaration of `task`.

    Arrays are as in core.check.prepare; the lists are Python's, or integer arrays. `first` is the position in its
    shard of the first sample. Raises InvalidInput.
    """
    known, lists = set(task.names), task.lists
    surplus = [unknown(name, task.name, task.names) for name in given if name not in known]
    if surplus:
        raise InvalidInput(surplus)
    given = _with_threshold_of_scores(given, dtype)
    of_columns, of_extras = set(task.columns.names), set(task.extras.names)
    batch = check.prepare(
        task.columns, {n: v for n, v in given.items() if n in of_columns}, dtype=dtype, max_elements=max_elements
    )
    arguments = parse(task.extras, {name: value for name, value in given.items() if name in of_extras})
    samples = batch.plan.samples
    size = samples[0] if samples and task.columns.over_classes else prod(samples)
    faults = [*_option_faults(task, given, arguments.options), *_list_faults(lists, given, size)]
    arrays = {name: _per_sample(name, array, size, samples, faults) for name, array in arguments.arrays.items()}
    faults += _value_faults(task, arrays)
    if faults:
        raise InvalidInput(faults)
    weight = arrays.get("sample_weight")
    spec = _spec(task, given, batch, arguments.options | arguments.choices, weight is not None, "bytes" in arrays)
    groups = [str(label) for label in _entries(given["groups"])] if "groups" in given else None
    _require_room(task, spec, groups)
    shard = given.get("shard", "")
    return Job(
        task=task,
        batch=batch,
        spec=spec,
        size=size,
        weight=None if weight is None else numbers(weight).astype(np.float64),
        bytes=arrays.get("bytes"),
        ids=Ids.of(_entries(given["ids"])) if "ids" in given else Ids.default(shard, first),
        named="ids" in given,
        groups=groups,
        shard=shard,
        first=first,
    )


def _with_threshold_of_scores(given: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
    """`given` with the threshold of probabilities as the nearest of their dtype, where 0.7 is then at least 0.7."""
    scores, threshold = given.get("probabilities"), given.get("threshold")
    own = dtype if isinstance(scores, Untyped) else name_of(scores.dtype) if isinstance(scores, np.ndarray) else ""
    if own in ("", "float64") or type(threshold) is not float:
        return given
    with np.errstate(over="ignore"):
        return {**given, "threshold": float((np.float16 if own == "float16" else np.float32)(threshold))}


def _option_faults(task: Task, given: Mapping[str, Any], options: Mapping[str, Any]) -> list[Fault]:
    rules = ((option.name, rule) for option in task.extras.options if option.name in given for rule in option.rules)
    found = (rule.check(name, np.asarray(options[name]), {}) for name, rule in rules)
    return [fault for fault in found if fault]


def _value_faults(task: Task, arrays: Mapping[str, Array | None]) -> list[Fault]:
    found = []
    for tensor in task.extras.tensors:
        array = arrays.get(tensor.name)
        if array is not None:
            found += [rule.check(tensor.name, numbers(array), {}) for rule in tensor.rules]
    return [fault for fault in found if fault]


def _per_sample(name: str, array: Array, size: int, samples: tuple[int, ...], faults: list[Fault]) -> Array | None:
    """`array` as (samples,); its fault is added to `faults`."""
    if array.shape in ((size,), samples) and array.size == size:
        return array.reshape(size)
    shapes = " or ".join(map(str, dict.fromkeys(((size,), samples))))
    detail = f"{name} has shape {array.shape}, but must have shape {shapes}: one value a sample"
    faults.append(Fault((name,), detail))
    return None


def _entries(value: Any) -> list[Any]:
    array = value.array if isinstance(value, Untyped) else value
    entries: list[Any] = array.tolist() if isinstance(array, np.ndarray) else array
    return entries


def _list_faults(lists: Mapping[str, Listed], given: Mapping[str, Any], size: int) -> list[Fault]:
    faults: list[Fault] = []
    for name in lists.keys() & given.keys():
        listed, value = lists[name], given[name]
        if isinstance(listed, Text):
            wrong = not isinstance(value, str) or len(value) > listed.most or not _is_text(value)
            faults += [mistyped(name, value, listed.says)] if wrong else []
        elif isinstance(listed, Picks):
            faults += _pick_faults(listed, value)
        else:
            faults += _label_faults(listed, value, size)
    return faults


def _pick_faults(listed: Picks, value: Any) -> list[Fault]:
    entries = _entries(value)
    if not isinstance(entries, list | tuple):
        return [mistyped(listed.name, value, listed.says)]
    for place, entry in enumerate(entries):
        if listed.values:
            good = isinstance(entry, str) and entry in listed.values
        else:
            good = isinstance(entry, int) and not isinstance(entry, bool) and 1 <= entry <= INT64.max
        if not good or entry in entries[:place]:
            fault = mistyped(f"{listed.name}[{place}]", entry, f"{listed.entry_says}, each once")
            return [Fault((listed.name, place), fault.detail)]
    if len(entries) > listed.most:
        return [
            Fault((listed.name,), f"{listed.name} has {len(entries)} entries, but at most {listed.most} are allowed")
        ]
    return []


def _label_faults(listed: Labels, value: Any, size: int) -> list[Fault]:
    name = listed.name
    if isinstance(value, Untyped):
        value = value.array
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "iu" or value.shape != (size,):
            found = f"{name} is an array of {name_of(value.dtype)} of shape {value.shape}"
            return [Fault((name,), f"{found}, but must be integers of shape ({size},)")]
        if value.dtype != np.uint64:
            return []
        value = value.tolist()  # of which some may be too large
    if not isinstance(value, list):
        return [mistyped(name, value, listed.says)]
    if len(value) != size:
        return [Fault((name,), f"{name} has {len(value)} entries, but must have {size}: one for each sample")]
    if set(map(type, value)) <= {int}:
        wrong = next((i for i, entry in enumerate(value) if not INT64.min <= entry <= INT64.max), None)
    elif set(map(type, value)) <= {str}:
        wrong = next((i for i, entry in enumerate(value) if len(entry) > MOST_LABEL or not _is_text(entry)), None)
    else:
        kind = next((t for t in (str, int) if value and isinstance(value[0], t)), str)
        wrong = next((i for i, entry in enumerate(value) if type(entry) is not kind), None)
    if wrong is None:
        return []
    says = f"a 64-bit integer or a string of at most {MOST_LABEL} characters, all of one type"
    return [Fault((name, wrong), mistyped(f"{name}[{wrong}]", value[wrong], says).detail)]


def _is_text(entry: str) -> bool:
    """Whether it can be written as UTF-8, which half of a surrogate pair cannot."""
    try:
        entry.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spec(
    task: Task, given: Mapping[str, Any], batch: Batch, options: Mapping[str, Any], weighted: bool, sized: bool
) -> Spec:
    plan = batch.plan
    picked = {name: listed.default for name, listed in task.lists.items() if isinstance(listed, Picks)}
    picked |= {name: tuple(_entries(given[name])) for name in picked if name in given}
    said: dict[str, Any] = {**plan.options, **options, **picked}
    known = Spec.__dataclass_fields__.keys() & said.keys()
    found = {name: said[name] for name in known}
    for name in ("threshold", "confidence"):
        if name in found:
            found[name] = float(found[name])
    for name in ("averages", "metrics", "top_k"):
        if name in found:
            found[name] = tuple(sorted(found[name]))
    for name in ("bins", "worst"):
        if name in found:
            found[name] = int(found[name])
    return Spec(
        task=task.name,
        scores=plan.measure.main.name,
        dtype=name_of(plan.dtype),
        classes=batch.classes,
        weighted=weighted,
        grouped="groups" in given,
        bytes=sized,
        **found,
    )


def _require_room(task: Task, spec: Spec, groups: list[str] | None) -> None:
    if spec.classes > MOST_CLASSES:
        raise refuse(spec.scores, f"{spec.scores} has {spec.classes} classes, but a report has at most {MOST_CLASSES}")
    if spec.confusion and spec.classes > MOST_CONFUSION:
        detail = (
            f"confusion is true, but must be false where there are {spec.classes} classes: {MOST_CONFUSION} at most"
        )
        raise refuse("confusion", detail)
    if groups is None:
        return
    count = len(set(groups))
    most = most_groups(task, spec.classes)
    if count > most:
        raise refuse("groups", f"groups has {count} different labels, but must have at most {most}")
