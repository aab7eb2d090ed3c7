"""The model registry, read from MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.stores.sql.database_tables import Tables, by_bytes
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.queries import batches, grouped, rows_of

KIND = "registered model"
NO_STAGE = "None"
"""The stage that a version begins in."""

DELETED_STAGE = "Deleted_Internal"
"""MLflow keeps a deleted version as a row in this stage, its content struck out, and shows it to nobody."""

_MODEL = ("name", "creation_time", "last_updated_time", "description")
_VERSION = (
    "name",
    "version",
    "creation_time",
    "last_updated_time",
    "user_id",
    "current_stage",
    "description",
    "source",
    "run_id",
    "run_link",
    "status",
    "status_message",
    "storage_location",
)


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
        tables.oddities.lost(KIND, shown(odd), "its name is not text, and it was not saved")
    wanted = None if experiments is None else _from_runs_of(connection, tables, experiments)
    return [name for name in names if isinstance(name, str) and (wanted is None or name in wanted)]


def _from_runs_of(connection: Connection, tables: Tables, experiments: Sequence[int]) -> set[str]:
    """Names of models; not joined: MySQL refuses that for columns of two collations, and these have no foreign key."""
    runs, versions = tables["runs"].c, tables["model_versions"].c
    query = sa.select(versions.run_id, versions.name).where(
        versions.run_id.is_not(None), _is_shown(tables), tables.in_default_workspace("model_versions")
    )
    names = grouped(rows_of(connection, query))
    found: set[str] = set()
    for batch in batches(run_id for run_id in names if isinstance(run_id, str)):
        there = sa.select(runs.run_uuid).where(runs.run_uuid.in_(batch), runs.experiment_id.in_(experiments))
        for (run_id,) in rows_of(connection, there):
            found.update(name for (name,) in names.get(run_id, ()))
    return found


def _is_shown(tables: Tables) -> ColumnElement[bool]:
    """The condition for versions that are not deleted; one without a stage is not, though MLflow hides it."""
    stage = tables["model_versions"].c.current_stage
    return sa.or_(stage.is_(None), stage != DELETED_STAGE)


def read_models(connection: Connection, tables: Tables, names: Iterable[str]) -> Iterator[RegisteredModel]:
    """The registered models with these names that exist, in the order of the names."""
    for batch in batches(names):
        rows = {row[0]: row for row in rows_of(connection, _select(tables, "registered_models", _MODEL, batch))}
        versions = _versions(connection, tables, batch)
        tags = _tags(connection, tables, "registered_model_tags", ("name", "key", "value"), batch)
        aliases = _tags(connection, tables, "registered_model_aliases", ("name", "alias", "version"), batch)
        for name in batch:
            if name in rows:
                model = _model(tables, rows[name], versions.get(name, []), tags.get(name, []), aliases.get(name, []))
                if model is not None:
                    yield model


def _select(tables: Tables, table: str, columns: Sequence[str], names: Sequence[str]) -> sa.Select[Any]:
    return sa.select(*tables.columns(table, *columns)).where(
        tables[table].c.name.in_(names), tables.in_default_workspace(table)
    )


def _tags(
    connection: Connection, tables: Tables, table: str, columns: Sequence[str], names: Sequence[str]
) -> dict[Any, list[Any]]:
    if table not in tables:  # aliases: MLflow 2.3 on; tags: 1.9 and 1.10 on
        return {}
    return grouped(rows_of(connection, _select(tables, table, columns, names)))


def _versions(connection: Connection, tables: Tables, names: Sequence[str]) -> dict[str, list[ModelVersion]]:
    tags: dict[tuple[str, Any], dict[str, str]] = {}
    columns = ("name", "version", "key", "value")
    for name, own in _tags(connection, tables, "model_version_tags", columns, names).items():
        for version, key, value in own:
            tags.setdefault((name, version), {})[key] = value or ""
    found: dict[str, list[ModelVersion]] = {}
    for row in rows_of(connection, _select(tables, "model_versions", _VERSION, names).where(_is_shown(tables))):
        version = _version(tables, row, tags.get((row[0], row[1]), {}))
        if version is not None:
            found.setdefault(row[0], []).append(version)
    return found


def _version(tables: Tables, row: Sequence[Any], tags: dict[str, str]) -> ModelVersion | None:
    name, version, created, updated, user, stage, description, source, run, link, status, message, location = row
    values = {
        "version": version,
        "creation_timestamp": created,
        "last_updated_timestamp": updated,
        "user_id": user or None,
        "current_stage": stage,
        "description": description or None,
        "source": source or None,
        "run_id": run or None,
        "run_link": link or None,
        "status": status,
        "status_message": message or None,
        "storage_location": location or None,
        "tags": tags,
    }
    shown_name = f"{name} version {shown(version)}"
    if stage is None:
        values["current_stage"] = NO_STAGE
        tables.oddities.changed(KIND, shown_name, f"it has no stage, and was saved with the stage {NO_STAGE!r}")
    return tables.oddities.validated(ModelVersion, values, KIND, shown_name)


def _model(
    tables: Tables, row: Sequence[Any], versions: Sequence[ModelVersion], tags: Sequence[Any], aliases: Sequence[Any]
) -> RegisteredModel | None:
    name, created, updated, description = row
    values = {
        "name": name,
        "creation_timestamp": created,
        "last_updated_timestamp": updated,
        "description": description or None,
        "tags": {key: value or "" for key, value in tags},
        "aliases": dict(map(tuple, aliases)),
        "versions": tuple(versions),
    }
    return tables.oddities.validated(RegisteredModel, values, KIND, name)
