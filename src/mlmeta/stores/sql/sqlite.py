"""Opening SQLite files without doing harm."""

from __future__ import annotations

import os
import sqlite3
import urllib.parse
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from mlmeta.errors import IncompatibleStoreError

BUSY_SECONDS = 60
"""How long a database may be locked by somebody else before we give up."""

FROZEN = "ro&immutable=1"
"""The mode for a file that nobody changes: no lock is taken, and no file beside it is needed."""


class FrozenConnection(sqlite3.Connection):
    """A connection to a database that can only be read as one that nobody changes."""


def file_uri(path: Path, mode: str) -> str:
    """A file for SQLite, whatever its name is.

    Args:
        path: of the file.
        mode: ``ro``, ``rwc`` or `FROZEN`.
    """
    return f"file://{urllib.parse.quote(os.fsencode(path.absolute()))}?mode={mode}"  # // for a path that has two, too


def sqlite_engine(path: Path, mode: str) -> Engine:
    """An engine on a SQLite file.

    The driver's own transactions are switched off (`isolation_level=None`): it would commit before some
    statements. Whoever uses the engine begins with a ``BEGIN`` of the wanted kind.
    """

    def opened() -> sqlite3.Connection:
        return open_to_read(path) if mode == "ro" else connect(path, mode)

    return sa.create_engine("sqlite://", creator=opened, poolclass=NullPool)


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection for reading: where a database in WAL mode is on a read-only file system, a `FrozenConnection`.

    Raises:
        sqlite3.Error: it can't be read.
        IncompatibleStoreError: it can't be read there.
    """
    connection = connect(path, "ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if not _lacks_shared_memory(path, error):
            raise
        return connect(path, FROZEN, FrozenConnection)
    return connection


def connect(path: Path, mode: str, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """A connection without transactions of its own, for any thread; see `file_uri`."""
    return sqlite3.connect(
        file_uri(path, mode),
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )


def _lacks_shared_memory(path: Path, error: sqlite3.Error) -> bool:
    """Whether reading failed because the file beside a database in WAL mode can't be made.

    Raises:
        IncompatibleStoreError: there is a write-ahead log, which nothing can be read without.
    """
    refused = any(words in str(error) for words in ("readonly database", "unable to open database"))
    if not refused or not os.access(path, os.R_OK) or os.access(path.parent, os.W_OK) or _size(path, "-journal"):
        return False
    if _size(path, "-wal"):
        raise IncompatibleStoreError(
            f"sqlite:///{path} has a write-ahead log, which can't be read where nothing may be written",
            hint=f"copy it, and {path.name}-wal with it, into a folder that may be written, and read it there",
        )
    return True


def _size(path: Path, suffix: str) -> int:
    beside = path.with_name(path.name + suffix)
    return beside.stat().st_size if beside.exists() else 0


def is_wal(connection: Connection) -> bool:
    """Whether readers of a SQLite database are in nobody's way, as it has a write-ahead log."""
    return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal")


def is_frozen(connection: Connection) -> bool:
    """Whether a SQLite database could only be read as one that nobody changes."""
    return isinstance(connection.connection.dbapi_connection, FrozenConnection)
