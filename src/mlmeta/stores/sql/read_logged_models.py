"""Logged models, read from MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import LoggedModel
from mlmeta.stores.sql.database_tables import Tables, by_bytes, whole
from mlmeta.stores.sql.oddities import STAGES, decoded, shown
from mlmeta.stores.sql.queries import BATCH, any_text, batches, grouped, rows_of
from mlmeta.stores.sql.read_runs import meant

KIND = "logged model"

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
    created = sa.func.coalesce(whole(table.creation_timestamp_ms, connection.dialect.name), 0)
    query = query.order_by(table.experiment_id, created, by_bytes(table.model_id, connection.dialect.name))
    options = {"stream_results": True, "max_row_buffer": BATCH} if connection.dialect.name == "postgresql" else {}
    with any_text(connection):
        result = connection.execute(query, execution_options=options)
    while ids := _next(connection, result):
        named = [model_id for model_id in ids if isinstance(model_id, str)]
        for model_id in ids:
            if not isinstance(model_id, str):
                tables.oddities.lost(KIND, shown(model_id), "its id is not text, and it was not saved")
        yield from logged_models_by_id(connection, tables, named)


def _next(connection: Connection, result: sa.CursorResult[Any]) -> list[Any]:
    with any_text(connection):
        return [row[0] for row in result.fetchmany(BATCH)]


def logged_models_by_id(connection: Connection, tables: Tables, ids: Iterable[str]) -> Iterator[LoggedModel]:
    """Those of these logged models that exist, in the order of the ids."""
    for batch in batches(ids if "logged_models" in tables else ()):
        columns = tables.columns("logged_models", *_COLUMNS)
        query = sa.select(*columns).where(tables["logged_models"].c.model_id.in_(batch))
        rows = {row[0]: row for row in rows_of(connection, query)}
        params = _of(connection, tables, "logged_model_params", ("model_id", "param_key", "param_value"), batch)
        tags = _of(connection, tables, "logged_model_tags", ("model_id", "tag_key", "tag_value"), batch)
        metrics = _of(connection, tables, "logged_model_metrics", _METRIC, batch)
        for model_id in batch:
            if model_id in rows:
                parts = (found.get(model_id, ()) for found in (params, tags, metrics))
                model = _model(tables, rows[model_id], *parts)
                if model is not None:
                    yield model


def _of(
    connection: Connection, tables: Tables, table: str, columns: Sequence[str], ids: Sequence[str]
) -> dict[Any, list[Any]]:
    query = sa.select(*tables.columns(table, *columns)).where(tables[table].c.model_id.in_(ids))
    return grouped(rows_of(connection, query))


def _model(
    tables: Tables, row: Sequence[Any], params: Sequence[Any], tags: Sequence[Any], metrics: Sequence[Any]
) -> LoggedModel | None:
    model_id, experiment_id, name, location, created, updated, status, stage, kind, run_id, message = row
    oddities = tables.oddities
    number = oddities.one_of(KIND, model_id, "status", status, range(len(STATUSES)), STATUSES[0])
    values = {
        "model_id": model_id,
        "experiment_id": str(experiment_id),
        "name": name,
        "artifact_location": location or None,
        "creation_timestamp": created,
        "last_updated_timestamp": updated,
        "status": number if number is STATUSES[0] else STATUSES[number],
        "lifecycle_stage": oddities.one_of(KIND, model_id, "lifecycle_stage", stage or "active", STAGES, "active"),
        "model_type": kind or None,
        "source_run_id": run_id or None,
        "status_message": message or None,
        "params": {key: value or "" for key, value in params},
        "tags": {key: value or "" for key, value in tags},
        "metrics": tuple(map(_metric, metrics)),
    }
    without = {"name": str(decoded(name)), "creation_timestamp": 0, "last_updated_timestamp": 0}
    return oddities.validated(LoggedModel, values, KIND, model_id, without)


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
