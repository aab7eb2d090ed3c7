"""Whether a database has changed: a token for each kind of database that moves whenever something is committed.

Not the time or the size of files: a write-ahead log grows and shrinks by itself, and times have steps.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Hashable

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from mlmeta.stores.sql.database import POSTGRESQL, SQLITE, Database, parse
from mlmeta.stores.sql.sqlite import connect
from mlmeta.stores.tokens import NOTHING, Token, Watcher

_STATISTICS = 15
"""The version of PostgreSQL from which on statistics of an idle connection are told within a known time."""
_SNAPSHOTS = 13
"""The one from which on its function has a name that is not about transaction ids."""
_LAG = 11.0
"""Seconds until PostgreSQL tells them (PGSTAT_IDLE_INTERVAL), and one more."""
_WRITES = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_write', 'Handler_update', 'Handler_delete')"


def watch(uri: str) -> Watcher:
    """A watcher of a database. Nothing is opened yet.

    Raises:
        UsageError: it is not a URI of a database, or its driver is not installed.
    """
    database = parse(uri)
    if database.kind == SQLITE:
        return _SqliteWatcher(database)
    return _PostgresWatcher(database) if database.kind == POSTGRESQL else _MysqlWatcher(database)


class _SqliteWatcher:
    """Asks one connection that stays open for `PRAGMA data_version`, and sees whether the file is still the same.

    The connection may write: after a server was killed, the first to read has to roll its journal back.
    """

    lag = 0.0

    def __init__(self, database: Database) -> None:
        self._path = database.path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        self._opened = 0

    def token(self) -> Token | None:
        """See `Watcher.token`: none of another connection's is ever the same."""
        try:
            connection = self._opened_connection()
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if self._file != self._there():
                return None  # another file has just taken its place
        except FileNotFoundError:
            self.close()
            return NOTHING
        except (OSError, sqlite3.Error):
            self.close()
            return None
        key = (self._opened, version)
        return Token(key, key)

    def _there(self) -> tuple[int, int]:
        found = os.stat(self._path)  # noqa: PTH116 - every second
        return found.st_dev, found.st_ino

    def _opened_connection(self) -> sqlite3.Connection:
        if self._connection is not None and self._file == self._there():
            return self._connection
        self.close()
        self._file = self._there()
        self._opened += 1
        mode = "rw" if os.access(self._path, os.W_OK) else "ro"
        self._connection = connect(self._path, mode, patience=0)
        return self._connection

    def close(self) -> None:
        """See `Watcher.close`."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


class _ServerWatcher:
    """Asks a database server over one connection that stays open, without a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    @property
    def lag(self) -> float:
        """See `Watcher.lag`."""
        return 0.0

    def token(self) -> Token | None:
        """See `Watcher.token`."""
        try:
            return self._look(self._connected())
        except SQLAlchemyError:
            self.close()
            return None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._engine = self._database.engine()
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._prepare(self._connection)
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        """See what the server can tell."""

    def _look(self, connection: Connection) -> Token:
        raise NotImplementedError

    def close(self) -> None:
        """See `Watcher.close`."""
        for one in (self._connection, self._engine):
            with contextlib.suppress(SQLAlchemyError):
                if isinstance(one, Engine):
                    one.dispose()
                elif one is not None:
                    one.close()
        self._connection = self._engine = None


class _PostgresWatcher(_ServerWatcher):
    """Asks PostgreSQL for its next transaction, which moves with a write in any of its databases.

    Since version 15, the rows written in this one tell the writes of others apart. They are told a little later.
    """

    _transactions = "pg_snapshot_xmax(pg_current_snapshot())"
    _has_statistics = False

    @property
    def lag(self) -> float:
        """See `Watcher.lag`."""
        return _LAG if self._has_statistics else 0.0

    def _prepare(self, connection: Connection) -> None:
        version = connection.dialect.server_version_info or (0,)
        standby = connection.execute(sa.text("SELECT pg_is_in_recovery()")).scalar()
        self._has_statistics = int(version[0]) >= _STATISTICS and not standby
        old = int(version[0]) < _SNAPSHOTS
        self._transactions = "txid_snapshot_xmax(txid_current_snapshot())" if old else type(self)._transactions

    def _look(self, connection: Connection) -> Token:
        rows = "tup_inserted, tup_updated, tup_deleted, stats_reset::text"
        query = f"SELECT {self._transactions}::text, {rows} FROM pg_stat_database WHERE datname = current_database()"  # noqa: S608
        exact, *likely = connection.execute(sa.text(query)).one()
        return Token(tuple(likely) if self._has_statistics else exact, exact)


class _MysqlWatcher(_ServerWatcher):
    """Asks MySQL and MariaDB how many rows were written, in any of their databases."""

    def _look(self, connection: Connection) -> Token:
        key: Hashable = tuple(sorted((name, value) for name, value in connection.execute(sa.text(_WRITES))))
        return Token(key, key)
