"""Logged models: what MLflow 3 makes of each `log_model`."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from pydantic import AfterValidator

from mlmeta.schema.experiments import experiment_order
from mlmeta.schema.kind import Int64, Kind, Record, SortedMap


class LoggedModelMetric(Record):
    """A point of a metric that was logged for a model; `timestamp` is milliseconds since the epoch."""

    key: str
    value: float
    timestamp: Int64
    step: Int64 = 0
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


def _in_order(metrics: tuple[LoggedModelMetric, ...]) -> tuple[LoggedModelMetric, ...]:
    return tuple(sorted(metrics, key=lambda m: (m.key, m.step, m.timestamp, m.run_id)))


class LoggedModel(Record):
    """A logged model of an experiment. Times are milliseconds since the epoch.

    `status` is ``PENDING``, ``READY``, ``FAILED`` or ``UNSPECIFIED``.
    """

    model_id: str
    experiment_id: str
    name: str
    artifact_location: str | None = None
    creation_timestamp: Int64
    last_updated_timestamp: Int64
    status: str
    lifecycle_stage: str = "active"
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    params: SortedMap[str] = {}
    tags: SortedMap[str] = {}
    metrics: Annotated[tuple[LoggedModelMetric, ...], AfterValidator(_in_order)] = ()


def logged_model_order(model: LoggedModel) -> tuple[int, str]:
    """Sort key of the logged models of an experiment: creation time, then id."""
    return (model.creation_timestamp, model.model_id)


LOGGED_MODELS = Kind(
    "logged_models",
    LoggedModel,
    one="logged model",
    many="logged models",
    key=attrgetter("model_id"),
    order=lambda model: (experiment_order(model.experiment_id), logged_model_order(model)),
    title=attrgetter("name"),
    since="1.1",
    always=False,
    has_id=True,
    experiment=attrgetter("experiment_id"),
    needs=lambda model: [("runs", model.source_run_id)],
    made_in=attrgetter("source_run_id"),
    pieces=("logged models",),
    locations=("artifact_location",),
    shows_deleted=False,
    unsettable=("artifact_location", "creation_timestamp", "last_updated_timestamp", "status_message"),
)
