"""Experiments, read from MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Experiment
from mlmeta.tracking.sql.batches import batches, grouped
from mlmeta.tracking.sql.tables import Tables

_COLUMNS = (
    "experiment_id",
    "name",
    "artifact_location",
    "lifecycle_stage",
    "creation_time",
    "last_update_time",
)


def experiment_names(connection: Connection, tables: Tables) -> dict[int, str]:
    """The names of all experiments by id, in the order of ids."""
    table = tables["experiments"]
    query = sa.select(table.c.experiment_id, table.c.name).where(tables.in_default_workspace("experiments"))
    return {row[0]: row[1] for row in connection.execute(query.order_by(table.c.experiment_id))}


def read_experiments(connection: Connection, tables: Tables, ids: Iterable[int]) -> Iterator[Experiment]:
    """The experiments with these ids that exist, in the order of the ids."""
    for batch in batches(ids):
        rows = {row[0]: row for row in connection.execute(_query(tables, batch))}
        tags = grouped(connection.execute(_tags(tables, batch)))
        for experiment_id in batch:
            if experiment_id in rows:
                yield _experiment(rows[experiment_id], tags.get(experiment_id, []))


def _query(tables: Tables, ids: Sequence[int]) -> sa.Select[Any]:
    return sa.select(*tables.columns("experiments", *_COLUMNS)).where(
        tables["experiments"].c.experiment_id.in_(ids), tables.in_default_workspace("experiments")
    )


def _tags(tables: Tables, ids: Sequence[int]) -> sa.Select[Any]:
    table = tables["experiment_tags"]
    return sa.select(table.c.experiment_id, table.c.key, table.c.value).where(table.c.experiment_id.in_(ids))


def _experiment(row: Sequence[Any], tags: list[tuple[str, str | None]]) -> Experiment:
    experiment_id, name, location, stage, created, updated = row
    return Experiment.model_validate(
        {
            "experiment_id": str(experiment_id),
            "name": name,
            "artifact_location": location or None,
            "lifecycle_stage": stage,
            "creation_time": created or None,  # over REST an absent time is 0
            "last_update_time": updated or None,
            "tags": {key: value or "" for key, value in tags},
        }
    )
