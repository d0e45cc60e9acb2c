"""GET /v1/reports: every task's declaration as a document, with each of its metrics."""

from collections.abc import Mapping
from typing import Any, Literal

from core.reports.declare import Labels, Listed, Metric, Picks, Task
from core.reports.tasks import find
from fastapi import FastAPI
from pydantic import BaseModel, Field

from service import openapi_parts
from service.catalogue import InputEntry, OptionEntry, input_entry, option_entry
from service.merge import NAME
from service.problems import Problem
from service.schemas import Number
from service.wire.writer import number

STATED_CLASSES = 1000  # for which the catalogue says how large a state is


class ListEntry(BaseModel):
    """A list, or a text, that a report takes."""

    name: str
    type: Literal["array", "string"]
    default: list[str] | list[int] | str
    values: list[str] = Field(description="What entries may be, if it is some of a few words.")
    range: str = Field(description="What it must be.")
    description: str


class ColumnEntry(BaseModel):
    """A value of each sample."""

    name: str
    dtype: Literal["float", "int64"] = Field(description="float: that of the request.")


class MetricEntry(BaseModel):
    """A number of a report."""

    name: str
    description: str
    formula: str = Field(description="LaTeX.")
    range: list[Number] = Field(min_length=2, max_length=2)
    state: list[str] = Field(description="The parts of the state that it follows from.")
    source: str
    example: list[Number] = Field(description="Its values in the report of the example.")


class PartEntry(BaseModel):
    """A part of a state."""

    name: str
    description: str


class TaskEntry(BaseModel):
    """A task that there are reports on."""

    name: str
    summary: str
    description: str
    href: str = Field(description="Where to POST a batch.")
    inputs: list[InputEntry] = Field(description="Exactly one of the scores says what they are.")
    options: list[OptionEntry]
    lists: list[ListEntry]
    columns: list[ColumnEntry]
    metrics: list[MetricEntry]
    parts: list[PartEntry]
    state_bytes: int = Field(
        description=f"The most bytes of a state of {STATED_CLASSES} classes or labels, without weights or groups and"
        " under the default options, whatever the number of samples."
    )
    example: dict[str, Any] = Field(description="The fields of a request.")


class ReportCatalogue(BaseModel):
    """Every task."""

    reports: list[TaskEntry]


def _listed(listed: Listed) -> ListEntry:
    default: Any = listed.default if not isinstance(listed, Labels) else ()
    return ListEntry(
        name=listed.name,
        type="array" if isinstance(listed, Labels | Picks) else "string",
        default=default if isinstance(default, str) else list(default),
        values=list(listed.values) if isinstance(listed, Picks) else [],
        range=listed.says,
        description=listed.doc,
    )


def _metric(metric: Metric, task: Task) -> MetricEntry:
    example, parts = metric.examples[task.name], {part.name for part in task.parts}
    return MetricEntry(
        name=metric.name,
        description=metric.doc,
        formula=metric.formula,
        range=[number(metric.low), number(metric.high)],
        state=[name for name in metric.needs if name in parts],
        source=metric.source,
        example=[number(value) for value in (example if isinstance(example, tuple) else (example,))],
    )


def entry(task: Task) -> TaskEntry:
    """The catalogue's entry of `task`."""
    measure = task.columns
    return TaskEntry(
        name=task.name,
        summary=task.summary,
        description=task.doc.strip(),
        href=f"/v1/reports/{task.name}",
        inputs=[input_entry(tensor) for tensor in task.request.tensors],
        options=[option_entry(scalar) for scalar in task.request.scalars],
        lists=[_listed(listed) for listed in task.lists.values()],
        columns=[
            ColumnEntry(name=name, dtype="int64" if name in measure.indices else "float") for name in measure.outputs
        ],
        metrics=[_metric(metric, task) for metric in task.metrics],
        parts=[PartEntry(name=part.name, description=part.doc) for part in task.parts],
        state_bytes=task.state_bytes(STATED_CLASSES),
        example=dict(task.example),
    )


def add_routes(app: FastAPI, tasks: Mapping[str, Task]) -> None:
    """Add the routes of the catalogue of reports to `app`."""

    @app.get("/v1/reports", tags=["catalogue"], responses=openapi_parts.problems(500, 503))
    async def list_reports() -> ReportCatalogue:
        """Every task: its inputs, options, columns, metrics, and what its state is made of."""
        return ReportCatalogue(reports=[entry(task) for task in tasks.values()])

    @app.get("/v1/reports/{name}", tags=["catalogue"], responses=openapi_parts.problems(404, 500, 503))
    async def describe_report(name: str) -> TaskEntry:
        """One task: its inputs, options, columns, metrics, and what its state is made of."""
        if name == NAME:
            raise Problem(405, "GET is not a method of /v1/reports/merge: it takes POST", headers={"Allow": "POST"})
        return entry(find(name, tasks))
