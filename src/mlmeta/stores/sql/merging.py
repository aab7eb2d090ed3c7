"""Writes what a merge adds to records that are there, beside a server that may write into them at the same moment.

What a server changes meanwhile goes before: a row is inserted unless its key is there, and changed only if it still
says what was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Record, Trace
from mlmeta.stores.sql.existing import ExistingRows
from mlmeta.stores.sql.inserts import ROWS_AT_ONCE, Inserts
from mlmeta.stores.sql.mapping import KindTable, Pairs, Row
from mlmeta.stores.sql.tables import METRIC_COLUMNS, table_of
from mlmeta.stores.sql.trace_tables import TRACE_METADATA, TRACE_TABLE, TRACE_TAGS, analytics, untold

R = TypeVar("R", bound=Record)

_LATEST = "latest_metrics"


class Merges:
    """Takes records of the target as a merge leaves them.

    Changes of rows wait for the end: the locks that they take are held for as short as can be.

    Args:
        connection: in a transaction.
        existing: what the target has.
        inserts: for rows that are missing.
    """

    def __init__(self, connection: Connection, existing: ExistingRows, inserts: Inserts) -> None:
        self._connection = connection
        self._existing = existing
        self._inserts = inserts
        self._latest: list[Row] = []
        self._updates: list[sa.Update] = []

    def record(self, found: R, joined: R, *owner: Any) -> None:
        """Add what a record that is there lacks.

        Args:
            found: the target's.
            joined: the same, as it shall be.
            owner: the key of the record that it is a part of.
        """
        table = table_of(found)
        before, after = table.row(found, *owner), table.row(joined, *owner)
        self._columns(table, before, after)
        for pairs in table.pairs:
            self._pairs(pairs, after, getattr(found, pairs.field), getattr(joined, pairs.field))
        for links in table.links:
            kept = {*getattr(found, links.field)}
            self._inserts.add_missing(links.name, (row for row in links.rows(after, joined) if row[1] not in kept))

    def trace(self, found: Trace, joined: Trace) -> None:
        """The same of a trace, some of whose tags and metadata stand in columns."""
        before, after = (TRACE_TABLE.row(trace, *analytics(trace)) for trace in (found, joined))
        self._columns(TRACE_TABLE, before, after)
        has_columns = "session_id" in self._existing.table(TRACE_TABLE.name).c
        told = [
            untold(trace, analytics(trace)) if has_columns else (trace.tags, trace.metadata)
            for trace in (found, joined)
        ]
        for pairs, old, new in zip((TRACE_TAGS, TRACE_METADATA), *told, strict=True):
            self._pairs(pairs, (joined.trace_id,), old, new)

    def _columns(self, table: KindTable[Any], before: Row, after: Row) -> None:
        """Have columns of a record's own row say something else; those that are made of others by themselves."""
        there = self._existing.table(table.name).c
        both = {n: pair for n, *pair in zip(table.names, before, after, strict=True) if n in there}
        key = [there[name] == both[name][0] for name in table.names[: table.key] if name in both]
        for made in (False, True):
            changed = {
                name: (old, new)
                for name, (old, new) in both.items()
                if old != new and (name in table.looked_up) is made
            }
            if changed:
                self._change(table.name, key, changed)

    def _pairs(self, pairs: Pairs, owner: Row, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Add keys to a map, and have others say something else."""
        new = {key: value for key, value in after.items() if key not in before}
        self._inserts.add_missing(pairs.name, pairs.rows(owner, new))
        columns = self._existing.table(pairs.name).c
        whose = [columns[name] == value for name, value in zip(pairs.owner, owner, strict=False) if name in columns]
        for key, value in after.items():
            if key in before and before[key] != value:
                self._change(pairs.name, [*whose, columns[pairs.key] == key], {pairs.value: (before[key], value)})

    def _change(self, name: str, where: Sequence[sa.ColumnElement[bool]], values: dict[str, tuple[Any, Any]]) -> None:
        table = self._existing.table(name)
        same = [_still(table.c[column], before) for column, (before, _) in values.items()]
        new = {column: after for column, (_, after) in values.items()}
        self._updates.append(sa.update(table).where(*where, *same).values(new))
        self._flush_if_many()

    def latest(self, rows: Iterator[Row]) -> None:
        """Have metrics end with these points, unless they end with later ones.

        Args:
            rows: of `latest_metrics`.
        """
        self._latest.extend(rows)
        self._flush_if_many()

    def _flush_if_many(self) -> None:
        if len(self._latest) + len(self._updates) >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is held, after all that is inserted."""
        self._inserts.add_missing(_LATEST, self._latest)
        self._inserts.flush()
        if self._latest:
            for update, rows in self._later():
                self._connection.execute(update, rows)
        for change in self._updates:
            self._connection.execute(change)
        self._latest.clear()
        self._updates.clear()

    def _later(self) -> Iterator[tuple[sa.Update, list[dict[str, Any]]]]:
        """What changes latest points where these are later: by step, time, value; no number comes after all numbers."""
        table = self._existing.table(_LATEST)
        columns = table.c
        new: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(f"new_{name}") for name in METRIC_COLUMNS}
        names = [f"new_{name}" for name in METRIC_COLUMNS]
        is_number = columns.is_nan == sa.false()
        for nan in (False, True):
            rows = [dict(zip(names, row, strict=True)) for row in self._latest if bool(row[-1]) is nan]
            value = is_number if nan else sa.and_(is_number, columns.value < new["value"])
            timestamp = sa.or_(
                columns.timestamp < new["timestamp"], sa.and_(columns.timestamp == new["timestamp"], value)
            )
            later = sa.or_(columns.step < new["step"], sa.and_(columns.step == new["step"], timestamp))
            where = (columns.run_uuid == new["run_uuid"], columns.key == new["key"], later)
            if rows:
                yield sa.update(table).where(*where).values({n: new[n] for n in METRIC_COLUMNS[2:]}), rows


def _still(column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    """Whether a column still says what was read: an empty text and NULL are read as nothing."""
    if value in (None, ""):
        return sa.or_(column.is_(None), sa.cast(column, sa.Text) == "")
    return sa.and_(column == value)
