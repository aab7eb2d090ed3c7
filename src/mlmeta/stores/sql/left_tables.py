"""The tables of a database that no record models: those that are saved as rows, and those that are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.errors import UsageError
from mlmeta.schema.rows import SEED_WORKSPACE, is_known, table_order
from mlmeta.schema.words import amount
from mlmeta.stores.sql.database import SQLITE
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.known_tables import (
    AUTH,
    AUTH_VERSION,
    NEVER,
    OWN_COLUMNS,
    PASSING,
    RECORDS,
    USERS,
)
from mlmeta.stores.sql.tables import COLUMNS, EXPERIMENTS_OF_DATASETS

_EXPERIMENT = "experiment_id"
_ALL = sa.true()
_UNREADABLE = """
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
AND relkind IN ('r', 'p') AND NOT has_table_privilege(oid, 'SELECT')
"""


def why_no_rows(name: str) -> str:
    """Why no snapshot has a table's rows as they are, and none are ever written: in words that follow "it is".

    Empty: there may be some.
    """
    if name in NEVER:
        return NEVER[name]
    own = {*COLUMNS, *RECORDS, *AUTH} - {EXPERIMENTS_OF_DATASETS.name}  # others have links there as well
    return "a table of records that have a form of their own" if name in own else ""


class LeftTables:
    """The tables that no record models.

    Args:
        connection: in a transaction.
        tables: of that database.
        experiments: ids; only rows that hang on these are meant. None: all rows.
        workspaces: names; where experiments are limited, rows of these are meant as well.
        named: tables that are meant, though nothing ties them to MLflow's.

    Raises:
        UsageError: a table that is named is not there, or never saved.
    """

    def __init__(
        self,
        connection: Connection,
        tables: Tables,
        experiments: Sequence[int] | None,
        workspaces: Sequence[str] = (),
        named: Collection[str] = (),
    ) -> None:
        self.connection = connection
        """To the database."""
        self._tables = tables
        self._experiments = experiments
        self._workspaces = workspaces
        self._named = frozenset(named)
        self._require_named()
        modelled = {*COLUMNS, *NEVER} - {EXPERIMENTS_OF_DATASETS.name}  # others have links there as well
        candidates = {name for name in tables.names - modelled if not name.startswith(PASSING)}
        mlflows = self._mlflows(candidates)
        self.saved = sorted(mlflows - {*RECORDS, *AUTH} | self._named, key=table_order)
        """Tables that are saved as rows, in order."""
        self.others = sorted(candidates - {*self.saved} - (AUTH if self._has_auth else frozenset()))
        """Tables that are somebody else's, by all that can be told."""

    def _require_named(self) -> None:
        for name in sorted(self._named):
            if name not in self._tables:
                raise UsageError(f"the database has no table {name!r}", hint="names are case-sensitive")
            if why := why_no_rows(name):
                raise UsageError(f"the table {name!r} is not saved as rows: it is {why}", hint="leave it out")

    @cached_property
    def _has_auth(self) -> bool:
        """Whether basic-auth has its tables here; before MLflow 3.6, no table says so."""
        if AUTH_VERSION in self._tables:
            return True
        return USERS in self._tables and {"password_hash", "is_admin"} <= {*self._tables[USERS].c.keys()}

    def _mlflows(self, candidates: set[str]) -> set[str]:
        """Tables of MLflow, those of versions to come as well."""
        if self.connection.dialect.name == SQLITE:  # a file is nobody else's
            return candidates
        mlflows = {*COLUMNS, *NEVER, *filter(is_known, candidates)}
        mlflows |= AUTH if self._has_auth else frozenset()
        unknown = candidates - mlflows - AUTH
        while new := {name for name in unknown if self._is_mlflows(name, mlflows)}:
            mlflows |= new
            unknown -= new
        return mlflows & candidates

    def _is_mlflows(self, name: str, mlflows: set[str]) -> bool:
        """Whether a table that is not known hangs on MLflow's, or is made like one."""
        columns = self._tables[name].c.keys()
        return not OWN_COLUMNS.isdisjoint(columns) or not mlflows.isdisjoint(self._tables.parents(name))

    @cached_property
    def closed(self) -> set[str]:
        """Tables that this user may not read: asking for their rows would end the transaction."""
        if self.connection.dialect.name != "postgresql":
            return set()
        there = self.connection.exec_driver_sql(_UNREADABLE).scalars()
        return set(there) & {*self.saved}

    @cached_property
    def counts(self) -> dict[str, int]:
        """The rows of each table that has any that are meant, asked for at once."""
        meant = {name: self.meant(name) for name in self.saved if name not in self.closed}
        return self._counted({name: condition for name, condition in meant.items() if condition is not None})

    def _counted(self, conditions: Mapping[str, ColumnElement[bool]]) -> dict[str, int]:
        """How many rows meet the condition of their table, where there are any."""
        if not conditions:
            return {}
        rows = (
            sa.select(sa.func.count()).select_from(sa.table(name) if where is _ALL else self._tables[name]).where(where)
            for name, where in conditions.items()
        )
        found = self.connection.execute(sa.select(*(count.scalar_subquery() for count in rows))).one()
        return {name: count for name, count in zip(conditions, found, strict=True) if count}

    def meant(self, name: str) -> ColumnElement[bool] | None:
        """The condition for the rows of a table that are meant; None: it has none that belong to an experiment."""
        if self._experiments is not None:
            found = self._of_experiments(name, frozenset())
            return found if found is None or name != "workspaces" else sa.and_(found, self._but_the_seed())
        return self._any(name)

    def _any(self, name: str) -> ColumnElement[bool]:
        """The condition for the rows of a table that no record tells."""
        partly = {"workspaces": self._but_the_seed, EXPERIMENTS_OF_DATASETS.name: self._links}
        return partly[name]() if name in partly else _ALL

    def _links(self) -> ColumnElement[bool]:
        """The links that no record tells."""
        columns = self._tables[EXPERIMENTS_OF_DATASETS.name].c
        return sa.not_(sa.and_(*(columns[name] == value for name, value in EXPERIMENTS_OF_DATASETS.types.items())))

    def _but_the_seed(self) -> ColumnElement[bool]:
        """Workspaces, without the one that is in every store."""
        columns = self._tables["workspaces"].c
        return sa.not_(sa.and_(*(column.is_not_distinct_from(SEED_WORKSPACE.get(column.name)) for column in columns)))

    def _of_experiments(self, name: str, passed: frozenset[str]) -> ColumnElement[bool] | None:
        """Rows of the experiments, or that hang on such rows by a foreign key, or that lead from their traces."""
        columns = self._tables[name].c
        if name == EXPERIMENTS_OF_DATASETS.name:
            return self._of_traces()
        workspace = {"workspaces": "name"}.get(name, "workspace")
        if self._workspaces and workspace in columns:
            return columns[workspace].in_(self._workspaces)
        if name == "workspaces" and self._tables.has_workspaces("experiments"):
            experiments = self._tables["experiments"].c
            theirs = sa.select(experiments.workspace).where(experiments.experiment_id.in_(self._experiments or ()))
            return columns.name.in_(theirs)
        if _EXPERIMENT in columns:
            return columns[_EXPERIMENT].in_(self._experiments or ())
        for own, parent, referred in self._tables.foreign_keys(name):
            if parent in {name, *passed} or parent not in self._tables:
                continue
            condition = self._of_experiments(parent, passed | {name})
            if condition is not None:
                owner = sa.select(*(self._tables[parent].c[column] for column in referred)).where(condition)
                key = sa.tuple_(*(columns[column] for column in own)) if len(own) > 1 else columns[own[0]]
                return key.in_(owner)
        return None

    def _of_traces(self) -> ColumnElement[bool] | None:
        """Links that lead from traces of the experiments."""
        if "trace_info" not in self._tables:
            return None
        columns = self._tables[EXPERIMENTS_OF_DATASETS.name].c
        traces = self._tables["trace_info"].c
        theirs = sa.select(traces.request_id).where(traces.experiment_id.in_(self._experiments or ()))
        return sa.and_(columns.source_type == "trace", columns.source_id.in_(theirs))

    def notices(self, *, with_auth: bool) -> Iterator[str]:
        """What a person should know of tables that are not saved, though nothing is lost that was asked for.

        Args:
            with_auth: whether users and permissions are saved.
        """
        if self._has_auth and not with_auth:
            yield (
                "the database has users and permissions of basic-auth, which are saved on request only: "
                "--auth-uri same saves them, password hashes included"
            )
        if self.others:
            yield (
                f"not MLflow's by all that can be told, and not saved: {amount(len(self.others), 'tables')} of the "
                f"database ({', '.join(self.others)}); --table NAME saves one"
            )
        unlinked = [name for name in self.saved if name not in self.closed and self.meant(name) is None]
        rest = {name: self._any(name) for name in unlinked}
        if left := self._counted(rest):
            rows = ", ".join(f"{count} in {name}" for name, count in left.items())
            yield f"rows that belong to no experiment were not saved: {rows}"
