"""What /v2 answers, typed: the documents of the Open Inference Protocol that describe models."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.schemas import NonFinite


class ServerMetadata(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the process answers."""

    live: bool


class Ready(BaseModel):
    """Whether the graphs are loaded and warmed."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """A tensor of a model; sizes that vary are -1, and more axes are taken where the loss has them."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    """A tensor of a model configuration."""

    name: str
    data_type: str
    dims: list[int]


class InputConfig(TensorConfig):
    """An input of a model configuration."""

    optional: bool


class ParameterConfig(BaseModel):
    """The default of an option or choice, as text."""

    string_value: str


class ModelConfig(BaseModel):
    """Triton's model configuration: what the metadata cannot say is which inputs are optional."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[InputConfig]
    output: list[TensorConfig]
    parameters: dict[str, ParameterConfig]


class Duration(BaseModel):
    """How often, and nanoseconds altogether."""

    count: int
    ns: int


class ModelStatistics(BaseModel):
    """What a model has done since the start; the counts only grow."""

    name: str
    version: str
    last_inference: int = Field(description="Milliseconds since 1970, UTC; 0 for never.")
    inference_count: int = Field(description="Samples.")
    execution_count: int = Field(description="Requests.")
    inference_stats: dict[str, Duration]
    response_stats: dict[str, Any]
    batch_stats: list[Any]
    memory_usage: list[Any]


class StatisticsAnswer(BaseModel):
    """The statistics of one model or of all."""

    model_config = ConfigDict(protected_namespaces=())

    model_stats: list[ModelStatistics]


class IndexEntry(BaseModel):
    """A model of the repository."""

    name: str
    version: str
    state: str
    reason: str


Scalar = bool | int | float | str
# Flat, or nested as deep as OpenAPI spells it out; the service takes any depth that the shape has.
Entry = bool | int | float | NonFinite
# Lists of one type stand first: where lists are invariant, they are no lists of Entry.
Entries = list[float] | list[int] | list[list[float]] | list[list[int]] | list[Entry] | list[list[Entry]]


class InferInput(BaseModel):
    """An input: `data` here, or `binary_data_size` bytes of it after the JSON document."""

    name: str
    datatype: str = Field(description="BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32 or FP64.")
    shape: list[Annotated[int, Field(ge=0)]]
    parameters: dict[str, Scalar] = Field(default_factory=dict, description="binary_data_size, if there is no data.")
    data: Entries = Field(default_factory=list, description="Row-major, flat or nested.")


class RequestedOutput(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Scalar] = Field(default_factory=dict, description="binary_data: whether as bytes.")


class InferRequest(BaseModel):
    """A batch for a model."""

    id: str = Field("", description="Echoed.")
    parameters: dict[str, Scalar] = Field(
        default_factory=dict, description="The loss's options; binary_data_output: whether outputs are bytes."
    )
    inputs: list[InferInput]
    outputs: list[RequestedOutput] = Field(default_factory=list, description="In the order wanted; none is all.")


class InferOutput(BaseModel):
    """An output: `data` here, or `binary_data_size` bytes of it after the JSON document."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    data: list[Entry] = Field(default_factory=list, description="Row-major, flat.")


class InferAnswer(BaseModel):
    """What a model answers."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str = Field(default_factory=str, description="The request's, if it had one.")
    outputs: list[InferOutput]
