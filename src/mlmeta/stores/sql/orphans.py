"""Rows whose parent is gone: SQLite enforces no foreign key unless told to, and people delete by hand.

What MLflow still shows by its id is named as not saved. Rows that it shows to nobody are only told of. What
`mlflow gc` leaves behind (inputs, their tags and datasets) is neither: every store that it ran on has some.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema import Selection, Skipped
from mlmeta.stores.sql.database_tables import Tables, by_bytes
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.queries import rows_of

NAMED = 20
"""Orphans that are named; of more, the number is told."""


@dataclass(frozen=True)
class _Kind:
    """Rows that belong to others.

    Args:
        table: their table.
        key: the columns that name one.
        parent: the table of what they belong to.
        link: the columns that lead there, here and there.
        one: what such a row is to `Skipped`.
        of: what is gone.
    """

    table: str
    key: str
    parent: str
    link: tuple[str, str]
    one: str
    of: str


_SHOWN = (
    _Kind("runs", "run_uuid", "experiments", ("experiment_id", "experiment_id"), "run", "experiment"),
    _Kind("logged_models", "model_id", "experiments", ("experiment_id", "experiment_id"), "logged model", "experiment"),
    _Kind("model_versions", "version", "registered_models", ("name", "name"), "model version", "registered model"),
)
_HIDDEN = (
    _Kind(
        "experiment_tags", "key", "experiments", ("experiment_id", "experiment_id"), "experiment tags", "experiments"
    ),
    _Kind("params", "key", "runs", ("run_uuid", "run_uuid"), "params", "runs"),
    _Kind("tags", "key", "runs", ("run_uuid", "run_uuid"), "tags", "runs"),
    _Kind("latest_metrics", "key", "runs", ("run_uuid", "run_uuid"), "metrics", "runs"),
    _Kind("logged_model_params", "param_key", "logged_models", ("model_id", "model_id"), "params", "logged models"),
    _Kind("logged_model_tags", "tag_key", "logged_models", ("model_id", "model_id"), "tags", "logged models"),
    _Kind("logged_model_metrics", "metric_name", "logged_models", ("model_id", "model_id"), "metrics", "logged models"),
    _Kind("registered_model_tags", "key", "registered_models", ("name", "name"), "tags", "registered models"),
    _Kind("registered_model_aliases", "alias", "registered_models", ("name", "name"), "aliases", "registered models"),
    _Kind("model_version_tags", "key", "registered_models", ("name", "name"), "version tags", "registered models"),
)


def orphans(connection: Connection, tables: Tables, selection: Selection) -> Iterator[Skipped]:
    """What MLflow shows by its id only, as what it belongs to is gone. A restore has no place for it: not saved."""
    for kind in _SHOWN:
        wanted = selection.models if kind.table == "model_versions" else selection.runs
        if wanted and kind.table in tables:
            found = _named(connection, tables, kind)
            for name, reason in found[:NAMED]:
                yield Skipped(kind=kind.one, id=name, reason=reason)
            if len(found) > NAMED:
                yield Skipped(kind=kind.one, id="*", reason=f"{len(found) - NAMED:,} more like that")


def _named(connection: Connection, tables: Tables, kind: _Kind) -> list[tuple[str, str]]:
    table = tables[kind.table].c
    here = kind.link[0]
    query = sa.select(table[kind.key], table[here]).where(_is_orphan(connection, tables, kind))
    found = []
    for key, parent in rows_of(connection, query):
        name = str(key) if kind.key != "version" else f"{parent} version {key}"
        found.append((name, f"its {kind.of} {shown(parent)} is gone, and it was not saved"))
    return sorted(found)


def hidden_orphans(connection: Connection, tables: Tables) -> tuple[str, ...]:
    """A sentence for each kind of rows that MLflow shows to nobody, as what they belong to is gone."""
    there = (kind for kind in _HIDDEN if kind.table in tables and kind.parent in tables)
    return tuple(
        f"{count:,} {kind.one} belong to {kind.of} that are gone: MLflow shows them nowhere"
        for kind in there
        if (count := _count(connection, tables, kind))
    )


def _count(connection: Connection, tables: Tables, kind: _Kind) -> int:
    if kind.table in tables.read:  # of the big tables: where all rows were read, none is left
        all_rows = sa.select(sa.func.count()).select_from(tables[kind.table])
        if connection.execute(all_rows).scalar_one() == tables.read[kind.table]:
            return 0
    query = sa.select(sa.func.count()).select_from(tables[kind.table]).where(_is_orphan(connection, tables, kind))
    return int(connection.execute(query).scalar_one())


def _is_orphan(connection: Connection, tables: Tables, kind: _Kind) -> ColumnElement[bool]:
    """The condition for rows without a parent, in any workspace."""
    here: ColumnElement[Any] = tables[kind.table].c[kind.link[0]]
    there: ColumnElement[Any] = tables[kind.parent].c[kind.link[1]]
    if connection.dialect.name == "mysql":  # which compares columns of two collations as bytes only
        here, there = by_bytes(here, "mysql"), by_bytes(there, "mysql")
    return sa.or_(here.is_(None), here.not_in(sa.select(there)))
