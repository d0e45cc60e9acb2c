"""/v2 but for `infer`: the Open Inference Protocol's descriptions of the models, one generic set of routes.

A loss, or the columns of a report, is a model of one version; its arrays are inputs, its options and choices parameters
of a request.
Source: the protocol's REST specification; Triton's extensions model configuration, model repository and statistics.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any

from core import __version__
from core.declare import Kind, Measure, Tensor
from core.errors import Fault, InvalidInput, UnknownMeasure, mistyped
from fastapi import Depends, FastAPI, Request

from service import openapi_parts
from service.body import read_body
from service.codings import content_coding
from service.losses import Losses
from service.negotiation import require_oip_type
from service.oip_documents import (
    IndexEntry,
    InputConfig,
    Live,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    ModelStatistics,
    ParameterConfig,
    Ready,
    ServerMetadata,
    StatisticsAnswer,
    TensorConfig,
    TensorMetadata,
)
from service.problems import Problem
from service.wire import oip
from service.wire.reader import Document, plain

EXTENSIONS = ["binary_tensor_data", "model_configuration", "parameters", "statistics"]
MOST_INDEX_BYTES = 2**16
TAGS: list[str | Enum] = ["open inference protocol"]


def find_model(measures: Mapping[str, Measure], name: str, version: str = oip.VERSION) -> Measure:
    """The measure that a model's name and version mean. Raises UnknownMeasure."""
    if name not in measures:
        raise UnknownMeasure(f"there is no model called {name[:64]!r}: there are {', '.join(measures)}")
    if version != oip.VERSION:
        raise UnknownMeasure(f"{name} has no version {version[:40]!r}, only {oip.VERSION!r}")
    return measures[name]


def _dims(tensor: Tensor) -> list[int]:
    return [-1] * max(1, sum(dim is not ... for dim in tensor.dims))


def _sample_dims(measure: Measure) -> list[int]:
    return _dims(measure.main)[bool(measure.main.row_axis) :]


def metadata(measure: Measure) -> ModelMetadata:
    """What a model takes and answers."""
    datatypes, samples = {Kind.FLOAT: "FP32", Kind.INDEX: "INT64"}, _sample_dims(measure)
    return ModelMetadata(
        name=measure.name,
        versions=[oip.VERSION],
        platform="onnx_onnxv1",
        inputs=[
            TensorMetadata(name=tensor.name, datatype=datatypes[tensor.kind], shape=_dims(tensor))
            for tensor in measure.tensors
        ],
        outputs=[
            TensorMetadata(name=name, datatype=datatype, shape=samples if name in measure.outputs else [1])
            for name, datatype in oip.outputs(measure).items()
        ],
    )


def configuration(measure: Measure) -> ModelConfig:
    """The same as Triton has it, with the options' defaults."""
    said = metadata(measure)
    optional = {tensor.name: not tensor.required for tensor in measure.tensors}

    def entry(tensor: TensorMetadata) -> dict[str, Any]:
        return {"name": tensor.name, "data_type": f"TYPE_{tensor.datatype}", "dims": tensor.shape}

    return ModelConfig(
        name=measure.name,
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        max_batch_size=0,
        input=[InputConfig(**entry(tensor), optional=optional[tensor.name]) for tensor in said.inputs],
        output=[TensorConfig(**entry(tensor)) for tensor in said.outputs],
        parameters={scalar.name: ParameterConfig(string_value=_text(scalar.default)) for scalar in measure.scalars},
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _check_index_request(request: Request) -> None:
    """Raise Problem or InvalidInput unless the body is empty or an object that may say `ready`; every model is."""
    if content_coding(request.scope):
        raise Problem(415, "a body is taken compressed only by infer", headers={"Accept-Encoding": "identity"})
    require_oip_type(request.scope)
    body = await read_body(request.scope, request.receive, MOST_INDEX_BYTES, "of this request")
    if body:
        root = Document(body).root
        ready = plain(root["ready"]) if "ready" in root else True
        if not isinstance(ready, bool):
            raise InvalidInput([Fault(("ready",), mistyped("ready", ready, "true or false").detail)])


def _version(request: Request) -> str:
    version: str = request.path_params.get("version", oip.VERSION)
    return version


Version = Annotated[str, Depends(_version)]  # not a parameter with a default, which would be one of the query


def add_routes(app: FastAPI, losses: Losses) -> None:
    """Add every /v2 route but `infer` to `app`."""
    _add_server_routes(app, losses)
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        _add_model_routes(app, losses, path)


def _statistics(losses: Losses, names: Iterable[str]) -> StatisticsAnswer:
    common: dict[str, Any] = {"version": oip.VERSION, "response_stats": {}, "batch_stats": [], "memory_usage": []}
    reports = [{"name": name, **common, **losses.statistics[name].report()} for name in names]
    return StatisticsAnswer(model_stats=[ModelStatistics(**report) for report in reports])


def _add_server_routes(app: FastAPI, losses: Losses) -> None:
    @app.get("/v2", tags=TAGS)
    async def server_metadata() -> ServerMetadata:
        """Name, version and extensions of this server."""
        return ServerMetadata(name="lossmeter", version=__version__, extensions=EXTENSIONS)

    @app.get("/v2/health/live", tags=TAGS, responses=openapi_parts.oip_problems(500, 503))
    async def server_live() -> Live:
        """Whether the process answers; not if its card has failed, which only a start anew helps."""
        losses.running.live()
        return Live(live=True)

    @app.get("/v2/health/ready", tags=TAGS, responses=openapi_parts.oip_problems(500, 503))
    async def server_ready() -> Ready:
        """Whether the graphs are loaded and warmed, and the service is not stopping."""
        losses.running.wanted()
        return Ready(ready=True)

    @app.get("/v2/models/stats", tags=TAGS)
    async def all_statistics() -> StatisticsAnswer:
        """What every model has done since the start."""
        return _statistics(losses, losses.measures)

    @app.post("/v2/repository/index", tags=TAGS, responses=openapi_parts.oip_problems(400, 413, 415, 500))
    async def repository_index(request: Request) -> list[IndexEntry]:
        """Every model; the body is empty or `{"ready": true}`."""
        await _check_index_request(request)
        return [IndexEntry(name=name, version=oip.VERSION, state="READY", reason="") for name in losses.measures]


def _add_model_routes(app: FastAPI, losses: Losses, path: str) -> None:
    measures = losses.measures
    # The version is optional everywhere; in the OpenAPI document it would only be every operation twice.
    more: dict[str, Any] = {
        "include_in_schema": "version" not in path,
        "tags": TAGS,
        "responses": openapi_parts.oip_problems(404, 500, 503),
    }

    @app.get(path, **more)
    async def model_metadata(name: str, version: Version) -> ModelMetadata:
        """The inputs and outputs of a model."""
        return metadata(find_model(measures, name, version))

    @app.get(f"{path}/ready", **more)
    async def model_ready(name: str, version: Version) -> ModelReady:
        """Whether a model can be asked."""
        found = find_model(measures, name, version)
        losses.running.wanted()
        return ModelReady(name=found.name, ready=True)

    @app.get(f"{path}/config", **more)
    async def model_config(name: str, version: Version) -> ModelConfig:
        """Triton's configuration of a model, with the options' defaults."""
        return configuration(find_model(measures, name, version))

    @app.get(f"{path}/stats", **more)
    async def model_statistics(name: str, version: Version) -> StatisticsAnswer:
        """What a model has done since the start."""
        return _statistics(losses, [find_model(measures, name, version).name])
