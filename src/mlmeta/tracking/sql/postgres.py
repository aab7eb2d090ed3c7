"""What PostgreSQL and psycopg can do and SQLAlchemy does not know."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.tracking.sql.tables import Tables, by_bytes

Columns = tuple[str, str, list[int], list[int], list[float]]
"""Run id, metric key, and the columns step, timestamp (milliseconds since the epoch) and value."""

Texts = tuple[str, str, str, str, list[float]]
"""The same, with step and timestamp as PostgreSQL writes an array: ``{0,1,2}``."""


def history_columns(connection: Connection, tables: Tables, ids: Sequence[str]) -> list[Columns]:
    """All points of some runs, a row for each run and key, made into columns by PostgreSQL: by run id and key."""
    return list(_rows(connection, _columns(tables, lambda array: array), {"ids": list(ids)}))


def history_texts(connection: Connection, tables: Tables, ids: Sequence[str]) -> list[Texts]:
    """Like `history_columns`, for those who only want to write them down again: half the work, on both sides."""
    return list(_rows(connection, _columns(tables, lambda array: sa.cast(array, sa.Text)), {"ids": list(ids)}))


def _columns(tables: Tables, form: Callable[[ColumnElement[Any]], ColumnElement[Any]]) -> sa.Select[Any]:
    """The query of `history_columns`; `form` is what is made of an array of integers."""
    table = tables["metrics"].c
    in_order = (table.step, table.timestamp, table.is_nan, table.value)
    number = sa.case((table.is_nan, sa.literal_column("'NaN'::float8")), else_=table.value)
    step, timestamp, value = (
        sa.func.array_agg(aggregate_order_by(column, *in_order)) for column in (table.step, table.timestamp, number)
    )
    query = sa.select(table.run_uuid, table.key, form(step), form(timestamp), value)
    query = query.where(table.run_uuid == sa.any_(sa.bindparam("ids"))).group_by(table.run_uuid, table.key)
    return query.order_by(by_bytes(table.run_uuid, "postgresql"), by_bytes(table.key, "postgresql"))


def _rows(connection: Connection, query: sa.Select[Any], parameters: dict[str, Any]) -> Sequence[Any]:
    """The rows of a query, in PostgreSQL's binary format where the driver knows it: a fifth of the work."""
    if connection.dialect.driver != "psycopg":
        return connection.execute(query, parameters).all()
    compiled = query.compile(dialect=connection.dialect)
    text = str(compiled)
    with driver_errors(connection, text), psycopg_of(connection).cursor(binary=True) as cursor:
        cursor.execute(text, compiled.construct_params(parameters))
        return cursor.fetchall()  # type: ignore[no-any-return]


def psycopg_of(connection: Connection) -> Any:
    """The driver's own connection."""
    return connection.connection.driver_connection


@contextlib.contextmanager
def driver_errors(connection: Connection, statement: str) -> Iterator[None]:
    """The driver's errors as those of SQLAlchemy."""
    errors = connection.dialect.loaded_dbapi.Error
    try:
        yield
    except errors as error:
        raise DBAPIError.instance(statement, None, error, errors) from error
