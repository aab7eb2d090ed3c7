"""Reads a store from its database: one transaction, streamed, without `mlflow`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import cached_property, partial
from itertools import chain
from typing import Any

from sqlalchemy.engine import Connection

from mlmeta.errors import UsageError
from mlmeta.parallel import read_ahead
from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS, HISTORIES, KINDS, MODELS, RUNS, Kind, Run, Selection, Skipped
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceInfo, SourceItem
from mlmeta.stores.sql.database import SQLITE, parse, reading_still
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.histories import Records, read_histories
from mlmeta.stores.sql.names import experiment_names, model_names
from mlmeta.stores.sql.parallel_reads import Lanes, export_moment, lanes_at, read_in_parallel
from mlmeta.stores.sql.queries import BATCH
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.runs import RunReader
from mlmeta.stores.sql.skipped import hidden_orphans, skipped
from mlmeta.stores.sql.tables import EXPERIMENT_TABLE, MODEL_TABLE, TABLES


class SqlSource:
    """An MLflow store, read from its database. Nothing is ever created, migrated or locked against writers.

    Args:
        uri: ``sqlite:///…``, ``postgresql://…`` or ``mysql://…``, as MLflow takes it.

    Raises:
        UsageError: the URI is off, or its driver is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._database = parse(uri)
        self._warning = ""
        self._notices: tuple[str, ...] = ()

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
            self._warning = still.warning
            moment = export_moment(connection)
            tables = Tables(connection, self._database.shown)
            names = experiment_names(connection, tables)
            ids = self._selected(names, selection)
            limited = ids if selection.experiments else None
            own: dict[str, Callable[[], Iterator[SourceItem]]] = {
                EXPERIMENTS.name: lambda: _experiments(connection, tables, ids, progress),
                RUNS.name: lambda: self._runs(connection, moment, tables, limited, progress, base),
                MODELS.name: lambda: _models(connection, tables, limited, progress),
            }
            for kind in KINDS.values():
                if kind.follows is None and (selection.models if kind.in_registry else selection.runs):
                    read = own.get(kind.name) or partial(_stream, connection, tables, kind, limited)
                    yield from read()
            yield from skipped(connection, tables, selection, limited)
            yield from tables.oddities.skipped()
            hidden = hidden_orphans(connection, tables) if limited is None else ()
            self._notices = (*tables.oddities.notices(), *hidden)
            yield from self._damage(still.problems())

    def _damage(self, problems: list[str]) -> Iterator[Skipped]:
        if problems:
            what = "; ".join(problems)
            reason = f"{self._database.shown} is damaged, and what was read of it may be wrong or incomplete: {what}"
            yield Skipped(kind="database", id="*", reason=reason)

    def _runs(
        self,
        connection: Connection,
        moment: str,
        tables: Tables,
        ids: list[int] | None,
        progress: Progress,
        base: Base | None,
    ) -> Iterator[SourceItem]:
        progress.phase("reading runs")
        reader = RunReader(connection, tables)
        count = reader.count(ids)
        progress.expect("runs", count)
        batches = reader.stream(ids)
        worth_it = count > BATCH and base is None  # which is read in order
        with (
            lanes_at(moment if worth_it else "", self._database) as lanes,
            closing(_with_histories(connection, lanes, tables, batches, base)) as found,
        ):
            for records in found:
                yield from records
                points = sum(record.size for record in records if isinstance(record, HISTORIES))
                progress.advance("metric points", points)
                progress.advance("runs", sum(isinstance(record, Run) for record in records))

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
        return (*((self._warning,) if self._warning else ()), *self._notices)

    def close(self) -> None:
        """Nothing is kept open between reads."""


def _stream(
    connection: Connection, tables: Tables, kind: Kind[Any], experiments: list[int] | None
) -> Iterator[SourceItem]:
    """All records of a kind."""
    return chain.from_iterable(Reader(connection, tables, TABLES[kind.name]).stream(experiments))


def _experiments(connection: Connection, tables: Tables, ids: list[int], progress: Progress) -> Iterator[SourceItem]:
    progress.phase("reading experiments")
    progress.expect("experiments", len(ids))
    for experiment in Reader(connection, tables, EXPERIMENT_TABLE).by_key(ids):
        yield experiment
        progress.advance("experiments")


def _with_histories(
    connection: Connection, lanes: Lanes | None, tables: Tables, batches: Iterator[list[Run]], base: Base | None
) -> Generator[Records, None, None]:
    if lanes is not None:
        yield from read_in_parallel(connection, lanes, tables, batches)
        return
    found = chain.from_iterable(read_histories(connection, tables, runs, base) for runs in batches)
    if connection.dialect.name == SQLITE:
        yield from found
    else:
        yield from read_ahead(found, depth=2)  # a server works while we write


def _models(connection: Connection, tables: Tables, ids: list[int] | None, progress: Progress) -> Iterator[SourceItem]:
    progress.phase("reading models")
    names = model_names(connection, tables, ids)
    progress.expect("models", len(names))
    for model in Reader(connection, tables, MODEL_TABLE).by_key(names):
        yield model
        progress.advance("models")
