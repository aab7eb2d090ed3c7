"""Runs, with everything of theirs but the history of their metrics."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Annotated

from pydantic import AfterValidator, Field

from mlmeta.schema.experiments import experiment_order
from mlmeta.schema.kind import Int64, Kind, Record, SortedMap
from mlmeta.schema.metrics import HistoryLine, MetricHistory, point_order

PARENT_RUN_ID = "mlflow.parentRunId"
"""A tag: the run that a nested run is in."""
RUN_MODELS = "run's logged models"
"""The kind of what is named where the logged models that a run made or used are lost."""


class LatestMetric(Record):
    """The latest point of a metric, as MLflow defines it: highest step, then timestamp, then value."""

    value: float
    step: Int64 | None = None
    timestamp: Int64 | None = None


def same_point(one: LatestMetric, other: LatestMetric | None) -> bool:
    """Whether two latest metrics are the same point; NaN is NaN here."""
    return other is not None and _order(one) == _order(other)


def _order(metric: LatestMetric) -> tuple[int, int, bool, float, bool]:
    return point_order((metric.step or 0, metric.timestamp or 0, metric.value))


class Dataset(Record):
    """A dataset that a run used."""

    name: str
    digest: str
    source_type: str | None = None
    source: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    profile: str | None = None


class DatasetInput(Record):
    """The use of a dataset by a run; the tags (such as ``mlflow.data.context``) belong to the use."""

    dataset: Dataset
    tags: SortedMap[str] = {}


class ModelInput(Record):
    """A logged model (MLflow 3) that a run used."""

    model_id: str


class ModelOutput(Record):
    """A logged model (MLflow 3) that a run made."""

    model_id: str
    step: Int64 = 0


def _inputs_in_order(inputs: tuple[DatasetInput, ...]) -> tuple[DatasetInput, ...]:
    return tuple(sorted(inputs, key=lambda i: (i.dataset.name, i.dataset.digest, i.to_line())))


def inputs_in_order(models: tuple[ModelInput, ...]) -> tuple[ModelInput, ...]:
    """The models that a run used, in a snapshot's order."""
    return tuple(sorted(models, key=lambda m: m.model_id))


def outputs_in_order(models: tuple[ModelOutput, ...]) -> tuple[ModelOutput, ...]:
    """The models that a run made, in a snapshot's order."""
    return tuple(sorted(models, key=lambda m: (m.model_id, m.step)))


class Run(Record):
    """An MLflow run. Times are milliseconds since the epoch.

    `metrics` holds the latest point of each metric; a metric with more than that one point has its
    whole history in `MetricHistory` records.
    """

    run_id: str
    experiment_id: str
    run_name: str | None = None
    user_id: str | None = None
    status: str
    lifecycle_stage: str = "active"
    start_time: Int64 | None = None
    end_time: Int64 | None = None
    deleted_time: Int64 | None = None
    artifact_uri: str | None = None
    params: SortedMap[str] = {}
    tags: SortedMap[str] = {}
    metrics: SortedMap[LatestMetric] = {}
    dataset_inputs: Annotated[tuple[DatasetInput, ...], AfterValidator(_inputs_in_order)] = ()
    model_inputs: Annotated[tuple[ModelInput, ...], AfterValidator(inputs_in_order)] = ()
    model_outputs: Annotated[tuple[ModelOutput, ...], AfterValidator(outputs_in_order)] = ()


def run_order(run: Run) -> tuple[bool, int, str]:
    """Sort key of runs within an experiment: start time (runs without one last), then run id."""
    return (run.start_time is None, run.start_time or 0, run.run_id)


def _needs(run: Run) -> Iterator[tuple[str, str | None]]:
    yield "runs", run.tags.get(PARENT_RUN_ID)
    for used in run.model_inputs:
        yield "logged_models", used.model_id
    for made in run.model_outputs:
        yield "logged_models", made.model_id


RUNS = Kind(
    "runs",
    Run,
    one="run",
    many="runs",
    key=attrgetter("run_id"),
    order=lambda run: (experiment_order(run.experiment_id), run_order(run)),
    title=lambda run: run.run_name or "",
    has_id=True,
    experiment=attrgetter("experiment_id"),
    needs=_needs,
    counts=(("runs", lambda _: 1), ("metric_points", lambda run: len(run.metrics))),
    pieces=("run param", "run tag", "run inputs", "run outputs"),
    locations=("artifact_uri",),
    unshown=("deleted_time", "model_inputs"),
    unsettable=("artifact_uri", "deleted_time", "model_inputs", "model_outputs"),
)
METRICS = Kind(
    "metrics",
    MetricHistory,
    one="metric history",
    many="metric histories",
    key=lambda history: f"{history.run_id}/{history.key}",
    order=attrgetter("key"),
    follows=RUNS,
    leader=attrgetter("run_id"),
    as_line=HistoryLine.of,
    repeats=lambda run, history: int(history.key in run.metrics),
    counts=(("metric_points", attrgetter("size")),),
)
