"""What GET /v1/losses answers: every measure's declaration as a document."""

from typing import Literal

from core.declare import FLOAT_DTYPES, INDEX_DTYPES, Choice, Kind, Measure, Tensor
from core.engine import Engine
from core.variants import DTYPES, OPSET
from pydantic import BaseModel, Field


class InputEntry(BaseModel):
    """An array that a loss takes."""

    name: str
    dims: list[str] = Field(description='Names of the axes; "..." is any further ones.')
    dtypes: list[str]
    optional: bool
    rules: list[str] = Field(description="What each value must be.")
    description: str


class OptionEntry(BaseModel):
    """A scalar that a loss takes."""

    name: str
    type: Literal["number", "integer", "boolean", "string"]
    default: bool | int | float | str
    range: str = Field(description="What a value must be.")
    description: str


class GraphEntry(BaseModel):
    """An exported ONNX file."""

    href: str
    sha256: str
    bytes: int
    opset: int


class LossEntry(BaseModel):
    """A loss."""

    name: str
    summary: str
    description: str
    formula: str = Field(description="LaTeX.")
    source: str
    href: str = Field(description="Where to POST a batch.")
    inputs: list[InputEntry]
    options: list[OptionEntry]
    outputs: list[str] = Field(description="Per-sample arrays of the answer.")
    graphs: dict[str, GraphEntry] = Field(description="By dtype.")


class Catalogue(BaseModel):
    """Every loss."""

    losses: list[LossEntry]


TYPES: dict[type, Literal["number", "integer", "boolean", "string"]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
}


def _default(scalar: Tensor | Choice) -> bool | int | float | str:
    assert scalar.default is not None  # noqa: S101 - a scalar without a default would be no option
    return scalar.default


def _input(tensor: Tensor) -> InputEntry:
    return InputEntry(
        name=tensor.name,
        dims=["..." if dim is ... else dim for dim in tensor.dims],
        dtypes=list(FLOAT_DTYPES if tensor.kind is Kind.FLOAT else INDEX_DTYPES),
        optional=not tensor.required,
        rules=[rule.says({}) for rule in tensor.rules],
        description=tensor.doc,
    )


def entry(measure: Measure, engine: Engine) -> LossEntry:
    """The catalogue's entry of `measure`."""
    graphs = {}
    for dtype in DTYPES:
        content, digest = engine.sessions.graph(measure, dtype)
        href = f"/v1/losses/{measure.name}/graph?dtype={dtype}"
        graphs[dtype] = GraphEntry(href=href, sha256=digest, bytes=len(content), opset=OPSET)
    return LossEntry(
        name=measure.name,
        summary=measure.summary,
        description=measure.doc.strip(),
        formula=measure.formula,
        source=measure.source,
        href=f"/v1/losses/{measure.name}",
        inputs=[_input(tensor) for tensor in measure.tensors],
        options=[
            OptionEntry(
                name=scalar.name,
                type=TYPES[type(scalar.default)],
                default=_default(scalar),
                range=scalar.says,
                description=scalar.doc,
            )
            for scalar in measure.scalars
        ],
        outputs=list(measure.outputs),
        graphs=graphs,
    )
