"""Logged models, read from MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import LoggedModel
from mlmeta.tracking.sql.batches import BATCH, batches, grouped
from mlmeta.tracking.sql.runs import meant
from mlmeta.tracking.sql.tables import Tables, by_bytes

STATUSES = ("UNSPECIFIED", "PENDING", "READY", "FAILED")
"""By the number that the database has for them (`LoggedModelStatus.from_int`, MLflow 3.17)."""

_COLUMNS = (
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
)
_METRIC = (
    "model_id",
    "metric_name",
    "metric_value",
    "metric_timestamp_ms",
    "metric_step",
    "run_id",
    "dataset_name",
    "dataset_digest",
)


def stream_logged_models(
    connection: Connection, tables: Tables, experiments: Sequence[int] | None
) -> Iterator[LoggedModel]:
    """Logged models by experiment id, creation time and id; deleted ones too. None before MLflow 3.

    Args:
        connection: in a transaction.
        tables: of that database.
        experiments: ids of the experiments that are meant; None: all.
    """
    if "logged_models" not in tables:
        return
    table = tables["logged_models"].c
    query = sa.select(table.model_id).where(meant(tables, "logged_models", experiments))
    query = query.order_by(
        table.experiment_id, table.creation_timestamp_ms, by_bytes(table.model_id, connection.dialect.name)
    )
    options = {"stream_results": True, "max_row_buffer": BATCH} if connection.dialect.name == "postgresql" else {}
    for ids in connection.execute(query, execution_options=options).scalars().partitions(BATCH):
        yield from logged_models_by_id(connection, tables, ids)


def logged_models_by_id(connection: Connection, tables: Tables, ids: Iterable[str]) -> Iterator[LoggedModel]:
    """Those of these logged models that exist, in the order of the ids."""
    for batch in batches(ids if "logged_models" in tables else ()):
        columns = tables.columns("logged_models", *_COLUMNS)
        query = sa.select(*columns).where(tables["logged_models"].c.model_id.in_(batch))
        rows = {row[0]: row for row in connection.execute(query)}
        params = _of(connection, tables, "logged_model_params", ("model_id", "param_key", "param_value"), batch)
        tags = _of(connection, tables, "logged_model_tags", ("model_id", "tag_key", "tag_value"), batch)
        metrics = _of(connection, tables, "logged_model_metrics", _METRIC, batch)
        for model_id in batch:
            if model_id in rows:
                yield _model(
                    rows[model_id], params.get(model_id, ()), tags.get(model_id, ()), metrics.get(model_id, ())
                )


def _of(
    connection: Connection, tables: Tables, table: str, columns: Sequence[str], ids: Sequence[str]
) -> dict[Any, list[Any]]:
    query = sa.select(*tables.columns(table, *columns)).where(tables[table].c.model_id.in_(ids))
    return grouped(connection.execute(query))


def _model(row: Sequence[Any], params: Sequence[Any], tags: Sequence[Any], metrics: Sequence[Any]) -> LoggedModel:
    model_id, experiment_id, name, location, created, updated, status, stage, kind, run_id, message = row
    return LoggedModel.model_validate(
        {
            "model_id": model_id,
            "experiment_id": str(experiment_id),
            "name": name,
            "artifact_location": location or None,
            "creation_timestamp": created,
            "last_updated_timestamp": updated,
            "status": STATUSES[status],
            "lifecycle_stage": stage or "active",
            "model_type": kind or None,
            "source_run_id": run_id or None,
            "status_message": message or None,
            "params": {key: value or "" for key, value in params},
            "tags": {key: value or "" for key, value in tags},
            "metrics": tuple(map(_metric, metrics)),
        }
    )


def _metric(row: Sequence[Any]) -> dict[str, Any]:
    key, value, timestamp, step, run_id, dataset, digest = row
    return {
        "key": key,
        "value": value or 0.0,  # over REST, NULL is 0
        "timestamp": timestamp,
        "step": step,
        "run_id": run_id,
        "dataset_name": dataset or None,
        "dataset_digest": digest or None,
    }
