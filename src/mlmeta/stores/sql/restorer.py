"""Restores a snapshot into the database of an MLflow server: all of it, in one transaction, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import ConflictError
from mlmeta.progress import Progress, Silent
from mlmeta.schema import WITH_PARTS, Selection
from mlmeta.snapshot.compare import Pair
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.database import SQLITE, parse, reading_still
from mlmeta.stores.sql.existing import ExistingRows, no_rows
from mlmeta.stores.sql.limits import Limits, limits_of, limits_of_new
from mlmeta.stores.sql.new_store import NewFile, remove_unfinished, without_indexes
from mlmeta.stores.sql.parallel_reads import export_moment, lanes_at
from mlmeta.stores.sql.queries import BATCH
from mlmeta.stores.sql.read_back import read_back
from mlmeta.stores.sql.schema import ensure_schema, holds_content, holds_store, make_schema, makes_schema_within
from mlmeta.stores.sql.tables import COLUMNS
from mlmeta.stores.sql.tally import RestoreTally
from mlmeta.stores.sql.upgrade import RowUpgrades
from mlmeta.stores.sql.walk import numbers_in, walk
from mlmeta.stores.sql.writer import Planned, RowWriter
from mlmeta.stores.sql.writing import NOTICES, locks_of, writing
from mlmeta.stores.target import FAIL, MERGE, Plan, Report, RestoreOptions

_TRIES = 3
"""How often a merge is tried where a server writes the very row that is to be written, such as an experiment's."""

_BIG = ("params", "tags", "latest_metrics", "metrics")
"""Tables with many rows a run, to which no other table refers."""


class SqlTarget:
    """A database that MLflow uses or shall use. Ids, times and artifact locations arrive as they were.

    What is there stays: of rows that people see only the untouched Default experiment is ever changed, which MLflow
    itself puts into every new database, and, with `undelete`, what makes a record deleted.

    Args:
        uri: ``sqlite:///…``, ``postgresql://…`` or ``mysql://…``, as MLflow takes it.
        options: how conflicts, locations and deleted records are dealt with. With ``rename``, a record gets another
            name where that solves a conflict; else it is left out.

    Raises:
        UsageError: the URI or another argument is off, or the database's driver is not installed.
    """

    def __init__(self, uri: str, options: RestoreOptions | None = None) -> None:
        self._options = options = options or RestoreOptions()
        self._database = parse(uri)
        self._made = False
        self._upgrades = RowUpgrades()
        self._planned: dict[tuple[str, str, Selection], RestoreTally] = {}
        Rewriter(options.rewrite)

    @property
    def unkept(self) -> tuple[str, ...]:
        """What MLflow's tables have no column for."""
        return tuple(kind.field(name) for kind in WITH_PARTS for name in kind.untabled)

    def has_content(self) -> bool:
        """Whether the target has any run, trace, model or dataset."""
        with self._reading(briefly=True) as (connection, _):
            return bool(ExistingRows(connection, self._database.shown).runs) or holds_content(connection)

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """Look at the target and say what a restore would do. Nothing is created, not even a file.

        Raises:
            IncompatibleStoreError: the target's schema is not the installed MLflow's.
            MlmetaError: the target or the snapshot can't be read.
        """
        with self._reading() as (connection, limits):
            existing = ExistingRows(connection, self._database.shown)
            compare = bool(existing.runs) or existing.has_inputs or existing.has_traces
            part, writer = self._upgrades.part_of(snapshot, selection, progress), Planned(existing)
            tally = walk(part, existing, writer, self._options, limits(), progress, compare=compare)
        if self._options.on_conflict == MERGE:
            tally.is_idle = not writer.writes
            self._planned = {_name(part): tally}
        stops = self._options.on_conflict == FAIL
        return Plan(
            target=self._database.shown,
            keeps_ids=True,
            create=dict(+tally.created),
            present=dict(tally.present),
            undelete=dict(tally.undeleted),
            changed=dict(+tally.changed),
            merged=dict(+tally.merged),
            experiment_ids=tally.experiment_ids,
            target_runs=existing.runs > tally.matched_runs,
            conflicts=(*tally.misfits, *tally.conflicts) if stops else (),
            refused=tuple(tally.left_out) if stops else tally.refused,
            notes=tuple(tally.notes),
            existing=tally.existing if selection.names_records else frozenset(),
            completed=tally.completed if selection.names_records else frozenset(),
        )

    @contextlib.contextmanager
    def _reading(self, *, briefly: bool = False) -> Iterator[tuple[Connection, Callable[[], Limits]]]:
        """A read-only connection, and the limits of what is there: to no rows where there is no store yet."""
        if self._database.kind == SQLITE and not self._database.path.exists():
            with no_rows() as connection:
                yield connection, Limits
            return
        with self._database.reading() if briefly or self._made else self._reading_still() as connection:
            if holds_store(connection, self._database.shown):
                yield connection, partial(limits_of, connection)
                return
            with no_rows() as nothing:
                yield nothing, partial(limits_of_new, connection)

    @contextlib.contextmanager
    def _reading_still(self) -> Iterator[Connection]:
        with reading_still(self._database) as still:
            yield still.connection

    def restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        """Write what is missing, in one transaction.

        After the plan of a merge, it only looks at what that found to lack something, if there is anything at all: a
        lock on a database in use is held for as short as can be.

        A SQLite file that does not exist appears when it is complete. In one without a table, or an empty PostgreSQL
        database, MLflow's schema is made in the same transaction. MySQL can't take back what makes tables: there the
        schema comes first, and stays if the restore fails.

        Raises:
            ConflictError: something stands in the way and `on_conflict` is ``fail``; nothing was written.
            IncompatibleStoreError: the target's schema is not the installed MLflow's.
            MlmetaError: the target or the snapshot can't be used; nothing was written.
        """
        part = self._upgrades.part_of(snapshot, selection, progress)
        planned = self._planned.get(_name(part))
        if planned is not None and planned.is_idle:
            return _report(planned)
        if self._database.kind == SQLITE:
            remove_unfinished(self._database)
        if self._database.kind == SQLITE and not self._database.path.exists():
            with NewFile(self._database) as file:
                tally = self._write(file.connection(), part, progress)
                self._made = file.publish()
                if self._made:
                    return _report(tally)
        if not makes_schema_within(self._database):
            ensure_schema(self._database, progress)
        for _ in range(_TRIES - 1 if self._options.on_conflict == MERGE else 0):
            with contextlib.suppress(ConflictError):
                return self._written(part, progress)
        return self._written(part, progress)

    def _written(self, part: Selected, progress: Progress) -> Report:
        with writing(self._database, progress) as connection:
            with self._database.errors(), self._made_schema(connection, progress):
                tally = self._write(connection, part, progress)
            return _report(tally)

    @contextlib.contextmanager
    def _made_schema(self, connection: Connection, progress: Progress) -> Iterator[None]:
        """In the one transaction, MLflow's schema where there is none; PostgreSQL's biggest tables are filled bare."""
        if holds_store(connection, self._database.shown):
            there = sa.inspect(connection).get_table_names()
            locks_of(connection, self._database, progress).tables([name for name in COLUMNS if name in there])
            yield
            return
        progress.phase("making MLflow's tables")
        make_schema(connection)
        if self._database.kind == SQLITE:
            yield
            return
        with without_indexes(connection, _BIG):
            yield
            progress.phase("making indexes")

    def _write(self, connection: Connection, part: Selected, progress: Progress) -> RestoreTally:
        with self._database.errors():
            before = self._planned.get(_name(part))
            settled = before.settled if before is not None else frozenset()
            existing = ExistingRows(connection, self._database.shown, settled=settled)
            writer = RowWriter(connection, existing)
            tally = walk(part, existing, writer, self._options, limits_of(connection), progress, compare=True)
            if self._options.on_conflict == FAIL:
                tally.require_fit(self._database.shown)
                tally.require_no_conflict(self._database.shown)
            if note := writer.finish():
                tally.notes.append(note)
            tally.notes.extend(connection.info.get(NOTICES, ()))
            return tally

    def read_back(self, snapshot: Snapshot, selection: Selection) -> Iterator[Pair]:
        """See `Target.read_back`. Records are looked up by their ids, in one read-only transaction."""
        worth_it = snapshot.summary.stats.get("runs", 0) > BATCH
        with self._reading() as (connection, limits):
            moment = export_moment(connection) if worth_it else ""
            with lanes_at(moment, self._database) as lanes:
                existing = ExistingRows(connection, self._database.shown, lanes)
                part = self._upgrades.part_of(snapshot, selection, Silent())
                numbers = numbers_in(part, existing, limits, self._options)
                yield from read_back(part, existing, self._options, numbers)

    def close(self) -> None:
        """Let go of what was kept between calls."""
        self._upgrades.close()


def _name(part: Selected) -> tuple[str, str, Selection]:
    """What tells a part of a snapshot from others."""
    return part.snapshot.storage.location, part.timestamp, part.selection


def _report(tally: RestoreTally) -> Report:
    return Report(
        created=dict(+tally.created),
        present=dict(tally.present),
        undeleted=dict(tally.undeleted),
        merged=dict(+tally.merged),
        experiment_ids=tally.experiment_ids,
        refused=tally.refused,
        notes=tuple(tally.notes),
        existing=tally.existing,
        completed=tally.completed,
    )
