"""What a database holds that a snapshot does not take: named and counted, so that nothing is dropped silently.

Tables that can't be read; and rows whose parent is gone, as SQLite enforces no foreign key unless told to, and people
delete by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema import ROWS, RUNS, SPANS, Selection, Skipped
from mlmeta.stores.sql.database_tables import Tables, by_bytes
from mlmeta.stores.sql.known_tables import tables_at
from mlmeta.stores.sql.left_tables import LeftTables
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.oddities import MOST, shown
from mlmeta.stores.sql.queries import rows_of
from mlmeta.stores.sql.tables import (
    DATASET_RECORD_TABLE,
    EVALUATION_DATASET_TABLE,
    EXPERIMENT_TABLE,
    LOGGED_MODEL_TABLE,
    MODEL_TABLE,
    MODEL_VERSION_TABLE,
    RUN_TABLE,
)
from mlmeta.stores.sql.trace_tables import ASSESSMENT_TABLE, TRACE_METADATA, TRACE_TABLE, TRACE_TAGS


def skipped(
    connection: Connection, tables: Tables, left: LeftTables, selection: Selection, experiments: Sequence[int] | None
) -> Iterator[Skipped]:
    """All that is skipped, whatever was read.

    Args:
        connection: in a transaction.
        tables: of that database.
        left: those that no record models.
        selection: what is saved.
        experiments: ids; only what belongs to these is looked for. None: everything.
    """
    if selection.means(RUNS) or selection.means(ROWS):
        for name in sorted(left.closed):
            reason = f"this user may not read the table {name}, which may have some"
            yield Skipped(kind=name.replace("_", " "), id="*", reason=reason)
    yield from _unseen(connection, tables)
    if experiments is None:
        yield from _orphans(connection, tables, selection)


def _unseen(connection: Connection, tables: Tables) -> Iterator[Skipped]:
    """One `Skipped` for each table that the store has by its schema, and that can't be read.

    It is hidden from the user (MySQL hides what a user has no right to), gone, or replaced by a view. MLflow's
    `alembic_version` says what must be there all the same.
    """
    missing = [name for name in tables_at(tables.revision) if name not in tables] if tables.revision else []
    views = set(sa.inspect(connection).get_view_names()) if missing else set()
    for name in missing:
        yield Skipped(kind="table", id=name, reason=_AS_VIEW if name in views else _GONE)


_AS_VIEW = "there is a view in its place, which may show less than there is, so it was not read"
_GONE = "a store with this schema has it, but it can't be seen: it is missing, or the user may not read it"


@dataclass(frozen=True)
class _Children:
    """Rows that belong to those of another table.

    Args:
        table: their name.
        parent: the table of what they belong to.
        words: what the rows are.
        column: that says to which; empty: it has the same name in both.
    """

    table: str
    parent: KindTable[Any]
    words: str
    column: str = ""

    @property
    def link(self) -> str:
        return self.column or self.parent.columns[0].name


_SHOWN: dict[KindTable[Any], KindTable[Any]] = {
    RUN_TABLE: EXPERIMENT_TABLE,
    LOGGED_MODEL_TABLE: EXPERIMENT_TABLE,
    TRACE_TABLE: EXPERIMENT_TABLE,
    MODEL_VERSION_TABLE: MODEL_TABLE,
}
"""Kinds that MLflow still shows by their id when what they belong to is gone."""

_HIDDEN = (
    _Children("experiment_tags", EXPERIMENT_TABLE, "experiment tags"),
    _Children("params", RUN_TABLE, "params"),
    _Children("tags", RUN_TABLE, "tags"),
    _Children("latest_metrics", RUN_TABLE, "metrics"),
    _Children("logged_model_params", LOGGED_MODEL_TABLE, "params"),
    _Children("logged_model_tags", LOGGED_MODEL_TABLE, "tags"),
    _Children("logged_model_metrics", LOGGED_MODEL_TABLE, "metrics"),
    _Children(TRACE_TAGS.name, TRACE_TABLE, "trace tags"),
    _Children(TRACE_METADATA.name, TRACE_TABLE, "metadata"),
    _Children(ASSESSMENT_TABLE.name, TRACE_TABLE, "assessments", "trace_id"),
    _Children(SPANS.name, TRACE_TABLE, "spans", "trace_id"),
    _Children("registered_model_tags", MODEL_TABLE, "tags"),
    _Children("registered_model_aliases", MODEL_TABLE, "aliases"),
    _Children("model_version_tags", MODEL_TABLE, "version tags"),
    _Children("evaluation_dataset_tags", EVALUATION_DATASET_TABLE, "evaluation dataset tags"),
    _Children(DATASET_RECORD_TABLE.name, EVALUATION_DATASET_TABLE, "dataset records"),
)
"""Rows that MLflow shows to nobody then. What `mlflow gc` leaves behind (inputs, their tags and datasets) is not among
them: every store that it ran on has some."""


def _orphans(connection: Connection, tables: Tables, selection: Selection) -> Iterator[Skipped]:
    """What MLflow shows by its id only, as what it belongs to is gone. A restore has no place for it: not saved."""
    for table, parent in _SHOWN.items():
        if selection.means(table.kind) and table.name in tables:
            found = _named_orphans(connection, tables, table, parent)
            for name, reason in found[:MOST]:
                yield Skipped(kind=table.kind.one, id=name, reason=reason)
            if len(found) > MOST:
                yield Skipped(kind=table.kind.one, id="*", reason=f"{len(found) - MOST:,} more like that")


def _named_orphans(
    connection: Connection, tables: Tables, table: KindTable[Any], parent: KindTable[Any]
) -> list[tuple[str, str]]:
    children = _Children(table.name, parent, table.kind.many)
    columns = tables[table.name].c
    query = sa.select(columns[table.read_names[table.key - 1]], columns[children.link])
    found = []
    for key, owner in rows_of(connection, query.where(_is_orphan(connection, tables, children))):
        name = f"{owner} version {key}" if table is MODEL_VERSION_TABLE else str(key)
        found.append((name, f"its {parent.kind.one} {shown(owner)} is gone, and it was not saved"))
    return sorted(found)


def hidden_orphans(connection: Connection, tables: Tables) -> tuple[str, ...]:
    """A sentence for each kind of rows that MLflow shows to nobody, as what they belong to is gone."""
    there = (children for children in _HIDDEN if {children.table, children.parent.name} <= tables.names)
    return tuple(
        f"{count:,} {children.words} belong to {children.parent.kind.many} that are gone: MLflow shows them nowhere"
        for children in there
        if (count := _orphan_count(connection, tables, children))
    )


def _orphan_count(connection: Connection, tables: Tables, children: _Children) -> int:
    rows = sa.select(sa.func.count()).select_from(tables[children.table])
    read = tables.read.get(children.table)  # of the big tables: where all rows were read, none is left
    if read is not None and connection.execute(rows).scalar_one() == read:
        return 0
    return int(connection.execute(rows.where(_is_orphan(connection, tables, children))).scalar_one())


def _is_orphan(connection: Connection, tables: Tables, children: _Children) -> ColumnElement[bool]:
    """The condition for rows without a parent in their workspace."""
    own, theirs = tables[children.table].c, tables[children.parent.name].c
    first, *more = (column.name for column in children.parent.columns[: children.parent.key])
    key = [(children.link, first), *((name, name) for name in more if name in own and name in theirs)]
    here = [_comparable(connection, own[name]) for name, _ in key]
    there = [_comparable(connection, theirs[name]) for _, name in key]
    place = sa.tuple_(*here) if len(key) > 1 else here[0]
    return sa.or_(here[0].is_(None), place.not_in(sa.select(*there)))


def _comparable(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column to compare with another one: MySQL compares two of two collations as bytes only."""
    return by_bytes(column, "mysql") if connection.dialect.name == "mysql" else column
