"""Bulk inserts: rows are gathered by table and written together, parents before children."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from mlmeta.restorer.sql.rows import COLUMNS, Row

ROWS_AT_ONCE = 20_000
"""Rows that are held before they are written."""


ROWS_TO_COPY = 100
"""From so many rows on, PostgreSQL gets them by COPY (psycopg 3 only)."""


class Inserts:
    """Gathers rows for MLflow's tables and writes them.

    Args:
        connection: in a transaction that may write.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables = {name: _Table(connection, name) for name in COLUMNS if name in _definitions()}
        self._rows: dict[str, list[Row]] = {name: [] for name in self._tables}
        self._held = 0

    def add(self, table: str, rows: Iterable[Row]) -> None:
        """Gather rows with the columns of `COLUMNS`."""
        held = self._rows[table]
        before = len(held)
        held.extend(rows)
        self._held += len(held) - before
        if self._held >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write all rows that are held."""
        for name, table in self._tables.items():
            if rows := self._rows[name]:
                table.write(self._connection, rows)
                rows.clear()
        self._held = 0


class _Table:
    """The insert statement for one table.

    Of the columns we write, older versions of MLflow lack some: these are left out.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        definition = _definitions()[name]
        kept = [i for i, column in enumerate(COLUMNS[name]) if column in definition.c]
        self._pick = itemgetter(*kept) if len(kept) < len(COLUMNS[name]) else None
        quote = connection.dialect.identifier_preparer.quote
        columns = ", ".join(quote(COLUMNS[name][i]) for i in kept)
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        self._copy_sql = f"COPY {quote(name)} ({columns}) FROM STDIN"
        self._sql = f"INSERT INTO {quote(name)} ({columns}) VALUES ({', '.join([mark] * len(kept))})"  # noqa: S608

    def write(self, connection: Connection, rows: list[Row]) -> None:
        picked = [self._pick(row) for row in rows] if self._pick else rows
        if connection.dialect.driver == "psycopg" and len(rows) >= ROWS_TO_COPY:
            self._copy(connection, picked)
        else:
            connection.exec_driver_sql(self._sql, picked)

    def _copy(self, connection: Connection, rows: list[Row]) -> None:
        """PostgreSQL's own bulk path, three times as fast as inserts; SQLAlchemy does not know it."""
        driver: Any = connection.connection.driver_connection
        errors = connection.dialect.loaded_dbapi.Error
        try:
            with driver.cursor() as cursor, cursor.copy(self._copy_sql) as copy:
                for row in rows:
                    copy.write_row(row)
        except errors as error:
            raise DBAPIError.instance(self._copy_sql, None, error, errors) from error


def _definitions() -> dict[str, Any]:
    """MLflow's table definitions by name."""
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models  # noqa: F401
    from mlflow.store.db.base_sql_model import Base

    return dict(Base.metadata.tables)


def raise_experiment_counter(connection: Connection) -> None:
    """Have the next `create_experiment` take an id after all that are there.

    SQLite counts from the highest id, MySQL's counter follows inserts; only PostgreSQL's sequence has to be told.
    """
    if connection.dialect.name != "postgresql":
        return
    highest = connection.execute(sa.text("SELECT max(experiment_id) FROM experiments")).scalar() or 0
    sequence = connection.execute(sa.text("SELECT pg_get_serial_sequence('experiments', 'experiment_id')")).scalar()
    last, called = connection.execute(sa.text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
    if highest > last or (highest == last and not called):
        connection.execute(sa.select(sa.func.setval(sequence, highest)))
