"""Rows of an older schema, as MLflow's own migrations make them.

A migration moves what one column held into others, or into another table. A row that is put into a newer schema as it
is loses that without an error. So rows of a snapshot whose schema is older than the target's go into a scratch store
of their own schema, MLflow upgrades it as `mlflow db upgrade` would, and the rows are read again. Records need none of
this: they say what was meant, whatever the schema.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from mlmeta.errors import IncompatibleStoreError
from mlmeta.progress import Progress
from mlmeta.redaction import in_brief
from mlmeta.schema import ROWS, Row, Selection
from mlmeta.schema.kind import Kind, R
from mlmeta.schema.rows import WITHHELD, table_order
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.inserts import TableInsert
from mlmeta.stores.sql.left_tables import LeftTables, why_no_rows
from mlmeta.stores.sql.queries import BATCH, batches
from mlmeta.stores.sql.row_target import RowTarget, UnfitError, stored_value
from mlmeta.stores.sql.rows import RowReader, RowTable, row_tables
from mlmeta.stores.sql.schema import begin_store_at, is_older, migration_errors, upgrade_store
from mlmeta.stores.sql.sqlite import scratch_engine
from mlmeta.temporary import scratch_folder

_REVISION = "schema "
"""What the summary of a snapshot from a database has before the revision, in the place of a server's version."""
_SHOWN = "the scratch store for older rows"
_SECRET = "withheld"  # noqa: S105 - it stands for one


@dataclass(frozen=True)
class _Store:
    """Upgraded rows of a part of a snapshot.

    Args:
        path: of the scratch store.
        others: tables that MLflow does not know: their rows stay as they are.
        unfit: rows that a store of their schema did not take: these, too.
        left_out: how many rows of each table do not belong to the part.
    """

    path: Path
    others: frozenset[str]
    unfit: tuple[Row, ...]
    left_out: Counter[str]

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[Tables, LeftTables]]:
        """The tables of the store, and those of them that are saved as rows."""
        with scratch_engine(self.path).connect() as connection:
            tables = Tables(connection, _SHOWN)
            yield tables, LeftTables(connection, tables, None)


class RowUpgrades:
    """Makes upgraded rows, once for the plan, the restore and its proof."""

    def __init__(self) -> None:
        self._folders = contextlib.ExitStack()
        self._stores: dict[tuple[str, str, Selection], _Store] = {}

    def part_of(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Selected:
        """The part of a snapshot that is meant; its rows as they are in the installed MLflow's schema.

        A snapshot of a schema that the installed MLflow does not know stays as it is: what has no place will be named.

        Args:
            snapshot: the whole.
            selection: the part.
            progress: unit ``rows``.

        Raises:
            UsageError: the snapshot has no experiment of a selected name.
            IncompatibleStoreError: MLflow's migrations fail over these rows.
            SnapshotError: the snapshot is damaged.
        """
        part = Selected(snapshot, selection)
        version = snapshot.summary.mlflow_server_version or ""
        if not part.tables or not version.startswith(_REVISION) or not is_older(version.removeprefix(_REVISION)):
            return part
        name = snapshot.storage.location, snapshot.timestamp, selection
        if name not in self._stores:
            path = self._folders.enter_context(scratch_folder()) / "upgraded.db"
            self._stores[name] = _upgraded(part, path, version.removeprefix(_REVISION), progress)
        return _Upgraded(snapshot, selection, self._stores[name])

    def close(self) -> None:
        """Remove the scratch stores."""
        self._stores.clear()
        self._folders.close()


def _upgraded(part: Selected, path: Path, revision: str, progress: Progress) -> _Store:
    begin_store_at(path, revision)
    progress.phase("upgrading rows")
    progress.expect("rows", sum(part.tables.values()))
    with scratch_engine(path).begin() as connection:
        filler = _Filler(connection)
        for name, rows in groupby(part.records(ROWS), attrgetter("table")):
            for batch in batches(rows, BATCH):
                filler.take(name, batch)
                progress.advance("rows", len(batch))
    try:
        upgrade_store(path)
    except migration_errors() as error:
        raise IncompatibleStoreError(
            f"MLflow's migrations fail over rows of {part.snapshot.timestamp}, whose schema is older ({revision}): "
            f"{in_brief(str(error), 300)}",
            hint="restore it without its settings (`--without settings`), or into a database of that MLflow version, "
            "and run `mlflow db upgrade`",
        ) from error
    return _Store(path, frozenset(filler.others), tuple(filler.unfit), part.other_rows)


class _Upgraded(Selected):
    """A part of a snapshot, whose rows come from an upgraded scratch store.

    Args:
        snapshot: the whole.
        selection: the part.
        store: with its rows.
    """

    def __init__(self, snapshot: Snapshot, selection: Selection, store: _Store) -> None:
        super().__init__(snapshot, selection)
        self._store = store
        self.other_rows = store.left_out
        with store.reading() as (_, left):
            counts = Counter({name: left.counts[name] for name in left.saved if name in left.counts})
        counts.update(row.table for row in store.unfit)
        counts.update({name: count for name, count in super().tables.items() if name in store.others})
        self._counts = {name: counts[name] for name in sorted(counts, key=table_order)}

    @property
    def tables(self) -> dict[str, int]:
        """See `Selected.tables`."""
        return self._counts

    def records(self, kind: Kind[R]) -> Iterator[R]:
        """See `Selected.records`."""
        found: Iterator[Any] = self._all_rows() if kind is ROWS else super().records(kind)
        yield from found

    def _all_rows(self) -> Iterator[Row]:
        own = super().records(ROWS) if self._store.others else ()
        kept = (row for row in own if row.table in self._store.others)
        yield from heapq.merge(self._upgraded_rows(), kept, sorted(self._store.unfit, key=_rank), key=_rank)

    def _upgraded_rows(self) -> Iterator[Row]:
        with self._store.reading() as (tables, left):
            reader = RowReader(left.connection, tables)
            for table in row_tables(tables, [name for name in left.saved if name in left.counts]).values():
                condition = left.meant(table.name)
                if condition is not None:
                    yield from reader.stream(table, condition)


def _rank(row: Row) -> tuple[int, str]:
    return table_order(row.table)


class _Filler:
    """Puts rows into a store of their own schema, with stubs of the records that they refer to.

    Args:
        connection: to a store without rows.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        tables = Tables(connection, _SHOWN)
        self._target = RowTarget(connection, tables)
        self._rows = {*LeftTables(connection, tables, None).saved}
        self._columns: dict[str, tuple[str, ...]] = {}
        self.others: set[str] = set()
        """Tables that are not in MLflow's schema, or with columns that are not, or whose rows are never restored."""
        self.unfit: list[Row] = []
        """Rows that the store did not take."""

    def take(self, name: str, rows: Sequence[Row]) -> None:
        """Put in rows of one table."""
        table = self._target.table(name)
        columns = self._columns.setdefault(name, tuple(rows[0].values))
        if why_no_rows(name) or table is None or not {*columns} <= {*table.types}:
            self.others.add(name)
            return
        self.unfit.extend(row for row in rows if tuple(row.values) != columns)  # no database has such rows
        rows = [row for row in rows if tuple(row.values) == columns]
        fitting = [(row, values) for row in rows if (values := self._stored(table, row)) is not None]
        self._put_stubs(name, [dict(zip(columns, values, strict=True)) for _, values in fitting])
        insert = TableInsert(self._connection, name, columns, columns)
        if not self._written(insert, [values for _, values in fitting]):
            self.unfit.extend(row for row, values in fitting if not self._written(insert, [values]))

    def _stored(self, table: RowTable, row: Row) -> tuple[Any, ...] | None:
        try:
            return tuple(_stored(table, column, value) for column, value in row.values.items())
        except UnfitError:
            self.unfit.append(row)
            return None

    def _written(self, insert: TableInsert, values: Sequence[tuple[Any, ...]]) -> bool:
        try:
            with self._connection.begin_nested():
                insert.write(self._connection, values)
        except SQLAlchemyError:
            return False
        return True

    def _put_stubs(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """What rows refer to, of tables that are not saved as rows: a migration may not want any without a parent."""
        for reference in self._target.references(name):
            parent = self._target.table(reference.parent)
            if parent is None or parent.name in self._rows:
                continue
            keys = {tuple(row.get(column) for column in reference.own) for row in rows}
            stubs = [_stub(parent, dict(zip(reference.theirs, key, strict=True))) for key in keys if None not in key]
            if stubs:
                columns = tuple(stubs[0])
                marks = ", ".join("?" * len(columns))
                sql = f"INSERT OR IGNORE INTO {parent.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
                self._connection.exec_driver_sql(sql, [tuple(stub.values()) for stub in stubs])
                self._put_stubs(parent.name, stubs)


def _stub(table: RowTable, key: dict[str, Any]) -> dict[str, Any]:
    """A row that has a key, and something in all columns that must not be empty."""
    name = " ".join(map(str, key.values()))
    others = (column for column in sorted(table.required) if column not in key)
    return key | {column: name if isinstance(table.types[column], sa.String) else 0 for column in others}


def _stored(table: RowTable, column: str, value: Any) -> Any:
    """What the scratch store gets for a value; for a secret something that tells that there is one."""
    if value == WITHHELD:
        return _SECRET.encode() if isinstance(table.types[column], sa.LargeBinary) else _SECRET
    return stored_value(table, column, value)
