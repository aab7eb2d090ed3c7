"""Rows of queries, in batches, whatever SQLite has in them: there, a column may hold text that is not UTF-8."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

T = TypeVar("T")

DECODING_ERRORS = (sqlite3.OperationalError, OperationalError)
"""What SQLite's driver raises for such a text, and what SQLAlchemy makes of it."""


def is_undecodable(error: Exception) -> bool:
    """Whether one of `DECODING_ERRORS` tells of text that is not UTF-8."""
    return "Could not decode to UTF-8" in str(getattr(error, "orig", error))  # without the query and its values


def rows_of(connection: Connection, query: sa.Select[Any]) -> Sequence[Any]:
    """All rows of a query; text that is not UTF-8 comes as bytes."""
    return read_any(connection, lambda: connection.execute(query).all())


def plain_rows_of(connection: Connection, query: sa.Select[Any]) -> Sequence[Any]:
    """Like `rows_of`, for columns that have no type: SQLite's come as its driver gives them, with nothing around."""

    def read() -> Sequence[Any]:
        with closing(connection.execute(query)) as result:
            found: Any = result
            return found.cursor.fetchall() if connection.dialect.name == "sqlite" else found.all()  # type: ignore[no-any-return]

    return read_any(connection, read)


def read_any(connection: Connection, read: Callable[[], T]) -> T:
    """What `read` gives; text that is not UTF-8 comes as bytes.

    The driver decodes text at the speed of C only where it is sure to be UTF-8, so it is asked for that first.
    """
    try:
        return read()
    except DECODING_ERRORS as error:
        if not is_undecodable(error):
            raise
    with any_text(connection):
        return read()


@contextlib.contextmanager
def any_text(connection: Connection) -> Iterator[None]:
    """SQLite's text that is not UTF-8 comes as bytes in here; slower."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    before, driver.text_factory = driver.text_factory, _text
    try:
        yield
    finally:
        driver.text_factory = before


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


BATCH = 500
"""Records whose rows are looked up together: below every database's limit of parameters."""


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Lists of at most `size` items."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def sized_batches(items: Iterable[T], size_of: Callable[[T], int], room: int) -> Iterator[list[T]]:
    """Lists of at most `BATCH` items, each ended by the item with which their sizes reach `room`."""
    batch: list[T] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if len(batch) >= BATCH or size >= room:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def grouped(rows: Iterable[Any]) -> dict[Any, list[Any]]:
    """Rows by their first column, without it."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for first, *rest in rows:
        groups[first].append(rest)
    return groups
