"""MLflow's tables as a database has them: older versions lack some columns and tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.errors import IncompatibleStoreError

DEFAULT_WORKSPACE = "default"
"""The workspace of a server without workspaces (MLflow 3.10 on)."""

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
        inspector = sa.inspect(connection)
        self.names = frozenset(inspector.get_table_names())
        if missing := _REQUIRED - self.names:
            raise IncompatibleStoreError(
                f"{shown} holds no MLflow store: it has no table {', '.join(sorted(missing))}",
                hint="name the database of an MLflow server (1.0 or newer)",
            )
        self._inspector = inspector
        self._tables: dict[str, sa.TableClause] = {}
        self.revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> sa.TableClause:
        if name not in self._tables:  # looked up when it is needed: a server takes its time for each
            found = self._inspector.get_columns(name)
            self._tables[name] = sa.table(name, *(sa.column(column["name"]) for column in found))
        return self._tables[name]

    def columns(self, table: str, *names: str) -> list[ColumnElement[Any]]:
        """Columns by name; NULL for one that this version of MLflow does not have yet."""
        found = self[table].c
        return [found[name] if name in found else sa.null().label(name) for name in names]

    def in_default_workspace(self, table: str) -> ColumnElement[bool]:
        """The condition for rows that a server without workspaces shows."""
        found = self[table].c
        return found["workspace"] == DEFAULT_WORKSPACE if "workspace" in found else sa.true()


def by_bytes(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """A text column to sort by, in code point order whatever the database's collation is."""
    if dialect == "postgresql":
        return column.collate("C")
    if dialect == "mysql":
        return sa.cast(column, sa.LargeBinary)
    return column
