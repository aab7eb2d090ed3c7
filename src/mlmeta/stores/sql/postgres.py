"""What PostgreSQL and psycopg can do and SQLAlchemy does not know."""

from __future__ import annotations

import contextlib
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.stores.sql.database_tables import Tables, by_bytes

Columns = tuple[str, str, list[int], list[int], list[float]]
"""Run id, metric key, and the columns step, timestamp (milliseconds since the epoch) and value."""

Texts = tuple[str, str, str, str, list[float]]
"""The same, with step and timestamp as text: ``0,1,2``."""

_Column = ColumnElement[Any]


def history_columns(connection: Connection, tables: Tables, ids: Sequence[str]) -> Iterator[Columns]:
    """All points of some runs, a row for each run and key, made into columns by PostgreSQL: by run id and key."""
    for run_id, key, step, timestamp, value in _rows(connection, _columns(tables, _packed), {"ids": list(ids)}):
        yield run_id, key, _numbers("q", step), _numbers("q", timestamp), _numbers("d", value)


def history_texts(connection: Connection, tables: Tables, ids: Sequence[str]) -> Iterator[Texts]:
    """Like `history_columns`, for those who only want to write the integers down again: less work, on both sides."""
    for run_id, key, step, timestamp, value in _rows(connection, _columns(tables, _listed), {"ids": list(ids)}):
        yield run_id, key, step, timestamp, _numbers("d", value)


def _columns(tables: Tables, integers: Callable[[_Column, tuple[_Column, ...]], _Column]) -> sa.Select[Any]:
    """The query of `history_columns`; `integers` says what is made of a column of them, in an order."""
    table = tables["metrics"].c
    step, nan = tables.column("metrics", "step"), tables.column("metrics", "is_nan")
    in_order = (step, table.timestamp, nan, table.value)
    number = sa.case((nan, sa.literal_column("'NaN'::float8")), else_=table.value)
    columns = (
        integers(step, in_order),
        integers(table.timestamp, in_order),
        _joined("float8send", number, in_order),
    )
    query = sa.select(table.run_uuid, table.key, *columns)
    query = query.where(table.run_uuid == sa.any_(sa.bindparam("ids"))).group_by(table.run_uuid, table.key)
    return query.order_by(by_bytes(table.run_uuid, "postgresql"), by_bytes(table.key, "postgresql"))


def _listed(column: _Column, in_order: tuple[_Column, ...]) -> _Column:
    return sa.func.string_agg(sa.cast(column, sa.Text), aggregate_order_by(sa.literal_column("','"), *in_order))


def _packed(column: _Column, in_order: tuple[_Column, ...]) -> _Column:
    return _joined("int8send", column, in_order)


def _joined(send: str, column: _Column, in_order: tuple[_Column, ...]) -> _Column:
    """The bytes that PostgreSQL sends for each value, one after the other: an array of theirs has a length for each."""
    return sa.func.string_agg(
        getattr(sa.func, send)(column), aggregate_order_by(sa.literal_column("''::bytea"), *in_order)
    )


def _numbers(code: str, packed: bytes) -> list[Any]:
    numbers = array(code, bytes(packed))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tolist()


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
