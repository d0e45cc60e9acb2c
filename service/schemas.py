"""The only place that derives pydantic models: to validate a request's scalars, and to describe bodies in OpenAPI.

Tensors are described but not validated here: they arrive as arrays, and `core` checks them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from core.declare import Choice, Kind, Measure, Tensor
from core.errors import Fault, InvalidInput, missing, mistyped, unknown
from core.rules import Between, Inside
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, create_model
from typing_extensions import TypeAliasType

NonFinite = TypeAliasType("NonFinite", Literal["NaN", "Infinity", "-Infinity"])
Number = TypeAliasType("Number", float | NonFinite)
# Spelled out to a fixed depth: a schema that refers to itself breaks client generators.
# Lists of numbers stand before lists of numbers and texts: where lists are invariant, the one is not the other.
Finite1 = TypeAliasType("Finite1", list[float])
Finite2 = TypeAliasType("Finite2", list[Finite1])
Finite3 = TypeAliasType("Finite3", list[Finite2])
Finite4 = TypeAliasType("Finite4", list[Finite3])
Numbers1 = TypeAliasType("Numbers1", list[Number])
Numbers2 = TypeAliasType("Numbers2", list[Numbers1])
Numbers3 = TypeAliasType("Numbers3", list[Numbers2])
Numbers4 = TypeAliasType("Numbers4", list[Numbers3])
Numbers = Number | Finite1 | Finite2 | Finite3 | Finite4 | Numbers1 | Numbers2 | Numbers3 | Numbers4
Integer = TypeAliasType("Integer", int)
Integers1 = TypeAliasType("Integers1", list[Integer])
Integers2 = TypeAliasType("Integers2", list[Integers1])
Integers3 = TypeAliasType("Integers3", list[Integers2])
Integers4 = TypeAliasType("Integers4", list[Integers3])
Integers = Integer | Integers1 | Integers2 | Integers3 | Integers4


class Closed(BaseModel):
    """A model that takes no other fields, and no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Base64Floats(Closed):
    """An array of floats as the base64 text of its bytes, little-endian, in row-major order."""

    dtype: Literal["float16", "bfloat16", "float32", "float64"]
    shape: list[Annotated[int, Field(ge=0)]]
    b64: str = Field(description="Base64 of shape's product times the dtype's size bytes.")


class Base64Integers(Closed):
    """An array of integers as the base64 text of its bytes, little-endian, in row-major order."""

    dtype: Literal["int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]
    shape: list[Annotated[int, Field(ge=0)]]
    b64: str = Field(description="Base64 of shape's product times the dtype's size bytes.")


class ProblemError(BaseModel):
    """One thing that is wrong."""

    pointer: str = Field(
        description='JSON Pointer (RFC 6901) into the request, "" its body as a whole; on /v2 that of a tensor begins'
        " with the name of the input."
    )
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457 problem document: what every failure answers."""

    type: str
    title: str
    status: int
    detail: str = Field(description="Which input, what it must be, and what it was.")
    errors: list[ProblemError] = Field(default_factory=list, description="Always there at 422; at most 20.")
    error: str = Field(description="The same text as detail.")
    request_id: str


def _dims(tensor: Tensor) -> str:
    if tensor.dims == (...,):
        return "any shape" if tensor.required or tensor.one_of else "a shape that broadcasts"
    return "(" + ", ".join("..." if dim is ... else str(dim) for dim in tensor.dims) + ")"


def tensor_field(tensor: Tensor) -> tuple[Any, Any]:
    """The type and field of an input."""
    bounds: dict[str, Any] = {}
    for rule in tensor.rules:
        if isinstance(rule, Between) and tensor.is_option:
            bounds = {"minimum": rule.low, "maximum": rule.high}
        elif isinstance(rule, Inside) and tensor.is_option:
            bounds = {"exclusiveMinimum": rule.low, "exclusiveMaximum": rule.high}
    if tensor.is_option:
        kind = float if tensor.kind is Kind.FLOAT else int
        extra = bounds if tensor.kind is Kind.FLOAT else {"format": "int64", **bounds}
        return kind, Field(tensor.default, description=tensor.doc, json_schema_extra=extra)
    said = [f"{tensor.doc} Shape: {_dims(tensor)}."]
    said += [f"Each {rule.says({})}." for rule in tensor.rules]
    array: Any = Numbers | Base64Floats if tensor.kind is Kind.FLOAT else Integers | Base64Integers
    if tensor.required:
        return Annotated[array, SkipValidation], Field(description=" ".join(said))
    said.append("One of several: a request brings one." if tensor.one_of else f"Default: {tensor.default} for each.")
    return Annotated[array, SkipValidation], Field(default_factory=lambda: None, description=" ".join(said))


def _choice(choice: Choice) -> tuple[Any, Any]:
    kind: Any = (
        Literal[choice.values] if choice.values and not isinstance(choice.default, bool) else type(choice.default)
    )
    return kind, Field(choice.default, description=choice.doc)


def title(measure: Measure) -> str:
    """The names of a measure's models begin with this."""
    return "".join(word.capitalize() for word in measure.name.split("_"))


DTYPE: tuple[Any, Any] = (
    Literal["float32", "float64"],
    Field("float32", description="What nested lists are read as and computed in. Base64 arrays keep their own."),
)
PRESENTATION: dict[str, tuple[Any, Any]] = {
    "per_sample": (bool, Field(True, description="Whether the answer holds the per-sample values.")),
    "dtype": DTYPE,
}
SAYS = {"per_sample": "true or false", "dtype": 'one of "float32", "float64"'}  # of those


def request_model(
    measure: Measure, more: Mapping[str, tuple[Any, Any]] = PRESENTATION, name: str = ""
) -> type[BaseModel]:
    """The body of a request to `measure`, with `more` fields; `name` is that of the model, if not the measure's."""
    fields: dict[str, Any] = {tensor.name: tensor_field(tensor) for tensor in measure.inputs}
    fields |= {choice.name: _choice(choice) for choice in measure.choices}
    fields |= more
    return create_model(
        f"{name or title(measure)}Request", __base__=Closed, __doc__=f"Body: {measure.summary}", **fields
    )


def answer_model(measure: Measure) -> type[BaseModel]:
    """The body of an answer of `measure`."""
    maybe = Number | None
    totals: dict[str, Any] = {
        "sum": (Number, Field(description="Sum of the per-sample values, correctly rounded to float64.")),
        "weight": (Number, Field(description="What the mean divides the sum by, correctly rounded to float64.")),
        "count": (int, Field(description="How many samples (elements, for an elementwise loss) count.")),
        "ignored": (int, Field(description="How many samples are at ignore_index.")),
    }
    totals |= {f"sum_{name}": (Number, Field(description=f"Sum of {name}.")) for name in measure.outputs[1:]}
    fields: dict[str, Any] = {
        "loss": (maybe, Field(description='The reduced value; null only for reduction "none".')),
        "reduction": (_choice(measure.reduction)[0], Field()),
    }
    # Optional in the answer, but never null: the schema must not allow what is not sent.
    fields |= {
        name: (Numbers, Field(default_factory=list, description="The unreduced values; left out on request."))
        for name in measure.outputs
    }
    if measure.outputs[1:]:
        reduced: dict[str, Any] = {name: (maybe, Field()) for name in measure.outputs[1:]}
        fields["reduced"] = (create_model(f"{title(measure)}Reduced", **reduced), Field())
    fields["totals"] = (create_model(f"{title(measure)}Totals", **totals), Field())
    fields["dtype"] = (Literal["float32", "float64"], Field(description="The type that was computed in."))
    return create_model(f"{title(measure)}Answer", __doc__=f"Answer: {measure.summary}", **fields)


def validate(
    model: type[BaseModel], measure: Measure, fields: dict[str, Any], more: Mapping[str, str] = SAYS
) -> dict[str, Any]:
    """`fields` if every name and scalar type is right: what was sent and no defaults. `more` says what those beside
    the measure's must be. Raises InvalidInput."""
    try:
        model.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(_fault(measure, fault, more) for fault in error.errors(include_url=False)) from None
    return fields


def _fault(measure: Measure, fault: Any, more: Mapping[str, str]) -> Fault:
    name = str(fault["loc"][0])
    says = {tensor.name: tensor.says for tensor in measure.inputs} | {c.name: c.says for c in measure.choices}
    says |= more
    if fault["type"] == "extra_forbidden":
        return unknown(name, measure.name, says)
    if fault["type"] == "missing":
        return missing(name, says[name])
    return mistyped(name, fault["input"], says[name])
