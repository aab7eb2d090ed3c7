"""Restores users and permissions of basic-auth into their database: all of it, in one transaction, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence, Set

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import IncompatibleStoreError
from mlmeta.progress import Progress, Silent
from mlmeta.schema import AUTH, AUTH_TABLES, AuthRow
from mlmeta.snapshot.compare import Pair
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.auth import (
    FIRST,
    auth_row,
    auth_tables,
    begin_auth,
    blank_auth,
    hide_parameters,
    holds_auth,
    is_known,
    migrate,
    newest_revision,
    read_auth,
)
from mlmeta.stores.sql.auth_step import AuthStep
from mlmeta.stores.sql.database import SQLITE, parse
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.new_store import NewFile, remove_unfinished
from mlmeta.stores.sql.queries import BATCH, batches
from mlmeta.stores.sql.row_inserts import RowInserts
from mlmeta.stores.sql.row_target import RowTarget, kept_form, key_of
from mlmeta.stores.sql.tally import RestoreTally
from mlmeta.stores.sql.writing import locks_of, writing
from mlmeta.stores.target import FAIL, Plan, Refusal, Report

_NONE: frozenset[str] = frozenset()


class AuthTarget:
    """A database of basic-auth to write into. What is there stays as it is.

    Args:
        uri: as for `SqlTarget`.
        on_conflict: ``fail`` or another: what is in conflict is left out.
    """

    def __init__(self, uri: str, on_conflict: str = FAIL) -> None:
        self._database = parse(uri)
        self._stops = on_conflict == FAIL

    def plan(self, snapshot: Snapshot, without: Set[str] = _NONE) -> Plan:
        """Look at the target and say what a restore would do. Nothing is created, not even a file.

        Args:
            snapshot: what to restore.
            without: ids of its experiments that are not restored: nobody is let into what has their ids.

        Raises:
            IncompatibleStoreError: its schema or the snapshot's is not the installed MLflow's.
            MlmetaError: the target or the snapshot can't be read.
        """
        rows, lost = _rows(snapshot)
        with self._reading() as connection:
            tally = _decided(connection, self._tables(connection), rows, None, without)
        return Plan(
            target=self._database.shown,
            keeps_ids=True,
            create=dict(+tally.created),
            present=dict(tally.present),
            conflicts=(*tally.misfits, *tally.conflicts) if self._stops else (),
            refused=(*lost, *(tally.left_out if self._stops else tally.refused)),
        )

    def restore(self, snapshot: Snapshot, progress: Progress, without: Set[str] = _NONE) -> Report:
        """Write what is missing, in one transaction.

        Args:
            snapshot: what to restore.
            progress: told how far it is.
            without: see `plan`.

        Raises:
            ConflictError: something stands in the way and `on_conflict` is ``fail``; nothing was written.
            MlmetaError: the target or the snapshot can't be used; nothing was written.
        """
        rows, lost = _rows(snapshot)
        progress.phase("restoring users and permissions")
        if self._database.kind == SQLITE:
            remove_unfinished(self._database)
        if self._database.kind == SQLITE and not self._database.path.exists():
            with NewFile(self._database, begin_auth) as file:
                tally = self._write(file.connection(), rows, without)
                if file.publish():
                    return _report(tally, lost)
        with writing(self._database, progress) as connection, self._database.errors():
            if self._ensure(connection):
                there = sa.inspect(connection).get_table_names()
                locks_of(connection, self._database, progress).tables([one for one in AUTH_TABLES if one in there])
            return _report(self._write(connection, rows, without), lost)

    def _ensure(self, connection: Connection) -> bool:
        """Have the tables made where there are none. Whether they were there."""
        hide_parameters(connection)
        if holds_auth(connection, self._database.shown):
            return True
        migrate(connection)
        return False

    def read_back(self, snapshot: Snapshot) -> Iterator[Pair]:
        """Each row that was to be restored, beside what the target has of it."""
        rows, _ = _rows(snapshot)
        with self._reading() as connection:
            target = RowTarget(connection, self._tables(connection), withhold=False)
            for batch in batches(rows, BATCH):
                yield from _pairs(target, batch)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A read-only connection to what is there; to no rows where there is nothing yet."""
        if self._database.kind == SQLITE and not self._database.path.exists():
            with blank_auth() as connection:
                yield connection
            return
        with self._database.reading() as connection:
            hide_parameters(connection)
            if holds_auth(connection, self._database.shown):
                yield connection
                return
        with blank_auth() as blank:
            yield blank

    def _tables(self, connection: Connection) -> Tables:
        return Tables(connection, self._database.shown, required=_NONE)

    def _write(self, connection: Connection, rows: Sequence[AuthRow], without: Set[str]) -> RestoreTally:
        hide_parameters(connection)
        with self._database.errors():
            tally = _decided(connection, self._tables(connection), rows, RowInserts(connection), without)
            if self._stops:
                tally.require_fit(self._database.shown)
                tally.require_no_conflict(self._database.shown)
            return tally


def _decided(
    connection: Connection,
    tables: Tables,
    rows: Sequence[AuthRow],
    inserts: RowInserts | None,
    without: Set[str] = _NONE,
) -> RestoreTally:
    tally = RestoreTally()
    target = RowTarget(connection, tables, withhold=False)
    AuthStep(target, auth_tables(connection, tables), tally, inserts, without).take(rows)
    return tally


def _pairs(target: RowTarget, rows: Sequence[AuthRow]) -> Iterator[Pair]:
    names = dict.fromkeys(row.table for row in rows)
    for name in names:
        table, own = target.table(name), [row for row in rows if row.table == name]
        found = target.rows(table, own) if table is not None else {}
        for row in own:
            there = found.get(key_of(table, row)) if table is not None else None
            if there is None:
                yield Pair(row, None)
            else:
                yield Pair(row, auth_row(there), auth_row(kept_form(row, there)))


def _report(tally: RestoreTally, lost: Sequence[Refusal]) -> Report:
    return Report(
        created=dict(+tally.created),
        present=dict(tally.present),
        refused=(*lost, *tally.refused),
        notes=tuple(tally.notes),
        existing=tally.existing,
    )


def _rows(snapshot: Snapshot) -> tuple[list[AuthRow], list[Refusal]]:
    """The rows of a snapshot, as the installed MLflow has them, and what was lost on the way.

    Those of an older schema go through MLflow's own migrations.

    Rows that were put into a newer schema as they are would be read by nobody: MLflow 3.17 takes permissions from
    other tables than 2.22 does, and what a DENY had kept out would be let in.

    Raises:
        IncompatibleStoreError: they are of a newer MLflow.
    """
    rows = list(snapshot.records(AUTH))
    revision = snapshot.summary.auth_revision or FIRST
    if revision == newest_revision():
        return rows, []
    if not is_known(revision):
        raise IncompatibleStoreError(
            f"snapshot {snapshot.timestamp} has users and permissions in the schema {revision}, which the installed "
            "MLflow does not know",
            hint="install the MLflow version that it was made from, or a newer one",
        )
    with blank_auth(revision) as connection:
        lost = _fill(connection, rows)
        migrate(connection)
        return list(read_auth(connection, Tables(connection, "", required=_NONE), Silent())), lost


def _fill(connection: Connection, rows: Sequence[AuthRow]) -> list[Refusal]:
    """Write rows into tables of their own schema; gives those that refer to something that is gone."""
    tally = _decided(connection, Tables(connection, "", required=_NONE), rows, RowInserts(connection))
    tally.require_fit("a database of basic-auth")
    tally.require_no_conflict("a database of basic-auth")
    return tally.left_out
