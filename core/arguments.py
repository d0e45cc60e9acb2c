"""The names and types of what a request brings: arrays, options and choices, each as its declaration has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.declare import FLOAT_DTYPES, INDEX_DTYPES, Choice, Kind, Measure, Tensor
from core.dtypes import name_of
from core.errors import Fault, InvalidInput, missing, mistyped, unknown
from core.rules import Array

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Untyped:
    """An array that came as text. Floats are float64 and take the dtype of the typed arrays beside them."""

    array: Array


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a request brings, typed and with the defaults filled in."""

    arrays: dict[str, Array]
    untyped: frozenset[str]  # the arrays whose floats have no dtype of their own
    options: dict[str, int | float]
    choices: dict[str, Any]


def parse(measure: Measure, given: Mapping[str, Any]) -> Arguments:
    """Sort `given` by the declaration of `measure`. Raises InvalidInput with every name and type that is wrong."""
    faults = [unknown(name, measure.name, measure.names) for name in given if name not in measure.names]
    arrays: dict[str, Array] = {}
    untyped = []
    for tensor in measure.tensors:
        if tensor.name in given:
            value = given[tensor.name]
            if isinstance(value, Untyped):
                untyped.append(tensor.name)
                value = value.array
            fault = _array_fault(tensor, value)
            arrays[tensor.name] = value
            faults += [fault] if fault else []
        elif tensor.required:
            faults.append(missing(tensor.name, tensor.says))
    options = {option.name: given.get(option.name, option.default) for option in measure.options}
    choices = {choice.name: given.get(choice.name, choice.default) for choice in measure.choices}
    faults += [mistyped(o.name, options[o.name], o.says) for o in measure.options if not _is_option(o, options[o.name])]
    faults += [mistyped(c.name, choices[c.name], c.says) for c in measure.choices if not _is_choice(c, choices[c.name])]
    if faults:
        raise InvalidInput(faults)
    return Arguments(arrays, frozenset(untyped), options, choices)


def resolve(measure: Measure, given: Mapping[str, Any]) -> Measure:
    """The alternative of a union `measure` whose first input is among `given`. Raises InvalidInput if several are, or
    none."""
    found = [one for one in measure.alternatives if one.main.name in given]
    if len(found) == 1:
        return found[0]
    must = f"exactly one of {', '.join(one.main.name for one in measure.alternatives)} must be there, but there"
    faults = [unknown(name, measure.name, measure.names) for name in given if name not in measure.names]
    if not found:
        raise InvalidInput([*faults, Fault((), f"{must} is none")])
    names = [one.main.name for one in found]
    told = f"{must} are {', '.join(names[:-1])} and {names[-1]}"
    raise InvalidInput([*faults, *(Fault((name,), told) for name in names[1:])])


def _array_fault(tensor: Tensor, array: object) -> Fault | None:
    if not isinstance(array, np.ndarray):
        return mistyped(tensor.name, array, tensor.says)
    if name_of(array.dtype) in (FLOAT_DTYPES if tensor.kind is Kind.FLOAT else INDEX_DTYPES):
        return None
    return Fault(
        (tensor.name,), f"{tensor.name} is an array of {name_of(array.dtype)}, but must be {tensor.says}{tensor.advice}"
    )


def _is_option(option: Tensor, value: object) -> bool:
    if isinstance(value, bool):
        return False
    if option.kind is Kind.FLOAT:
        return isinstance(value, float | np.floating) or (
            isinstance(value, int | np.integer) and bool(-(2**53) < value < 2**53)
        )
    return isinstance(value, int | np.integer) and bool(_INT64.min <= value <= _INT64.max)


def _is_choice(choice: Choice, value: object) -> bool:
    if not choice.values:
        return isinstance(value, int) and not isinstance(value, bool)
    return type(value) is type(choice.default) and value in choice.values
