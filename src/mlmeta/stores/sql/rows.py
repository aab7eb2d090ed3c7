"""Records as rows of MLflow's tables, by MLflow's own table definitions.

Where a record has no user or no artifact location, the row has an empty text: over NULL there, MLflow's entities and
protobuf messages stumble, and the whole experiment can't be listed any more (tried with 3.17).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

from mlmeta.schema import DatasetInput, Experiment, LoggedModel, LoggedModelMetric, MetricHistory, RegisteredModel, Run
from mlmeta.stores.sql.database_tables import DEFAULT_WORKSPACE
from mlmeta.stores.sql.read_logged_models import STATUSES

Row = tuple[Any, ...]

COLUMNS: dict[str, tuple[str, ...]] = {
    "experiments": (
        "experiment_id",
        "name",
        "artifact_location",
        "lifecycle_stage",
        "creation_time",
        "last_update_time",
        "workspace",
    ),
    "experiment_tags": ("experiment_id", "key", "value"),
    "runs": (
        "run_uuid",
        "experiment_id",
        "name",
        "user_id",
        "status",
        "lifecycle_stage",
        "start_time",
        "end_time",
        "deleted_time",
        "artifact_uri",
        "source_type",
        "source_name",
        "entry_point_name",
        "source_version",
    ),
    "params": ("run_uuid", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "latest_metrics": ("run_uuid", "key", "value", "step", "timestamp", "is_nan"),
    "metrics": ("run_uuid", "key", "value", "step", "timestamp", "is_nan"),
    "datasets": (
        "dataset_uuid",
        "experiment_id",
        "name",
        "digest",
        "dataset_source_type",
        "dataset_source",
        "dataset_schema",
        "dataset_profile",
    ),
    "logged_models": (
        "model_id",
        "experiment_id",
        "name",
        "artifact_location",
        "creation_timestamp_ms",
        "last_updated_timestamp_ms",
        "status",
        "lifecycle_stage",
        "model_type",
        "source_run_id",
        "status_message",
    ),
    "logged_model_params": ("model_id", "experiment_id", "param_key", "param_value"),
    "logged_model_tags": ("model_id", "experiment_id", "tag_key", "tag_value"),
    "logged_model_metrics": (
        "model_id",
        "metric_name",
        "metric_timestamp_ms",
        "metric_step",
        "metric_value",
        "experiment_id",
        "run_id",
        "dataset_uuid",
        "dataset_name",
        "dataset_digest",
    ),
    "inputs": ("input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step"),
    "input_tags": ("input_uuid", "name", "value"),
    "registered_models": ("name", "creation_time", "last_updated_time", "description", "workspace"),
    "registered_model_tags": ("name", "key", "value", "workspace"),
    "registered_model_aliases": ("name", "alias", "version", "workspace"),
    "model_versions": (
        "name",
        "version",
        "creation_time",
        "last_updated_time",
        "description",
        "user_id",
        "current_stage",
        "source",
        "storage_location",
        "run_id",
        "run_link",
        "status",
        "status_message",
        "workspace",
    ),
    "model_version_tags": ("name", "version", "key", "value", "workspace"),
}
"""The columns written, by table, in the order in which tables must be filled (foreign keys)."""

_NOT_STORED_ANY_MORE = ("UNKNOWN", "", "", "")
"""`source_type` and its like: what `SqlAlchemyStore.create_run` writes since these became tags."""

_IDS = uuid.UUID("6d6c6d65-7461-4000-8000-000000000000")
"""Namespace of made-up ids: the API shows no ids of datasets and inputs, so they are derived from content."""


def experiment_row(record: Experiment) -> Row:
    """For the table `experiments`."""
    return (
        int(record.experiment_id),
        record.name,
        record.artifact_location or "",
        record.lifecycle_stage,
        record.creation_time,
        record.last_update_time,
        DEFAULT_WORKSPACE,
    )


def tag_rows(owner: Any, tags: dict[str, str]) -> Iterator[Row]:
    """For the tables of tags and params."""
    return ((owner, key, value) for key, value in tags.items())


def run_row(record: Run) -> Row:
    """For the table `runs`."""
    return (
        record.run_id,
        int(record.experiment_id),
        record.run_name,
        record.user_id or "",
        record.status,
        record.lifecycle_stage,
        record.start_time,
        record.end_time,
        record.deleted_time,
        record.artifact_uri,
        *_NOT_STORED_ANY_MORE,
    )


def latest_rows(run: Run, without: Iterable[MetricHistory]) -> Iterator[Row]:
    """For `latest_metrics`.

    Args:
        run: has the latest points that the snapshot knows.
        without: the other histories: their latest point is the last one.
    """
    for key, metric in run.metrics.items():
        yield _metric_row(run.run_id, key, metric.value, metric.step, metric.timestamp)
    last = {history.key: (history.value[-1], history.step[-1], history.timestamp[-1]) for history in without}
    for key, point in last.items():
        yield _metric_row(run.run_id, key, *point)


def single_point_rows(run: Run, longer: Container[str]) -> Iterator[Row]:
    """For `metrics`: the latest points that are the whole history, as their key is not among the `longer` ones."""
    for key, metric in run.metrics.items():
        if key not in longer:
            yield _metric_row(run.run_id, key, metric.value, metric.step, metric.timestamp)


def _metric_row(run_id: str, key: str, value: float, step: int | None, timestamp: int | None) -> Row:
    nan = math.isnan(value)
    return (run_id, key, 0.0 if nan else value, step, timestamp, nan)


def history_rows(record: MetricHistory) -> Iterator[Row]:
    """For `metrics`."""
    values, nans = stored_values(record)
    return zip(repeat(record.run_id), repeat(record.key), values, record.step, record.timestamp, nans)


def stored_values(record: MetricHistory) -> tuple[Iterable[float], Iterable[bool]]:
    """Values and flags: NaN is stored as 0 with a flag (`SqlAlchemyStore.sanitize_metric_value`)."""
    if math.isfinite(sum(record.value)):
        return record.value, repeat(False)
    nans = [math.isnan(value) for value in record.value]
    return [0.0 if nan else value for nan, value in zip(nans, record.value, strict=True)], nans


def logged_model_row(record: LoggedModel) -> Row:
    """For the table `logged_models`."""
    return (
        record.model_id,
        int(record.experiment_id),
        record.name,
        record.artifact_location or "",
        record.creation_timestamp,
        record.last_updated_timestamp,
        STATUSES.index(record.status),
        record.lifecycle_stage,
        record.model_type,
        record.source_run_id,
        record.status_message,
    )


def logged_model_metric_row(model_id: str, metric: LoggedModelMetric, experiment_id: int, dataset: str | None) -> Row:
    """For the table `logged_model_metrics`.

    Args:
        model_id: of the model.
        metric: of it.
        experiment_id: of the metric's run.
        dataset: the id of the metric's dataset, where there is one.
    """
    return (
        model_id,
        metric.key,
        metric.timestamp,
        metric.step,
        metric.value,
        experiment_id,
        metric.run_id,
        dataset,
        metric.dataset_name,
        metric.dataset_digest,
    )


def dataset_id(experiment_id: str, name: str, digest: str) -> str:
    """A stable id for a dataset of an experiment."""
    return uuid.uuid5(_IDS, "\x00".join(("dataset", experiment_id, name, digest))).hex


def dataset_row(dataset_uuid: str, experiment_id: str, used: DatasetInput) -> Row:
    """For the table `datasets`."""
    dataset = used.dataset
    return (
        dataset_uuid,
        int(experiment_id),
        dataset.name,
        dataset.digest,
        dataset.source_type or "",
        dataset.source or "",
        dataset.schema_,
        dataset.profile,
    )


def datasets_of(record: Run) -> dict[tuple[str, str], DatasetInput]:
    """The datasets that a run used, by name and digest: MLflow keeps each once."""
    return {(used.dataset.name, used.dataset.digest): used for used in reversed(record.dataset_inputs)}


def input_links(
    record: Run, datasets: Mapping[tuple[str, str], str]
) -> Iterator[tuple[tuple[str, str, str, str], int, dict[str, str]]]:
    """What a run used and made, for the table `inputs`: primary key, step and tags of each.

    Args:
        record: the run.
        datasets: ids of the datasets that its experiment has; others get the one that `dataset_id` gives.
    """
    for key, used in datasets_of(record).items():
        dataset = datasets.get(key) or dataset_id(record.experiment_id, *key)
        yield ("DATASET", dataset, "RUN", record.run_id), 0, used.tags
    for model in record.model_inputs:
        yield ("RUN_INPUT", record.run_id, "MODEL_INPUT", model.model_id), 0, {}
    for made in record.model_outputs:
        yield ("RUN_OUTPUT", record.run_id, "MODEL_OUTPUT", made.model_id), made.step, {}


def input_row(link: tuple[str, str, str, str], step: int) -> Row:
    """For the table `inputs`, with a stable id first."""
    return (uuid.uuid5(_IDS, "\x00".join(link)).hex, *link, step)


def model_rows(record: RegisteredModel) -> Iterator[tuple[str, Row]]:
    """Rows for all tables of the registry, each with its table's name."""
    created, updated = record.creation_timestamp, record.last_updated_timestamp
    yield "registered_models", (record.name, created, updated, record.description, DEFAULT_WORKSPACE)
    for key, value in record.tags.items():
        yield "registered_model_tags", (record.name, key, value, DEFAULT_WORKSPACE)
    for alias, version in record.aliases.items():
        yield "registered_model_aliases", (record.name, alias, version, DEFAULT_WORKSPACE)
    for item in record.versions:
        yield (
            "model_versions",
            (
                record.name,
                item.version,
                item.creation_timestamp,
                item.last_updated_timestamp,
                item.description,
                item.user_id,
                item.current_stage,
                item.source,
                item.storage_location,
                item.run_id,
                item.run_link,
                item.status,
                item.status_message,
                DEFAULT_WORKSPACE,
            ),
        )
        for row in version_tag_rows(record.name, item.version, item.tags):
            yield "model_version_tags", row


def version_tag_rows(name: str, version: int, tags: Mapping[str, str]) -> Iterator[Row]:
    """For the table `model_version_tags`."""
    return ((name, version, key, value, DEFAULT_WORKSPACE) for key, value in tags.items())
