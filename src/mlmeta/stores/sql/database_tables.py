"""MLflow's tables as a database has them: older versions lack some columns and tables."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence, Set
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.errors import IncompatibleStoreError
from mlmeta.schema import DEFAULT_WORKSPACE
from mlmeta.stores.sql.mapping import KindTable, Links, Pairs, Table
from mlmeta.stores.sql.oddities import Oddities
from mlmeta.stores.sql.tables import WORKSPACE

_POSTGRESQL_COLUMNS = """
SELECT relname, attname, nspname FROM pg_catalog.pg_class
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid
WHERE pg_catalog.pg_table_is_visible(pg_class.oid) AND nspname NOT IN ('pg_catalog', 'information_schema')
AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum
"""
"""Tables in any schema of `search_path`, the first of each name: those that a statement without a schema means."""

_MARIADB_JSON = """
SELECT table_name, check_clause FROM information_schema.check_constraints
WHERE constraint_schema = database() AND check_clause LIKE 'json\\_valid(%%'
"""

_REQUIRED = {"experiments", "runs", "metrics", "params", "tags"}
"""What every revision of the schema has: 1.0 came without ``latest_metrics``, the ones before without alembic."""

_OTHERWISE: dict[tuple[str, str], ColumnElement[Any]] = {
    ("metrics", "step"): sa.cast(sa.literal_column("0"), sa.BigInteger),
    ("metrics", "is_nan"): sa.literal_column("1") == sa.literal_column("0"),
}
"""What stands for columns that MLflow's first versions lack and that records are sorted by: NULL is not a number."""


_INT64 = 9.2e18
"""Where numbers begin that are not sure to fit into an integer of 64 bits."""


class Tables:
    """The tables of one database, as they are there.

    Args:
        connection: in a transaction.
        shown: the database's address without credentials, for errors.
        required: tables without which it is of no use.

    Raises:
        IncompatibleStoreError: it has not all of these.
    """

    def __init__(self, connection: Connection, shown: str, required: Set[str] = _REQUIRED) -> None:
        self._connection = connection
        self._inspector = sa.inspect(connection)
        self.schema: str | None = None
        """The PostgreSQL schema that the store is in; None for databases that have none."""
        self._columns: dict[str, list[str]] = {}
        if connection.dialect.name == "postgresql":
            self._look_up(connection)
        self.names = frozenset(self._columns or self._inspector.get_table_names())
        if missing := required - self.names:
            raise IncompatibleStoreError(
                f"{shown} holds no MLflow store: it has no table {', '.join(sorted(missing))}",
                hint="name the database of an MLflow server (1.0 or newer)",
            )
        self.oddities = Oddities()
        """What is odd in the store, as it is met."""
        self.read: Counter[str] = Counter()
        """How many rows of params, tags and latest metrics were read."""
        self._tables: dict[str, sa.TableClause] = {}
        self.revision = _revision(connection) if "alembic_version" in self.names else None

    def _look_up(self, connection: Connection) -> None:
        """The columns of each table: in one look, where SQLAlchemy takes one for each table, and each is a round trip.

        Not from `information_schema`: that hides what we may not read, and we would leave it out without a word.
        """
        for table, column, schema in connection.exec_driver_sql(_POSTGRESQL_COLUMNS):
            self._columns.setdefault(table, []).append(column)
            if table == "experiments":
                self.schema = schema

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> sa.TableClause:
        if name not in self._tables:  # looked up when it is needed: a server takes its time for each
            columns = self._columns.get(name) or [found["name"] for found in self._inspector.get_columns(name)]
            self._tables[name] = sa.table(name, *map(sa.column, columns))
        return self._tables[name]

    def parents(self, table: str) -> set[str]:
        """The tables that a table's rows hang on, by foreign keys."""
        return {parent for _, parent, _ in self.foreign_keys(table)}

    def foreign_keys(self, table: str) -> list[tuple[list[str], str, list[str]]]:
        """The foreign keys of a table: its columns, the table that they refer to, and the columns there."""
        found = self._inspector.get_foreign_keys(table)
        return [(key["constrained_columns"], str(key["referred_table"]), key["referred_columns"]) for key in found]

    def described(self, names: Sequence[str]) -> dict[str, tuple[list[Any], list[str]]]:
        """The columns of some tables as SQLAlchemy describes them, and the names of those of the primary key."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sa.exc.SAWarning)  # types that it does not know
            columns = self._inspector.get_multi_columns(filter_names=names)
            keys = self._inspector.get_multi_pk_constraint(filter_names=names)
        key_columns = {name: key["constrained_columns"] if key else () for (_, name), key in keys.items()}
        json = self._json_of_mariadb()
        for (_, name), described in columns.items():
            for column in described:
                if (name, column["name"]) in json:
                    column["type"] = sa.JSON()
        return {name: (list(found), list(key_columns.get(name, ()))) for (_, name), found in columns.items()}

    def _json_of_mariadb(self) -> set[tuple[str, str]]:
        """Tables and columns of JSON, which MariaDB calls texts with a condition."""
        if not getattr(self._connection.dialect, "is_mariadb", False):
            return set()
        found = self._connection.exec_driver_sql(_MARIADB_JSON)
        return {(table, clause.split("`")[1]) for table, clause in found if clause.count("`") == 2}

    def columns(self, table: str, *names: str) -> list[ColumnElement[Any]]:
        """Columns by name; NULL, or what stands for it, for one that this version of MLflow does not have yet."""
        found = self[table].c
        return [found[name] if name in found else self.column(table, name).label(name) for name in names]

    def column(self, table: str, name: str) -> ColumnElement[Any]:
        """One of `columns`, to sort or to compute with."""
        found = self[table].c
        return found[name] if name in found else _OTHERWISE.get((table, name), sa.null())

    def shown(self, table: Table | Pairs) -> ColumnElement[bool]:
        """The condition for rows that a server shows; one without a state counts, too."""
        if not isinstance(table, KindTable) or not table.hides:
            return sa.true()
        column, hidden = self[table.name].c[table.hides[0]], table.hides[1]
        return sa.or_(column.is_(None), column != hidden)

    def of_links(self, links: Links) -> ColumnElement[bool]:
        """The condition for the rows of a table of links that are meant."""
        columns = self[links.name].c
        return sa.and_(*(columns[name] == value for name, value in links.types.items()))

    def has_workspaces(self, table: str) -> bool:
        """Whether the rows of a table can be in several workspaces: MLflow before 3.10 has none."""
        return WORKSPACE.name in self[table].c

    def within(self, table: str, workspaces: Sequence[str | None]) -> ColumnElement[bool]:
        """The condition for rows that are in one of some workspaces, of a table that says it.

        Args:
            table: any.
            workspaces: as records have them; none: all.
        """
        if not workspaces or not self.has_workspaces(table):
            return sa.true()
        column, names = self[table].c[WORKSPACE.name], [workspace or DEFAULT_WORKSPACE for workspace in workspaces]
        return column == names[0] if len(names) == 1 else column.in_(names)


def _revision(connection: Connection) -> str | None:
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def among(column: ColumnElement[Any], values: Sequence[Any], dialect: str) -> ColumnElement[bool]:
    """The condition for rows that have one of some values; PostgreSQL takes them as one parameter: less work."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(None, list(values)))
    return column.in_(values)


def by_bytes(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """A text column to sort by, in code point order whatever the database's collation is."""
    if dialect == "postgresql":
        return column.collate("C")
    if dialect == "mysql":
        return sa.cast(column, sa.LargeBinary)
    return column


def whole(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """A column of integers to sort by, as SQLite may hold anything: fractions cut off, NULL for other types."""
    if dialect != "sqlite":
        return column
    kind = sa.func.typeof(column)
    return sa.case(
        (kind == "integer", column),
        (sa.and_(kind == "real", sa.func.abs(column) < _INT64), sa.cast(column, sa.Integer)),
    )
