"""Reads a store from its database: one transaction, streamed, without `mlflow`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import UsageError
from mlmeta.parallel import read_ahead
from mlmeta.progress import Progress
from mlmeta.schema import (
    AUTH,
    DEFAULT_WORKSPACE,
    EXPERIMENTS,
    MODELS,
    ROWS,
    RUNS,
    SPANS,
    TRACES,
    Run,
    Selection,
    Skipped,
    leading_kinds,
    model_place,
)
from mlmeta.schema.kind import within
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceInfo, SourceItem, spans_elsewhere
from mlmeta.stores.sql.auth import auth_info, hide_parameters, read_auth
from mlmeta.stores.sql.database import SQLITE, Database, parse, reading_still
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.histories import HistoryBatch, read_histories
from mlmeta.stores.sql.left_tables import LeftTables
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.oddities import shown
from mlmeta.stores.sql.parallel_reads import Lanes, export_moment, lanes_at, read_in_parallel
from mlmeta.stores.sql.queries import BATCH, batches, grouped, rows_of
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.rows import RowReader, row_tables
from mlmeta.stores.sql.runs import RunReader
from mlmeta.stores.sql.skipped import hidden_orphans, skipped
from mlmeta.stores.sql.spans import TraceReader
from mlmeta.stores.sql.tables import (
    EXPERIMENT_TABLE,
    MODEL_TABLE,
    MODEL_VERSION_TABLE,
    TABLES,
    WORKSPACE,
    experiment_name,
    workspace_of,
)
from mlmeta.stores.sql.trace_tables import TRACE_TABLE

ModelPlace = tuple[str | None, str]
"""Workspace, as a record has it, and name of a registered model."""


class SqlSource:
    """An MLflow store, read from its database. Nothing is ever created, migrated or locked against writers.

    Args:
        uri: ``sqlite:///…``, ``postgresql://…`` or ``mysql://…``, as MLflow takes it.
        with_auth: whether basic-auth's tables are there as well, and meant.

    Raises:
        UsageError: the URI is not valid, or its driver is not installed.
    """

    def __init__(self, uri: str, *, with_auth: bool = False) -> None:
        self._database = parse(uri)
        self._with_auth = with_auth
        self._warnings: tuple[str, ...] = ()

    @cached_property
    def info(self) -> SourceInfo:
        """What it says of itself.

        Raises:
            ConnectionFailedError: the database can't be read, does not exist, or is not an MLflow store.
        """
        with self._database.reading() as connection:
            tables = Tables(connection, self._database.shown)
            auth = auth_info(connection, self._database.shown) if self._with_auth else None
        return SourceInfo(
            uri=self._database.shown,
            kind=self._database.kind,
            server_version=f"schema {tables.revision}" if tables.revision else None,
            point_in_time=True,
            schema="" if tables.schema == "public" else tables.schema or "",
            socket=self._database.socket,
            auth=auth,
        )

    def experiment_names(self) -> set[tuple[str | None, str]]:
        """See `Source.experiment_names`. It takes no time, so no copy is needed."""
        with self._database.reading() as connection:
            return {
                (one.workspace, one.name)
                for one in experiments_of(connection, Tables(connection, self._database.shown))
            }

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
            ids = self._selected(experiments_of(connection, tables), connection, tables, selection)
            limited = ids if selection.is_limited else None
            reading = _Reading(connection, tables, selection, limited, progress)
            own = {
                EXPERIMENTS.name: reading.by_key(EXPERIMENT_TABLE, lambda: ids),
                RUNS.name: reading.runs(self._database, moment, base),
                TRACES.name: reading.traces(spans=selection.means(SPANS)),
                MODELS.name: reading.models(),
            }
            workspaces = () if selection.experiments else selection.workspaces
            left = LeftTables(connection, tables, limited, workspaces, selection.tables)
            own[ROWS.name] = reading.rows(left)
            if self._with_auth:
                hide_parameters(connection)
                own[AUTH.name] = read_auth(connection, tables, progress)
            for kind in leading_kinds():
                if selection.means(kind) and kind.name in {*TABLES, *own}:
                    yield from own.get(kind.name) or reading.stream(TABLES[kind.name])
            yield from skipped(connection, tables, left, selection, limited)
            self._warnings += (*left.notices(with_auth=selection.auth), *reading.notices)
            yield from tables.oddities.skipped()
            self._warnings += tables.oddities.notices()
            if limited is None:
                self._warnings += hidden_orphans(connection, tables)
            self._warnings += spans_elsewhere(reading.elsewhere)
            yield from self._damage(still.problems())

    def _damage(self, problems: list[str]) -> Iterator[Skipped]:
        if problems:
            what = "; ".join(problems)
            reason = f"{self._database.shown} is damaged, and what was read of it may be wrong or incomplete: {what}"
            yield Skipped(kind="database", id="*", reason=reason)

    def _selected(
        self, found: Sequence[NamedExperiment], connection: Connection, tables: Tables, selection: Selection
    ) -> list[int]:
        """The ids of the experiments that are meant."""
        missing = set(selection.workspaces) - {one.workspace or DEFAULT_WORKSPACE for one in found}
        if missing and (missing := missing - other_workspaces(connection, tables)):
            raise UsageError(
                f"{self._database.shown} has no workspace {', '.join(map(repr, sorted(missing)))}",
                hint="workspaces came with MLflow 3.10; of an older store, all is in `default`",
            )
        inside = [one for one in found if selection.has_workspace(one.workspace)]
        if unknown := set(selection.experiments).difference(one.name for one in inside):
            raise UsageError(
                f"{self._database.shown} has no experiment {', '.join(map(repr, sorted(unknown)))}",
                hint="the names are case-sensitive; deleted experiments count too",
            )
        return [one.number for one in inside if selection.has_experiment(one.name)]

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
        selection: what is read.
        experiments: ids; only what belongs to these is read. None: everything.
        progress: told how far it is.
        notices: what a person should know of what was read.
    """

    connection: Connection
    tables: Tables
    selection: Selection
    experiments: Sequence[int] | None
    progress: Progress
    notices: list[str] = field(default_factory=list)
    elsewhere: Counter[str] = field(default_factory=Counter)
    """How many traces have their spans where."""

    def rows(self, left: LeftTables) -> Iterator[SourceItem]:
        """The rows of tables that no record models, table by table."""
        if not (names := [name for name in left.saved if name in left.counts]):
            return
        self.progress.phase("reading rows")
        self.progress.expect("rows", sum(left.counts[name] for name in names))
        reader = RowReader(self.connection, self.tables)
        for table in row_tables(self.tables, names).values():
            if table.guessed:
                columns = ", ".join(sorted(table.guessed))
                self.notices.append(f"{table.name}: {columns} may hold secrets, by the name, and was not saved")
            condition = left.meant(table.name)
            if condition is not None:
                yield from reader.stream(table, condition)
            self.progress.advance("rows", left.counts[table.name])

    def by_key(self, table: KindTable[Any], keys: Callable[[], Sequence[Any]]) -> Iterator[SourceItem]:
        """The records of a kind with some keys, in their order."""
        many = table.kind.counted_as
        self.progress.phase(f"reading {many}")
        asked = keys()
        self.progress.expect(many, len(asked))
        for record in Reader(self.connection, self.tables, table).by_key(asked):
            yield record
            self.progress.advance(many)

    def models(self) -> Iterator[SourceItem]:
        """The registered models that are meant, workspace after workspace."""
        self.progress.phase("reading models")
        wanted = None
        if self.selection.experiments and self.experiments is not None:
            wanted = models_from_runs_of(self.connection, self.tables, self.experiments)
        found = model_places(self.connection, self.tables, wanted)
        places = [place for place in found if self.selection.has_workspace(place[0])]
        self.progress.expect(MODELS.counted_as, len(places))
        for workspace, some in groupby(places, itemgetter(0)):
            reader = Reader(self.connection, self.tables, MODEL_TABLE, (workspace,))
            for record in reader.by_key(name for _, name in some):
                yield record
                self.progress.advance(MODELS.counted_as)

    def stream(self, table: KindTable[Any]) -> Iterator[SourceItem]:
        """The records of a kind that belong to the experiments, in the kind's order."""
        is_limited = self.selection.experiments or table.kind.experiment is not None
        reader = Reader(self.connection, self.tables, table, self.selection.meant_workspaces)
        found = chain.from_iterable(reader.stream(self.experiments if is_limited else None))
        if self.experiments is None or not table.kind.experiments:
            return found
        meant = {str(number) for number in self.experiments}
        return (within(table.kind, record, meant) for record in found)

    def traces(self, *, spans: bool) -> Iterator[SourceItem]:
        """Traces, each followed by its spans where these are wanted."""
        reader = TraceReader(self.connection, self.tables)
        if TRACE_TABLE.name not in self.tables:
            return
        self.progress.phase("reading traces")
        self.progress.expect(TRACES.counted_as, reader.count(self.experiments))
        for trace, lines in reader.read(self.experiments, spans=spans):
            self.elsewhere[trace.spans_location] += 1
            yield trace
            yield from lines
            self.progress.advance(TRACES.counted_as)
            self.progress.advance(SPANS.counted_as, len(lines))

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
                self.progress.advance("runs", batch.runs)
                self.progress.advance("metric points", batch.points)

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


class NamedExperiment(NamedTuple):
    """An experiment, as its row names it.

    Args:
        number: its id.
        name: the only one of its kind within its workspace.
        workspace: as a record has it.
    """

    number: int
    name: str
    workspace: str | None


def experiments_of(connection: Connection, tables: Tables) -> list[NamedExperiment]:
    """All experiments, in the order of their ids."""
    table, columns = tables["experiments"], tables.columns("experiments", "experiment_id", "name", WORKSPACE.name)
    rows = rows_of(connection, sa.select(*columns).order_by(table.c.experiment_id))
    return [NamedExperiment(row[0], experiment_name(row[0], row[1]), workspace_of(row[2])) for row in rows]


def other_workspaces(connection: Connection, tables: Tables) -> set[str]:
    """Workspaces of which there may be no experiment: MLflow's list of them, and those of registered models."""
    lists = {"workspaces": "name", "registered_models": WORKSPACE.name}
    queries = [
        sa.select(tables[table].c[column]).distinct()
        for table, column in lists.items()
        if table in tables and column in tables[table].c
    ]
    return {DEFAULT_WORKSPACE, *(str(name) for query in queries for (name,) in rows_of(connection, query))}


def model_places(connection: Connection, tables: Tables, wanted: Set[ModelPlace] | None) -> list[ModelPlace]:
    """Workspaces and names of registered models, in the order of a snapshot.

    Args:
        connection: in a transaction.
        tables: of that database.
        wanted: those that are meant; None: all.
    """
    if MODEL_TABLE.name not in tables:
        return []
    query = sa.select(*tables.columns(MODEL_TABLE.name, WORKSPACE.name, "name"))
    found = [(workspace_of(workspace), name) for workspace, name in rows_of(connection, query)]
    for odd in (name for _, name in found if not isinstance(name, str)):
        tables.oddities.lost(MODELS.one, shown(odd), "its name is not text, and it was not saved")
    sound = {place for place in found if isinstance(place[1], str)}
    return sorted(sound if wanted is None else sound & wanted, key=lambda place: model_place(*place))


def models_from_runs_of(connection: Connection, tables: Tables, experiments: Sequence[int]) -> set[ModelPlace]:
    """Models with a version from a run of these experiments.

    Not joined: MySQL refuses that for columns of two collations, and these have no foreign key.
    """
    if MODEL_VERSION_TABLE.name not in tables:
        return set()
    runs, versions = tables["runs"].c, tables["model_versions"].c
    query = sa.select(*tables.columns(MODEL_VERSION_TABLE.name, "run_id", WORKSPACE.name, "name"))
    query = query.where(versions.run_id.is_not(None), tables.shown(MODEL_VERSION_TABLE))
    places = grouped(rows_of(connection, query))
    found: set[ModelPlace] = set()
    for batch in batches(run_id for run_id in places if isinstance(run_id, str)):
        there = sa.select(runs.run_uuid).where(runs.run_uuid.in_(batch), runs.experiment_id.in_(experiments))
        for (run_id,) in rows_of(connection, there):
            found.update((workspace_of(workspace), name) for workspace, name in places.get(run_id, ()))
    return found
