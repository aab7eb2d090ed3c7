"""The model registry, read from MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import ModelVersion, RegisteredModel
from mlmeta.tracking.sql.batches import batches, grouped
from mlmeta.tracking.sql.tables import Tables, by_bytes

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
    if experiments is not None:
        query = query.where(name.in_(_from_runs_of(tables, experiments)))
    return list(connection.execute(query.order_by(by_bytes(name, connection.dialect.name))).scalars())


def _from_runs_of(tables: Tables, experiments: Sequence[int]) -> sa.Select[Any]:
    runs, versions = tables["runs"].c, tables["model_versions"].c
    return sa.select(versions.name).where(
        versions.run_id.in_(sa.select(runs.run_uuid).where(runs.experiment_id.in_(experiments))),
        versions.current_stage != DELETED_STAGE,
        tables.in_default_workspace("model_versions"),
    )


def read_models(connection: Connection, tables: Tables, names: Iterable[str]) -> Iterator[RegisteredModel]:
    """The registered models with these names that exist, in the order of the names."""
    for batch in batches(names):
        rows = {row[0]: row for row in connection.execute(_select(tables, "registered_models", _MODEL, batch))}
        versions = _versions(connection, tables, batch)
        tags = _tags(connection, tables, "registered_model_tags", ("name", "key", "value"), batch)
        aliases = _tags(connection, tables, "registered_model_aliases", ("name", "alias", "version"), batch)
        for name in batch:
            if name in rows:
                yield _model(rows[name], versions.get(name, []), tags.get(name, []), aliases.get(name, []))


def _select(tables: Tables, table: str, columns: Sequence[str], names: Sequence[str]) -> sa.Select[Any]:
    return sa.select(*tables.columns(table, *columns)).where(
        tables[table].c.name.in_(names), tables.in_default_workspace(table)
    )


def _tags(
    connection: Connection, tables: Tables, table: str, columns: Sequence[str], names: Sequence[str]
) -> dict[Any, list[Any]]:
    if table not in tables:  # aliases: MLflow 2.3 on
        return {}
    return grouped(connection.execute(_select(tables, table, columns, names)))


def _versions(connection: Connection, tables: Tables, names: Sequence[str]) -> dict[str, list[ModelVersion]]:
    tags: dict[tuple[str, int], dict[str, str]] = {}
    columns = ("name", "version", "key", "value")
    for name, version, key, value in connection.execute(_select(tables, "model_version_tags", columns, names)):
        tags.setdefault((name, version), {})[key] = value or ""
    found: dict[str, list[ModelVersion]] = {}
    query = _select(tables, "model_versions", _VERSION, names)
    for row in connection.execute(query.where(tables["model_versions"].c.current_stage != DELETED_STAGE)):
        found.setdefault(row[0], []).append(_version(row, tags.get((row[0], row[1]), {})))
    return found


def _version(row: Sequence[Any], tags: dict[str, str]) -> ModelVersion:
    _, version, created, updated, user, stage, description, source, run, link, status, message, location = row
    return ModelVersion.model_validate(
        {
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
    )


def _model(
    row: Sequence[Any], versions: Sequence[ModelVersion], tags: Sequence[Any], aliases: Sequence[Any]
) -> RegisteredModel:
    name, created, updated, description = row
    return RegisteredModel.model_validate(
        {
            "name": name,
            "creation_timestamp": created,
            "last_updated_timestamp": updated,
            "description": description or None,
            "tags": {key: value or "" for key, value in tags},
            "aliases": dict(map(tuple, aliases)),
            "versions": tuple(versions),
        }
    )
