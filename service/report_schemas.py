"""The pydantic models of reports: of each task's requests and answers, of merges."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from core.reports.declare import Labels, Listed, Picks, Task
from pydantic import BaseModel, Field, SkipValidation, create_model

from service import schemas
from service.schemas import DTYPE, Base64Integers, Closed, Integers, Number, Numbers

STATE = (bool, Field(False, description="Whether the answer holds the state, in base64, to be merged with others."))
PRESENTATION: dict[str, tuple[Any, Any]] = {
    "columns": (bool, Field(False, description="Whether the answer holds the per-sample columns.")),
    "state": STATE,
    "dtype": DTYPE,
}
SAYS = {"columns": "true or false", "state": "true or false", "dtype": schemas.SAYS["dtype"]}
Entries = dict[str, list[Number]]


class MetricValue(BaseModel):
    """A metric of a report."""

    value: Number = Field(description='"NaN" where it is not defined.')
    interval: list[Number] = Field(
        min_length=2, max_length=2, description="Of the confidence asked for; NaN where there is none."
    )
    method: str = Field(description='How the interval was found; "none" where there is none.')
    bound: Number = Field(default_factory=float, description="How far the value may be from that of the exact scores.")


class Confusion(BaseModel):
    """One of the most frequent confusions."""

    target: int
    predicted: int
    weight: Number


class Confusions(BaseModel):
    """The confusion matrix, rows true; of many classes the most frequent confusions."""

    matrix: list[list[Number]] = Field(default_factory=list)
    top: list[Confusion] = Field(default_factory=list)


class Calibration(BaseModel):
    """Of each bin its weight, mean confidence and accuracy."""

    edges: list[Number] = Field(default_factory=list, description="Of bins of equal width.")
    weight: list[Number]
    confidence: list[Number]
    accuracy: list[Number]


class RocCurve(BaseModel):
    """False positive rates, true positive rates, and thresholds."""

    fpr: list[Number]
    tpr: list[Number]
    thresholds: list[Number]


class PrCurve(BaseModel):
    """Precisions, recalls, and thresholds."""

    precision: list[Number]
    recall: list[Number]
    thresholds: list[Number]


class Curves(BaseModel):
    """ROC and precision-recall curves."""

    roc: RocCurve
    pr: PrCurve


class Quantile(BaseModel):
    """The least loss that so large a share of the weight has at most."""

    share: Number
    value: Number
    interval: list[Number] = Field(min_length=2, max_length=2, description="In which it lies for certain.")


class LossHistogram(BaseModel):
    """The weight of the losses between edges, and quantiles."""

    edges: list[Number]
    weights: list[Number]
    quantiles: list[Quantile]


class Histograms(BaseModel):
    """Histograms by name."""

    loss: LossHistogram


# Of what a detail is an object of known members; of any other it is one of any members.
DETAILS: Mapping[str, Any] = {
    "per_class": Entries,
    "confusion": Confusions,
    "calibration": Calibration,
    "curves": Curves,
    "histogram": Histograms,
    "tokens": int,
}


def title(task: Task) -> str:
    """The name of a task's models begins with this."""
    return schemas.title(task.columns) + "Report"


def says(task: Task) -> dict[str, str]:
    """What the fields of a request must be that are no tensors, options or choices."""
    return {name: listed.says for name, listed in task.lists.items()} | SAYS


def _listed(listed: Listed) -> tuple[Any, Any]:
    """The type and field of a list or text, which core checks."""
    if isinstance(listed, Labels):
        kind: Any = list[str] | list[int] | Base64Integers
        return Annotated[kind, SkipValidation], Field(default_factory=lambda: None, description=listed.doc)
    if isinstance(listed, Picks):
        entry: Any = Literal[listed.values] if listed.values else Annotated[int, Field(ge=1)]
        extra: dict[str, Any] = {"default": list(listed.default), "maxItems": listed.most, "uniqueItems": True}
        field = Field(default_factory=lambda: list(listed.default), description=listed.doc, json_schema_extra=extra)
        return Annotated[list[entry], SkipValidation], field
    return Annotated[str, SkipValidation], Field(
        listed.default, description=listed.doc, json_schema_extra={"maxLength": listed.most}
    )


def request_model(task: Task) -> type[BaseModel]:
    """The body of a request for a report on `task`."""
    listed = {name: _listed(one) for name, one in task.lists.items()}
    return schemas.request_model(task.request, listed | PRESENTATION, title(task))


def _of_samples(task: Task) -> dict[str, Any]:
    """The members that the report of all samples and that of each group have."""
    worst: dict[str, Any] = {name: (Number, Field()) for name in task.worst}
    entry = create_model(f"{title(task)}Worst", id=(str | int, Field()), loss=(Number, Field()), **worst)
    details: dict[str, Any] = {
        detail.name: (DETAILS.get(detail.name, dict[str, Any]), Field(default_factory=dict, description=detail.doc))
        for detail in task.details
    }
    names = ", ".join(metric.name for metric in task.metrics)
    return {
        "samples": (int, Field(description="How many samples count.")),
        "ignored": (int, Field(description="How many do not.")),
        "non_finite": (int, Field(description="How many have a loss that is not finite.")),
        "weight": (Number, Field(description="The weight of those that count.")),
        "metrics": (dict[str, MetricValue], Field(description=f"By name: {names}, with each k in place of the k.")),
        **details,
        "worst": (list[entry], Field(description="The samples with the largest losses, those first.")),
    }


def answer_model(task: Task) -> type[BaseModel]:
    """A report on `task`."""
    measure, own = task.columns, _of_samples(task)
    group = create_model(f"{title(task)}Group", __doc__="The report of one group.", **own)
    columns: dict[str, Any] = {
        name: (Integers if name in measure.indices else Numbers, Field()) for name in measure.outputs
    }
    columns_model = create_model(f"{title(task)}Columns", __doc__="The columns of all samples, in order.", **columns)
    fields: dict[str, Any] = {
        "task": (Literal[task.name], Field()),
        **own,
        "groups": (dict[str, group], Field(default_factory=dict, description="By label.")),
        "columns": (columns_model, Field(default_factory=dict, description="Only where they were asked for.")),
        "state": (str, Field("", description="Base64, only where it was asked for.")),
        "dtype": (Literal["float32", "float64"], Field(description="The type that was computed in.")),
    }
    return create_model(title(task), __doc__=f"Report: {task.summary}", **fields)


class MergeRequest(Closed):
    """States of reports on one task, with the same options, to be merged."""

    states: list[str] = Field(min_length=1, description="The states, each in base64; all of different samples.")
    state: bool = STATE[1]
