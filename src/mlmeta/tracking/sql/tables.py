"""MLflow's tables as a database has them: older versions lack some columns and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.errors import IncompatibleStoreError

DEFAULT_WORKSPACE = "default"
"""The workspace of a server without workspaces (MLflow 3.10 on)."""

_POSTGRESQL_COLUMNS = """
SELECT relname, attname FROM pg_catalog.pg_class JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum
"""
_REQUIRED = {"alembic_version", "experiments", "runs", "metrics", "latest_metrics", "params", "tags"}


class Tables:
    """The tables of one database, as they are there.

    Args:
        connection: in a transaction.
        shown: the database's address without credentials, for errors.

    Raises:
        IncompatibleStoreError: it holds no MLflow store.
    """

    def __init__(self, connection: Connection, shown: str) -> None:
        self._inspector = sa.inspect(connection)
        self._columns = _postgresql_columns(connection) if connection.dialect.name == "postgresql" else {}
        self.names = frozenset(self._columns or self._inspector.get_table_names())
        if missing := _REQUIRED - self.names:
            raise IncompatibleStoreError(
                f"{shown} holds no MLflow store: it has no table {', '.join(sorted(missing))}",
                hint="name the database of an MLflow server (1.0 or newer)",
            )
        self._tables: dict[str, sa.TableClause] = {}
        self.revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> sa.TableClause:
        if name not in self._tables:  # looked up when it is needed: a server takes its time for each
            columns = self._columns.get(name) or [found["name"] for found in self._inspector.get_columns(name)]
            self._tables[name] = sa.table(name, *map(sa.column, columns))
        return self._tables[name]

    def columns(self, table: str, *names: str) -> list[ColumnElement[Any]]:
        """Columns by name; NULL for one that this version of MLflow does not have yet."""
        found = self[table].c
        return [found[name] if name in found else sa.null().label(name) for name in names]

    def in_default_workspace(self, table: str) -> ColumnElement[bool]:
        """The condition for rows that a server without workspaces shows."""
        found = self[table].c
        return found["workspace"] == DEFAULT_WORKSPACE if "workspace" in found else sa.true()


def _postgresql_columns(connection: Connection) -> dict[str, list[str]]:
    """The columns of each table: in one look, where SQLAlchemy takes one for each table, and each is a round trip.

    Not from `information_schema`: that hides what we may not read, and we would leave it out without a word.
    """
    tables: dict[str, list[str]] = {}
    for table, column in connection.exec_driver_sql(_POSTGRESQL_COLUMNS):
        tables.setdefault(table, []).append(column)
    return tables


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
