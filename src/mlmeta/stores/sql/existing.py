"""What the target has already."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import chain
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import Dataset, Experiment, History, Record, RegisteredModel, Run
from mlmeta.snapshot.reader import Led, TraceLines
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.histories import read_histories
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.parallel_reads import Lanes, read_in_parallel
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.row_target import RowTarget
from mlmeta.stores.sql.runs import Leftover, Link, RunReader, leftovers
from mlmeta.stores.sql.schema import blank_tables, makes_workspaces
from mlmeta.stores.sql.spans import SpanReader
from mlmeta.stores.sql.sqlite import in_memory
from mlmeta.stores.sql.tables import (
    COLUMNS,
    DATASET_RECORD_TABLE,
    DATASET_TABLE,
    EXPERIMENT_TABLE,
    EXPERIMENTS_OF_DATASETS,
    MODEL_TABLE,
    RUN_TABLE,
    WORKSPACE,
    workspace_of,
)
from mlmeta.stores.sql.trace_tables import TRACE_TABLE

DEFAULT_ID = 0
DEFAULT_NAME = "Default"

R = TypeVar("R", bound=Record)

_CONTENT = tuple(column for column in DATASET_TABLE.fields if column.name not in {"name", "digest"})


def experiment_number(experiment_id: str) -> int | None:
    """An experiment's id as databases have it; None for one that none has, such as ``01``."""
    number = int(experiment_id) if experiment_id.isdecimal() else None
    return number if str(number) == experiment_id else None


def dataset_content(dataset: Dataset) -> bytes:
    """A fingerprint of all that a dataset is, but its name and digest: a profile may have 16 MiB."""
    return _fingerprint(getattr(dataset, column.field) for column in _CONTENT)


def _fingerprint(content: Iterable[str | None]) -> bytes:
    text = json.dumps([value or "" for value in content])
    return hashlib.sha256(text.encode()).digest()


@contextlib.contextmanager
def no_rows() -> Iterator[Connection]:
    """A connection to MLflow's tables without a row, in memory: what a target has where there is no store yet."""
    with in_memory() as connection:
        absent = set() if makes_workspaces() else {WORKSPACE.name}
        for table, columns in COLUMNS.items():
            made = (json.dumps(column) for column in columns if column not in absent)
            connection.exec_driver_sql(f"CREATE TABLE {table} ({', '.join(made)})")
        yield connection


class ExistingRows:
    """Looks things up in a target database by id or name.

    Args:
        connection: in a transaction; to `no_rows` for a database that holds no store yet.
        shown: the database's address, for errors.
        lanes: further connections that see the same moment; None: there is just the one.
        settled: records that an earlier look found to have all that a snapshot has, as a comparison names them.
    """

    def __init__(
        self,
        connection: Connection,
        shown: str,
        lanes: Lanes | None = None,
        settled: Set[tuple[str, str]] = frozenset(),
    ) -> None:
        self.settled = settled
        self._connection = connection
        self._lanes = lanes
        self._tables = tables = Tables(connection, shown)
        columns = tables.columns("experiments", "experiment_id", "name", WORKSPACE.name)
        self.experiments: dict[int, tuple[str, str | None]] = {
            row[0]: (row[1], workspace_of(row[2])) for row in connection.execute(sa.select(*columns))
        }
        """Names and workspaces by id."""
        self.runs = int(connection.execute(sa.select(sa.func.count()).select_from(tables["runs"])).scalar_one())
        self.has_inputs = self._has_rows("inputs")
        self.has_traces = self._has_rows(TRACE_TABLE.name)
        self._has_datasets = self._has_rows("datasets")
        self._datasets: dict[int, dict[tuple[str, str], str]] = {}

    @contextlib.contextmanager
    def row_target(self) -> Iterator[RowTarget]:
        """The tables that no record models; where there is no store yet, those that MLflow will make."""
        if self._tables.revision is not None:
            yield RowTarget(self._connection, self._tables)
            return
        with blank_tables() as connection:
            yield RowTarget(connection, Tables(connection, "MLflow's tables"))

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def has(self, table: KindTable[Any]) -> bool:
        """Whether the target has a table at all: an older MLflow may not."""
        return table.name in self._tables

    def has_workspaces(self) -> bool:
        """Whether the target can hold what is in other workspaces than the default one: MLflow before 3.10 can't."""
        return self._tables.has_workspaces(EXPERIMENT_TABLE.name)

    def records(self, table: KindTable[R], keys: Iterable[Any]) -> dict[str, R]:
        """Those of these records that exist, by key.

        Args:
            table: of their kind.
            keys: as the database has them.
        """
        return {table.kind.key(record): record for record in Reader(self._connection, self._tables, table).by_key(keys)}

    def models(self, workspace: str | None, names: Iterable[str]) -> dict[str, RegisteredModel]:
        """Those of these registered models of a workspace that exist, by name."""
        if workspace is not None and not self.has_workspaces():
            return {}
        reader = Reader(self._connection, self._tables, MODEL_TABLE, (workspace,))
        return {model.name: model for model in reader.by_key(names)}

    def model_names(self, workspace: str | None, names: Sequence[str]) -> set[str]:
        """The names in a workspace that the database takes for one of these. At most a batch of them."""
        if not self.has(MODEL_TABLE):
            return set()
        column = self._tables[MODEL_TABLE.name].c.name
        inside = self._tables.within(MODEL_TABLE.name, (workspace,))
        return set(self._connection.execute(sa.select(column).where(column.in_(names), inside)).scalars())

    def experiment(self, number: int) -> Experiment | None:
        """The experiment with this id."""
        found = self.records(EXPERIMENT_TABLE, [number]) if number in self.experiments else {}
        return found.get(str(number))

    def keys(self, table: KindTable[Any], keys: Sequence[str]) -> set[str]:
        """The keys that the database takes for one of these. At most a batch of them."""
        if not self.has(table):
            return set()
        column = self._tables[table.name].c[table.columns[0].name]
        return set(self._connection.execute(sa.select(column).where(column.in_(keys))).scalars())

    def runs_with_histories(self, ids: Iterable[Sequence[str]]) -> Iterator[Run | History]:
        """Those of these runs that exist, in this order, each followed by its histories.

        Args:
            ids: in batches of at most `BATCH`; taken by another thread, and ahead, where there are lanes.
        """
        connection, tables = self._connection, self._tables
        found = (list(RunReader(connection, tables).by_key(batch)) for batch in ids)
        if self._lanes is not None:
            yield from chain.from_iterable(read_in_parallel(connection, self._lanes, tables, found))
            return
        for runs in found:
            yield from chain.from_iterable(read_histories(connection, tables, runs))

    def traces(self, ids: Sequence[str]) -> Iterator[TraceLines]:
        """Those of these traces that exist, each with its spans."""
        if self.has_traces and ids:
            found = Reader(self._connection, self._tables, TRACE_TABLE).by_key(ids)
            for trace, lines in SpanReader(self._connection, self._tables).of(found):
                yield Led(trace, tuple(lines))

    def experiments_of_runs(self, ids: Iterable[str]) -> dict[str, int]:
        """The experiment ids of those of these runs that exist, by run id."""
        found: dict[str, int] = {}
        runs = self._tables[RUN_TABLE.name].c
        for batch in batches(ids):
            query = sa.select(runs.run_uuid, runs.experiment_id).where(runs.run_uuid.in_(batch))
            found.update((row[0], row[1]) for row in self._connection.execute(query))
        return found

    def records_of_inputs(self, inputs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Ids of the records of evaluation datasets that have some inputs, by dataset and the hash of the inputs.

        Args:
            inputs: datasets and hashes. At most a batch of them.
        """
        if DATASET_RECORD_TABLE.name not in self._tables:
            return {}
        columns = self._tables[DATASET_RECORD_TABLE.name].c
        query = sa.select(columns.dataset_id, columns.input_hash, columns.dataset_record_id)
        datasets, hashes = zip(*inputs, strict=True)
        query = query.where(columns.dataset_id.in_(set(datasets)), columns.input_hash.in_(set(hashes)))
        return {(row[0], row[1]): row[2] for row in self._connection.execute(query)}

    def leftovers(self, ids: Sequence[str]) -> dict[Link, Leftover]:
        """What is left of the inputs of these runs, which are gone. At most a batch of them."""
        return leftovers(self._connection, self._tables, ids) if ids and self.has_inputs else {}

    def table(self, name: str) -> sa.TableClause:
        """A table of the target, with the columns that it has there."""
        return self._tables[name]

    def version(self, model: RegisteredModel, number: int, table: str) -> sa.ColumnElement[bool]:
        """The condition for the rows of a model's version in a table of the registry."""
        return sa.and_(self._tables[table].c.version == number, self.of_model(model, table))

    def of_model(self, model: RegisteredModel, table: str) -> sa.ColumnElement[bool]:
        """The condition for the rows of a model in a table of the registry."""
        return sa.and_(self._tables[table].c.name == model.name, self._tables.within(table, (model.workspace,)))

    def datasets(self, experiment_id: int) -> dict[tuple[str, str], str]:
        """Ids of the datasets of an experiment, by name and digest; who writes more of them adds them here."""
        if experiment_id not in self._datasets:
            self._datasets[experiment_id] = self._read_datasets(experiment_id) if self._has_datasets else {}
        return self._datasets[experiment_id]

    def _read_datasets(self, experiment_id: int) -> dict[tuple[str, str], str]:
        table = self._tables["datasets"].c
        query = sa.select(table.name, table.digest, table.dataset_uuid).where(table.experiment_id == experiment_id)
        return {(name, digest): found for name, digest, found in self._connection.execute(query)}

    def dataset_content(self, dataset_id: str) -> bytes | None:
        """The fingerprint of a dataset's content; None where there is no dataset of that id."""
        if not self._has_datasets:
            return None
        query = sa.select(*self._tables.columns("datasets", *(column.name for column in _CONTENT)))
        query = query.where(self._tables["datasets"].c.dataset_uuid == dataset_id)
        row = self._connection.execute(query).first()
        return _fingerprint(row) if row is not None else None

    def default_is_untouched(self) -> bool:
        """Whether the Default experiment is the placeholder that MLflow makes in every new database."""
        default = self.experiment(DEFAULT_ID)
        if default is None or default.name != DEFAULT_NAME or default.tags or default.lifecycle_stage != "active":
            return False
        if default.creation_time != default.last_update_time:
            return False
        owned = {"runs", "logged_models", "trace_info", "datasets", "scorers", "issues"} & self._tables.names
        return not (any(self._any_in_default(name) for name in sorted(owned)) or self._default_has_datasets())

    def _default_has_datasets(self) -> bool:
        links = EXPERIMENTS_OF_DATASETS
        if links.name not in self._tables:
            return False
        columns = self._tables[links.name].c
        linked = sa.and_(self._tables.of_links(links), columns[links.other] == str(DEFAULT_ID))
        return self._connection.execute(sa.select(sa.literal(1)).where(linked).limit(1)).first() is not None

    def _has_rows(self, name: str) -> bool:
        if name not in self._tables:
            return False
        query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
        return self._connection.execute(query).first() is not None

    def _any_in_default(self, name: str) -> bool:
        table = sa.table(name, sa.column("experiment_id"))
        query = sa.select(sa.literal(1)).select_from(table).where(table.c.experiment_id == DEFAULT_ID).limit(1)
        return self._connection.execute(query).first() is not None
