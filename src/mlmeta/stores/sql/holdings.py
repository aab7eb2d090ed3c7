"""What the target holds already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import InternalError
from mlmeta.schema import Dataset, Experiment, History, LoggedModel, RegisteredModel, Run
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.histories import read_histories
from mlmeta.stores.sql.inputs import Leftover, Link, leftovers
from mlmeta.stores.sql.parallel_reads import Lanes, read_in_parallel
from mlmeta.stores.sql.queries import batches
from mlmeta.stores.sql.reader import Reader
from mlmeta.stores.sql.runs import RunReader
from mlmeta.stores.sql.tables import DEFAULT_WORKSPACE, EXPERIMENT_TABLE, LOGGED_MODEL_TABLE, MODEL_TABLE

DEFAULT_ID = 0
DEFAULT_NAME = "Default"

_CONTENT = ("dataset_source_type", "dataset_source", "dataset_schema", "dataset_profile")


def experiment_number(experiment_id: str) -> int | None:
    """An experiment's id as databases have it; None for one that none has, such as ``01``."""
    number = int(experiment_id) if experiment_id.isdecimal() else None
    return number if str(number) == experiment_id else None


def dataset_content(dataset: Dataset) -> bytes:
    """A fingerprint of all that a dataset is, but its name and digest: a profile may have 16 MiB."""
    return _fingerprint((dataset.source_type, dataset.source, dataset.schema_, dataset.profile))


def _fingerprint(content: Iterable[str | None]) -> bytes:
    text = json.dumps([value or "" for value in content])
    return hashlib.sha256(text.encode()).digest()


class Holdings:
    """Looks things up in a target database by id or name. Without a connection the target is empty.

    Args:
        connection: in a transaction; None for a database that holds no store yet.
        shown: the database's address, for errors.
        lanes: further connections that see the same moment; None: there is just the one.
    """

    def __init__(self, connection: Connection | None, shown: str, lanes: Lanes | None = None) -> None:
        self._connection = connection
        self._lanes = lanes
        self._tables = Tables(connection, shown) if connection is not None else None
        self.experiments: dict[int, str] = {}
        """Names by id, of all workspaces: an id is taken whoever has it."""
        self.runs = 0
        self.has_inputs = self._has_datasets = False
        self._datasets: dict[int, dict[tuple[str, str], str]] = {}
        if connection is not None and self._tables is not None:
            table = self._tables["experiments"].c
            self.experiments = {
                row[0]: row[1] for row in connection.execute(sa.select(table.experiment_id, table.name))
            }
            query = sa.select(sa.func.count()).select_from(self._tables["runs"])
            self.runs = connection.execute(query).scalar_one()
            self.has_inputs = self._has_rows("inputs")
            self._has_datasets = self._has_rows("datasets")

    def experiment(self, experiment_id: int) -> Experiment | None:
        """The experiment with this id."""
        if self._connection is None or self._tables is None or experiment_id not in self.experiments:
            return None
        return next(Reader(self._connection, self._tables, EXPERIMENT_TABLE).by_key([experiment_id]), None)

    def runs_with_histories(self, ids: Iterable[Sequence[str]]) -> Iterator[Run | History]:
        """Those of these runs that exist, in this order, each followed by its histories.

        Args:
            ids: in batches of at most `BATCH`; taken by another thread, and ahead, where there are lanes.
        """
        if self._connection is None or self._tables is None:
            return
        connection, tables = self._connection, self._tables
        found = (self._runs(connection, tables, batch) for batch in ids)
        if self._lanes is not None:
            yield from chain.from_iterable(read_in_parallel(connection, self._lanes, tables, found))
            return
        for runs in found:
            yield from chain.from_iterable(read_histories(connection, tables, runs))

    @staticmethod
    def _runs(connection: Connection, tables: Tables, ids: Sequence[str]) -> list[Run]:
        return list(RunReader(connection, tables).by_key(ids))

    def existing_runs(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that are taken. At most a batch of them."""
        if self._connection is None or self._tables is None or not self.runs:
            return set()
        column = self._tables["runs"].c.run_uuid
        return set(self._connection.execute(sa.select(column).where(column.in_(ids))).scalars())

    def experiments_of_runs(self, ids: Iterable[str]) -> dict[str, int]:
        """The experiment ids of those of these runs that exist, by run id."""
        if self._connection is None or self._tables is None:
            return {}
        found: dict[str, int] = {}
        runs = self._tables["runs"].c
        for batch in batches(ids):
            query = sa.select(runs.run_uuid, runs.experiment_id).where(runs.run_uuid.in_(batch))
            found.update((row[0], row[1]) for row in self._connection.execute(query))
        return found

    def leftovers(self, ids: Sequence[str]) -> dict[Link, Leftover]:
        """What is left of the inputs of these runs, which are gone. At most a batch of them."""
        if self._connection is None or self._tables is None or not ids or not self.has_inputs:
            return {}
        return leftovers(self._connection, self._tables, ids)

    def logged_models(self, ids: Sequence[str]) -> dict[str, LoggedModel]:
        """Those of these logged models that exist, by id."""
        if self._connection is None or self._tables is None:
            return {}
        return {m.model_id: m for m in Reader(self._connection, self._tables, LOGGED_MODEL_TABLE).by_key(ids)}

    def models(self, names: Sequence[str]) -> dict[str, RegisteredModel]:
        """Those of these registered models that exist, by name."""
        if self._connection is None or self._tables is None or "registered_models" not in self._tables:
            return {}
        return {m.name: m for m in Reader(self._connection, self._tables, MODEL_TABLE).by_key(names)}

    def table(self, name: str) -> sa.TableClause:
        """A table of the target, with the columns that it has there.

        Raises:
            InternalError: the target holds no store.
        """
        if self._tables is None:
            raise InternalError(f"a target without a store has no table {name}")
        return self._tables[name]

    def version(self, name: str, number: int, table: str) -> sa.ColumnElement[bool]:
        """The condition for the rows of a model version in a table of the registry."""
        columns = self.table(table).c
        workspace = columns["workspace"] == DEFAULT_WORKSPACE if "workspace" in columns else sa.true()
        return sa.and_(columns.name == name, columns.version == number, workspace)

    def model_names(self, names: Sequence[str]) -> list[str]:
        """The names of registered models that the database takes for one of these."""
        if self._connection is None or self._tables is None or "registered_models" not in self._tables:
            return []
        name = self._tables["registered_models"].c.name
        return list(self._connection.execute(sa.select(name).where(name.in_(names))).scalars())

    def datasets(self, experiment_id: int) -> dict[tuple[str, str], str]:
        """Ids of the datasets of an experiment, by name and digest; who writes more of them adds them here."""
        if experiment_id not in self._datasets:
            self._datasets[experiment_id] = self._read_datasets(experiment_id)
        return self._datasets[experiment_id]

    def _read_datasets(self, experiment_id: int) -> dict[tuple[str, str], str]:
        if self._connection is None or self._tables is None or not self._has_datasets:
            return {}
        table = self._tables["datasets"].c
        query = sa.select(table.name, table.digest, table.dataset_uuid).where(table.experiment_id == experiment_id)
        return {(name, digest): found for name, digest, found in self._connection.execute(query)}

    def dataset_content(self, dataset_id: str) -> bytes | None:
        """The fingerprint of a dataset's content; None where there is no dataset of that id."""
        if self._connection is None or self._tables is None or not self._has_datasets:
            return None
        query = sa.select(*self._tables.columns("datasets", *_CONTENT))
        query = query.where(self._tables["datasets"].c.dataset_uuid == dataset_id)
        row = self._connection.execute(query).first()
        return _fingerprint(row) if row is not None else None

    def default_is_untouched(self) -> bool:
        """Whether the Default experiment is the placeholder that MLflow makes in every new database."""
        if self._connection is None or self._tables is None:
            return False
        default = self.experiment(DEFAULT_ID)
        if default is None or default.name != DEFAULT_NAME or default.tags or default.lifecycle_stage != "active":
            return False
        if default.creation_time != default.last_update_time:
            return False
        owned = {"runs", "logged_models", "trace_info", "datasets", "scorers", "issues"} & self._tables.names
        return not any(self._any_in_default(name) for name in sorted(owned))

    def _has_rows(self, name: str) -> bool:
        if self._connection is None or self._tables is None or name not in self._tables:
            return False
        query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
        return self._connection.execute(query).first() is not None

    def _any_in_default(self, name: str) -> bool:
        table = sa.table(name, sa.column("experiment_id"))
        query = sa.select(sa.literal(1)).select_from(table).where(table.c.experiment_id == DEFAULT_ID).limit(1)
        return self._connection is not None and self._connection.execute(query).first() is not None
