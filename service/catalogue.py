"""GET /v1/losses: every loss's declaration as a document, and its graph."""

from collections.abc import Mapping
from typing import Any, Literal

from core.declare import FLOAT_DTYPES, INDEX_DTYPES, Choice, Kind, Measure, Tensor
from core.engine import Engine
from core.measures import find
from core.variants import DTYPES, OPSET
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from service import openapi_parts, pages
from service.running import Running


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


def input_entry(tensor: Tensor) -> InputEntry:
    """An array as an entry."""
    return InputEntry(
        name=tensor.name,
        dims=["..." if dim is ... else dim for dim in tensor.dims],
        dtypes=list(FLOAT_DTYPES if tensor.kind is Kind.FLOAT else INDEX_DTYPES),
        optional=not tensor.required,
        rules=[rule.says({}) for rule in tensor.rules],
        description=tensor.doc,
    )


def option_entry(scalar: Tensor | Choice) -> OptionEntry:
    """A scalar as an entry."""
    return OptionEntry(
        name=scalar.name,
        type=TYPES[type(scalar.default)],
        default=_default(scalar),
        range=scalar.says,
        description=scalar.doc,
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
        inputs=[input_entry(tensor) for tensor in measure.tensors],
        options=[option_entry(scalar) for scalar in measure.scalars],
        outputs=list(measure.outputs),
        graphs=graphs,
    )


def add_routes(app: FastAPI, measures: Mapping[str, Measure], running: Running) -> None:
    """Add the routes of the catalogue of losses to `app`."""
    failures = openapi_parts.problems(404, 422, 500, 503)

    @app.get("/v1/losses", tags=["catalogue"], responses=openapi_parts.problems(500, 503))
    async def list_losses() -> Catalogue:
        """Every loss: its formula, inputs, options and exported graphs."""
        engine, _ = running.ready()
        return Catalogue(losses=[entry(measure, engine) for measure in measures.values()])

    @app.get("/v1/losses/{name}", tags=["catalogue"], responses=failures)
    async def describe_loss(name: str) -> LossEntry:
        """One loss: its formula, inputs, options and exported graphs."""
        return entry(find(name, measures), running.ready()[0])

    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    graph: dict[int | str, dict[str, Any]] = {200: {"description": "An ONNX file.", "content": content}}

    @app.get("/v1/losses/{name}/graph", tags=["catalogue"], response_class=Response, responses=failures | graph)
    async def download_graph(request: Request, name: str, dtype: Literal["float32", "float64"] = "float32") -> Response:
        """The exported ONNX graph of a loss, with every input, in one dtype."""
        file, digest = running.ready()[0].sessions.graph(find(name, measures), dtype)
        headers = {"ETag": f'"{digest}"', "Content-Disposition": f'attachment; filename="{name}.{dtype}.onnx"'}
        if pages.known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(file, media_type="application/octet-stream", headers=headers)
