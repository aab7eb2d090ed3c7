"""Reads a store from its database: one transaction, streamed, without `mlflow`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import UsageError
from mlmeta.parallel import read_ahead
from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS, MODELS, RUNS, Run, Selection, Skipped, leading_kinds
from mlmeta.schema.kind import within
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceInfo, SourceItem
from mlmeta.stores.sql.database import SQLITE, Database, parse, reading_still
from mlmeta.stores.sql.database_tables import Tables, by_bytes
from mlmeta.stores.sql.histories import HistoryBatch, read_histories
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.parallel_reads import Lanes, export_moment, lanes_at, read_in_parallel
from mlmeta.stores.sql.queries import BATCH, batches, grouped, rows_of
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.runs import RunReader
from mlmeta.stores.sql.skipped import hidden_orphans, skipped
from mlmeta.stores.sql.tables import EXPERIMENT_TABLE, MODEL_TABLE, MODEL_VERSION_TABLE, TABLES, experiment_name


class SqlSource:
    """An MLflow store, read from its database. Nothing is ever created, migrated or locked against writers.

    Args:
        uri: ``sqlite:///…``, ``postgresql://…`` or ``mysql://…``, as MLflow takes it.

    Raises:
        UsageError: the URI is not valid, or its driver is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._database = parse(uri)
        self._warnings: tuple[str, ...] = ()

    @cached_property
    def info(self) -> SourceInfo:
        """What it says of itself.

        Raises:
            ConnectionFailedError: the database can't be read, does not exist, or is not an MLflow store.
        """
        with self._database.reading() as connection:
            tables = Tables(connection, self._database.shown)
        return SourceInfo(
            uri=self._database.shown,
            kind=self._database.kind,
            server_version=f"schema {tables.revision}" if tables.revision else None,
            point_in_time=True,
            schema="" if tables.schema == "public" else tables.schema or "",
            socket=self._database.socket,
        )

    def experiment_names(self) -> set[str]:
        """See `Source.experiment_names`. It takes no time, so no copy is needed."""
        with self._database.reading() as connection:
            return set(experiment_names(connection, Tables(connection, self._database.shown)).values())

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """All records of the selection as of one moment, in the order of `Source.read`.

        Raises:
            UsageError: a selected experiment does not exist.
            ConnectionFailedError: the database can't be read, does not exist, or is not an MLflow store.
        """
        progress.phase("copying the database" if self._database.kind == SQLITE else "reading experiments")
        with reading_still(self._database, check=True) as still:
            connection = still.connection
            self._warnings = (still.warning,) if still.warning else ()
            moment = export_moment(connection)
            tables = Tables(connection, self._database.shown)
            ids = self._selected(experiment_names(connection, tables), selection)
            limited = ids if selection.experiments else None
            reading = _Reading(connection, tables, limited, progress)
            own = {
                EXPERIMENTS.name: reading.by_key(EXPERIMENT_TABLE, lambda: ids),
                RUNS.name: reading.runs(self._database, moment, base),
                MODELS.name: reading.by_key(MODEL_TABLE, lambda: model_names(connection, tables, limited)),
            }
            for kind in leading_kinds():
                if selection.means(kind) and kind.name in TABLES:
                    yield from own.get(kind.name) or reading.stream(TABLES[kind.name])
            yield from skipped(connection, tables, selection, limited)
            yield from tables.oddities.skipped()
            self._warnings += tables.oddities.notices()
            if limited is None:
                self._warnings += hidden_orphans(connection, tables)
            yield from self._damage(still.problems())

    def _damage(self, problems: list[str]) -> Iterator[Skipped]:
        if problems:
            what = "; ".join(problems)
            reason = f"{self._database.shown} is damaged, and what was read of it may be wrong or incomplete: {what}"
            yield Skipped(kind="database", id="*", reason=reason)

    def _selected(self, names: dict[int, str], selection: Selection) -> list[int]:
        if not selection.experiments:
            return list(names)
        if unknown := set(selection.experiments).difference(names.values()):
            raise UsageError(
                f"{self._database.shown} has no experiment {', '.join(map(repr, sorted(unknown)))}",
                hint="the names are case-sensitive; deleted experiments count too",
            )
        return [experiment_id for experiment_id, name in names.items() if name in selection.experiments]

    def warnings(self) -> tuple[str, ...]:
        """How it was read, and what is saved in another form than the database has it."""
        return self._warnings

    def close(self) -> None:
        """See `Source.close`: nothing is kept open between reads."""


@dataclass(frozen=True)
class _Reading:
    """One read of a database.

    Args:
        connection: in its transaction.
        tables: of that database.
        experiments: ids; only what belongs to these is read. None: everything.
        progress: told how far it is.
    """

    connection: Connection
    tables: Tables
    experiments: Sequence[int] | None
    progress: Progress

    def by_key(self, table: KindTable[Any], keys: Callable[[], Sequence[Any]]) -> Iterator[SourceItem]:
        """The records of a kind with some keys, in their order."""
        many = table.kind.counted_as
        self.progress.phase(f"reading {many}")
        asked = keys()
        self.progress.expect(many, len(asked))
        for record in Reader(self.connection, self.tables, table).by_key(asked):
            yield record
            self.progress.advance(many)

    def stream(self, table: KindTable[Any]) -> Iterator[SourceItem]:
        """The records of a kind that belong to the experiments, in the kind's order."""
        found = chain.from_iterable(Reader(self.connection, self.tables, table).stream(self.experiments))
        if self.experiments is None or not table.kind.experiments:
            return found
        meant = {str(number) for number in self.experiments}
        return (within(table.kind, record, meant) for record in found)

    def runs(self, database: Database, moment: str, base: Base | None) -> Iterator[SourceItem]:
        """Runs with their histories, over further connections to the same moment where that is worth it."""
        self.progress.phase("reading runs")
        reader = RunReader(self.connection, self.tables)
        count = reader.count(self.experiments)
        self.progress.expect("runs", count)
        worth_it = count > BATCH and base is None  # which is read in order
        with (
            lanes_at(moment if worth_it else "", database) as lanes,
            closing(self._with_histories(lanes, reader.stream(self.experiments), base)) as found,
        ):
            for batch in found:
                yield from batch.records
                self.progress.advance("metric points", batch.points)
                self.progress.advance("runs", batch.runs)

    def _with_histories(
        self, lanes: Lanes | None, runs: Iterator[list[Run]], base: Base | None
    ) -> Generator[HistoryBatch, None, None]:
        if lanes is not None:
            yield from read_in_parallel(self.connection, lanes, self.tables, runs)
            return
        found = chain.from_iterable(read_histories(self.connection, self.tables, some, base) for some in runs)
        if self.connection.dialect.name == SQLITE:
            yield from found
        else:
            yield from read_ahead(found, depth=2)  # a server works while we write


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
