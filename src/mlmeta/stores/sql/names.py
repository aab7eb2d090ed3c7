"""The names of experiments and registered models, by which they are selected."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import MODELS
from mlmeta.stores.sql.database_tables import Tables, by_bytes
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.queries import batches, grouped, rows_of
from mlmeta.stores.sql.tables import MODEL_VERSION_TABLE, experiment_name


def experiment_names(connection: Connection, tables: Tables) -> dict[int, str]:
    """The names of all experiments by id, in the order of ids."""
    table = tables["experiments"]
    query = sa.select(table.c.experiment_id, table.c.name).where(tables.in_default_workspace("experiments"))
    return {row[0]: experiment_name(*row) for row in rows_of(connection, query.order_by(table.c.experiment_id))}


def model_names(connection: Connection, tables: Tables, experiments: Sequence[int] | None) -> list[str]:
    """Names of registered models in code point order.

    Args:
        connection: in a transaction.
        tables: of that database.
        experiments: ids; only models with a version from a run of theirs. None: all.
    """
    if "registered_models" not in tables:
        return []
    name = tables["registered_models"].c.name
    query = sa.select(name).where(tables.in_default_workspace("registered_models"))
    names = [row[0] for row in rows_of(connection, query.order_by(by_bytes(name, connection.dialect.name)))]
    for odd in (name for name in names if not isinstance(name, str)):
        tables.oddities.lost(MODELS.one, shown(odd), "its name is not text, and it was not saved")
    wanted = None if experiments is None else _from_runs_of(connection, tables, experiments)
    return [name for name in names if isinstance(name, str) and (wanted is None or name in wanted)]


def _from_runs_of(connection: Connection, tables: Tables, experiments: Sequence[int]) -> set[str]:
    """Names of models; not joined: MySQL refuses that for columns of two collations, and these have no foreign key."""
    runs, versions = tables["runs"].c, tables["model_versions"].c
    query = sa.select(versions.run_id, versions.name).where(
        versions.run_id.is_not(None), tables.shown(MODEL_VERSION_TABLE)
    )
    names = grouped(rows_of(connection, query))
    found: set[str] = set()
    for batch in batches(run_id for run_id in names if isinstance(run_id, str)):
        there = sa.select(runs.run_uuid).where(runs.run_uuid.in_(batch), runs.experiment_id.in_(experiments))
        for (run_id,) in rows_of(connection, there):
            found.update(name for (name,) in names.get(run_id, ()))
    return found
