"""Experiments, read from MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Experiment
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.oddities import STAGES, decoded
from mlmeta.stores.sql.queries import batches, grouped, rows_of

KIND = "experiment"

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
    return {row[0]: _name(*row) for row in rows_of(connection, query.order_by(table.c.experiment_id))}


def _name(experiment_id: int, name: Any) -> str:
    """A name, or what stands for one that is not text: an experiment can't be without."""
    return f"experiment {experiment_id}" if name is None else str(decoded(name))


def read_experiments(connection: Connection, tables: Tables, ids: Iterable[int]) -> Iterator[Experiment]:
    """The experiments with these ids that exist, in the order of the ids."""
    for batch in batches(ids):
        rows = {row[0]: row for row in rows_of(connection, _query(tables, batch))}
        tags = _tags(connection, tables, batch)
        for experiment_id in batch:
            if experiment_id in rows:
                experiment = _experiment(tables, rows[experiment_id], tags.get(experiment_id, []))
                if experiment is not None:
                    yield experiment


def _query(tables: Tables, ids: Sequence[int]) -> sa.Select[Any]:
    return sa.select(*tables.columns("experiments", *_COLUMNS)).where(
        tables["experiments"].c.experiment_id.in_(ids), tables.in_default_workspace("experiments")
    )


def _tags(connection: Connection, tables: Tables, ids: Sequence[int]) -> dict[int, list[Any]]:
    if "experiment_tags" not in tables:  # before MLflow 1.3
        return {}
    table = tables["experiment_tags"]
    query = sa.select(table.c.experiment_id, table.c.key, table.c.value).where(table.c.experiment_id.in_(ids))
    return grouped(rows_of(connection, query))


def _experiment(tables: Tables, row: Sequence[Any], tags: list[tuple[str, str | None]]) -> Experiment | None:
    experiment_id, name, location, stage, created, updated = row
    shown_id, oddities = str(experiment_id), tables.oddities
    values = {
        "experiment_id": shown_id,
        "name": name,
        "artifact_location": location or None,
        "lifecycle_stage": oddities.one_of(KIND, shown_id, "lifecycle_stage", stage, STAGES, "active"),
        "creation_time": created or None,  # over REST an absent time is 0
        "last_update_time": updated or None,
        "tags": {key: value or "" for key, value in tags},
    }
    return oddities.validated(Experiment, values, KIND, shown_id, {"name": _name(experiment_id, name)})
