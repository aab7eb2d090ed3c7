"""A store where there was none: nobody sees it before it is complete, so it may be filled in riskier, faster ways.

A SQLite file is built without a journal, in a temporary folder. PostgreSQL's biggest tables get their indexes last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.stores.sql.database import Database
from mlmeta.stores.sql.schema import begin_store
from mlmeta.stores.sql.sqlite import hasty_engine
from mlmeta.temporary import remove_leftovers, scratch_folder, take_name

_KEYS = """
SELECT conname, pg_get_constraintdef(oid), contype = 'f' FROM pg_constraint
WHERE conrelid = to_regclass(:table) AND contype IN ('p', 'u', 'f') ORDER BY contype = 'f', conname
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = to_regclass(:table)
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid) ORDER BY 1
"""


class NewFile:
    """A SQLite store that appears when it is complete, built in a temporary folder beside its final place.

    A context manager: left without `publish`, nothing remains; what killed restores have left is removed. As nobody
    else sees the file, it needs no journal.

    Args:
        database: whose file does not exist yet; a missing folder is made, as MLflow does.
        begin: makes it, with its tables.
    """

    def __init__(self, database: Database, begin: Callable[[Path], None] = begin_store) -> None:
        self._begin = begin
        self._database = database
        self._final = database.path.resolve()  # a link stays a link
        self._path = Path()
        self._folder = contextlib.ExitStack()
        self._open: Connection | None = None

    def __enter__(self) -> NewFile:
        place = self._final.parent
        place.mkdir(parents=True, exist_ok=True)
        self._path = self._folder.enter_context(scratch_folder(place, _prefix(self._final))) / "store.db"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
        finally:
            self._folder.close()

    def connection(self) -> Connection:
        """A connection to the new store: MLflow's tables, without a row."""
        with self._database.errors():
            self._begin(self._path)
            self._open = hasty_engine(self._path).connect()
            return self._open

    def publish(self) -> bool:
        """Give the store its name, safely on disk. False where somebody else has made one meanwhile."""
        if self._open is not None:
            with self._database.errors():
                self._open.commit()
        self._close()
        _sync(self._path)
        if not take_name(self._path, self._final):
            return False
        _sync(self._final.parent)
        return True

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open.engine.dispose()
            self._open = None


def remove_unfinished(database: Database) -> None:
    """Remove what killed restores into this file have left beside it."""
    final = database.path.resolve()
    remove_leftovers(final.parent, _prefix(final))


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def without_indexes(connection: Connection, tables: Sequence[str]) -> Iterator[None]:
    """Fill tables without their keys and indexes, and make them afterwards, all at once: a third of the time.

    Args:
        connection: in a transaction that made the tables, so that nobody else can see them.
        tables: their names; no other table refers to them.
    """
    again = [statement for table in tables for statement in _bare(connection, table)]
    yield
    for statement in again:
        connection.exec_driver_sql(statement)
    # Else the server plans queries as if these were empty, for a while. All tables would take three times as long.
    connection.exec_driver_sql(f"ANALYZE runs, {', '.join(tables)}")


def _bare(connection: Connection, table: str) -> list[str]:
    """Drop the keys and indexes of a table; gives the statements that make them again."""
    name = {"table": table}
    keys = connection.execute(sa.text(_KEYS), name).all()
    indexes = connection.execute(sa.text(_INDEXES), name).all()
    quote = connection.dialect.identifier_preparer.quote
    alter = f"ALTER TABLE {quote(table)}"
    for key, _, _ in reversed(keys):  # what refers to others first
        connection.exec_driver_sql(f"{alter} DROP CONSTRAINT {quote(key)}")
    for index, _ in indexes:
        connection.exec_driver_sql(f"DROP INDEX {index}")
    added = [f"{alter} ADD CONSTRAINT {quote(key)} {definition}" for key, definition, _ in keys]
    return [*added, *(definition for _, definition in indexes)]
