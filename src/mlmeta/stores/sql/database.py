"""Databases that hold an MLflow store: what their addresses name, and how they are read as of one moment."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mlmeta.errors import IncompatibleStoreError, MlmetaError, UsageError
from mlmeta.redaction import without_secrets
from mlmeta.stores.address import ESCAPES
from mlmeta.stores.sql.errors import missing_driver, translate
from mlmeta.stores.sql.sqlite import (
    BUSY_SECONDS,
    Problems,
    checked,
    copied,
    engine_on,
    is_frozen,
    is_wal,
    open_to_read,
    require_file,
    sqlite_engine,
)

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
MYSQL = "mysql"
KINDS = (SQLITE, POSTGRESQL, MYSQL)

_DRIVERS = {POSTGRESQL: ("psycopg2", "psycopg"), MYSQL: ("MySQLdb", "pymysql")}
_SOCKETS = ("/", "@")
"""How the name of a socket begins: a path, or PostgreSQL's sign for one that is in no folder."""
_USUAL_SOCKETS = {
    *("/tmp", "/var/run/postgresql", "/run/postgresql"),  # noqa: S108 - nothing is written there
    *("/tmp/mysql.sock", "/var/lib/mysql/mysql.sock", "/var/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock"),  # noqa: S108
}
_SEARCH_PATH = re.compile(r"search_path\s*=\s*(\S+)")


@dataclass(frozen=True)
class Database:
    """The address of a database.

    Args:
        url: SQLAlchemy's form of it, with a driver that is installed.
        kind: ``sqlite``, ``postgresql`` or ``mysql``.
    """

    url: URL
    kind: str

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without user, password and options: fit for screens, logs and snapshots."""
        if self.kind == SQLITE:
            return f"sqlite:///{self.url.database}"
        port = self.url.port or self._option("port")
        return f"{self.kind}://{self._host}{f':{port}' if port else ''}/{self.url.database or ''}"

    @property
    def _host(self) -> str:
        """Empty for a socket of this machine."""
        host = self._named_host
        if host.startswith(_SOCKETS):
            return ""
        return f"[{host}]" if host.count(":") > 1 else host

    @property
    def _named_host(self) -> str:
        return self.url.host or self._option("host")

    def _option(self, name: str) -> str:
        found = self.url.query.get(name, "")
        return found if isinstance(found, str) else found[0]

    @property
    def socket(self) -> str:
        """The socket that the address names: behind one such as `/cloudsql/…` any server may be.

        Empty: it names none, or one where a machine's own server has it.
        """
        named = self._option("unix_socket") if self.kind == MYSQL else self._named_host
        place = named.rstrip("/")
        return place if named.startswith(_SOCKETS) and place not in _USUAL_SOCKETS else ""

    @property
    def schema(self) -> str:
        """The PostgreSQL schema that the address names; empty: it names none, or the usual one."""
        options = self.url.query.get("options", "")
        text = options if isinstance(options, str) else " ".join(options)
        for name in ",".join(_SEARCH_PATH.findall(text)).split(","):
            if (found := name.strip("\"' ")) and found != "$user":
                return "" if found == "public" else found
        return ""

    @property
    def secret_url(self) -> str:
        """The address with everything: to connect with, and to find what has to go out of a message."""
        return self.url.render_as_string(hide_password=False)

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self.url.database or "")

    def engine(self) -> Engine:
        """An engine for writing. A SQLite file that does not exist would be created."""
        if self.kind == SQLITE:
            return sqlite_engine(self.path, mode="rwc")
        return _engine(self.url)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """One read-only transaction: all that is read through it is as of one moment.

        Raises:
            MissingStoreError: the database does not exist; it is never created.
            ConnectionFailedError: it can't be read.
        """
        engine = self._read_only_engine()
        try:
            with self.errors(), engine.connect() as connection:
                yield begin_reading(connection, self.kind)
                connection.rollback()
        finally:
            engine.dispose()

    def _read_only_engine(self) -> Engine:
        if self.kind == SQLITE:
            require_file(self.path)
            return sqlite_engine(self.path, mode="ro")
        options = {"isolation_level": "REPEATABLE READ"}
        if self.kind == POSTGRESQL:
            return _engine(self.url).execution_options(**options, postgresql_readonly=True)
        return _engine(self.url).execution_options(**options)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """What a driver raises inside becomes one of our errors, without credentials."""
        try:
            yield
        except (SQLAlchemyError, OverflowError) as error:  # the latter: a number that no column holds
            raise translate(error, self.shown, self.secret_url) from error
        except sqlite3.Error as error:  # from the raw cursors that long histories are read with
            raise translate(error, self.shown) from error


def parse(uri: str) -> Database:
    """The database that a tracking URI names, to connect with.

    Args:
        uri: as MLflow takes it, such as ``sqlite:///mlflow.db`` or ``postgresql://user:password@host/mlflow``.

    Raises:
        UsageError: it is not such a URI, or its driver is not installed.
    """
    named = address(uri)
    return named if named.kind == SQLITE else Database(_with_driver(named.url, named.kind), named.kind)


def address(uri: str) -> Database:
    """Like `parse`, whatever is installed: to tell what the URI names.

    Raises:
        UsageError: it is not such a URI.
    """
    try:
        url = sa.make_url(uri)
        kind = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise UsageError(  # the message of SQLAlchemy would repeat the URI, password and all
            f"{without_secrets(uri)} is not a valid database URI",
            hint="use one like sqlite:///mlflow.db or postgresql://user:password@host/mlflow",
        ) from None
    shown = without_secrets(uri)
    spelt = (shown, unquote(shown))
    if not all(any((part or "") in text for text in spelt) for part in (url.host, url.database)):  # a password's part
        raise UsageError(f"the password of {shown} has special characters", hint=ESCAPES)
    if kind not in KINDS:
        raise UsageError(f"mlmeta can't use {kind} databases", hint=f"use one of {', '.join(KINDS)}")
    if kind == SQLITE:
        _require_file_name(url)
    return Database(url, kind)


def _require_file_name(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise UsageError(
            "a SQLite store must be a file", hint="use sqlite:///relative/path.db or sqlite:////absolute/path.db"
        )


def _with_driver(url: URL, kind: str) -> URL:
    """The URL as it is where it names a driver, else with the first driver that is installed."""
    _, plus, named = url.drivername.partition("+")
    drivers = (named,) if plus else _DRIVERS[kind]
    for driver in drivers:
        module = {"mysqldb": "MySQLdb", "mysqlconnector": "mysql.connector"}.get(driver, driver)
        if importlib.util.find_spec(module.split(".")[0]) is not None:
            return url.set(drivername=f"{kind}+{driver.lower()}")
    raise missing_driver(kind, drivers)


def _engine(url: URL) -> Engine:
    return sa.create_engine(url, poolclass=NullPool, connect_args=_connect_args(url))


def _connect_args(url: URL) -> dict[str, object]:
    """How a driver is to connect, beyond what the URL says.

    Text is UTF-8 whatever the database's encoding is (from a `SQL_ASCII` one, psycopg gives bytes otherwise). Nothing
    is prepared: behind a pooler in transaction mode, a prepared statement stays with a server connection that the next
    transaction does not get.
    """
    if url.get_backend_name() != POSTGRESQL:
        return {}
    args: dict[str, object] = {} if "client_encoding" in url.query else {"client_encoding": "utf8"}
    if url.get_driver_name() == "psycopg":
        args["prepare_threshold"] = None
    return args


def begin_reading(connection: Connection, kind: str) -> Connection:
    """Begin a read-only transaction that waits for a lock for a stated time only."""
    if kind == SQLITE:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()  # only a read takes the lock
    elif kind == MYSQL:
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {BUSY_SECONDS}")  # a day otherwise
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    else:  # in one round trip; rows that a policy would hide are an error
        connection.exec_driver_sql(f"SET LOCAL row_security = off; SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
    return connection


@dataclass(frozen=True)
class Still:
    """A database that does not change while it is read.

    Args:
        connection: in a read-only transaction.
        problems: gives what is wrong with it.
        warning: what a person should know; empty: nothing.
    """

    connection: Connection
    problems: Problems = list
    warning: str = ""


@contextlib.contextmanager
def reading_still(database: Database, *, check: bool = False) -> Iterator[Still]:
    """Like `Database.reading`, for as long as it takes: writers go on.

    Who reads a SQLite file that has a rollback journal (MLflow's default) keeps every writer from committing, and a
    server gives up after 20 seconds. So such a file is copied first, as of one moment, and the copy is read.

    Args:
        database: to read.
        check: whether a SQLite file is checked meanwhile.

    Raises:
        MissingStoreError: the database does not exist; it is never created.
        ConnectionFailedError: it can't be read.
        TemporaryFolderError: there is no room for a copy.
    """
    if database.kind != SQLITE:
        with database.reading() as connection:
            yield Still(connection)
        return
    with database.reading() as connection:
        if is_wal(connection) or is_frozen(connection):
            checker = open_to_read(database.path) if check else None
            with checked(checker) as problems, _blamed_on_damage(database, problems):
                yield Still(connection, problems, _frozen(database) if is_frozen(connection) else "")
            return
    with database.errors(), copied(database.path) as (reader, checker):
        engine = engine_on(creator=lambda: reader)
        with (
            checked(checker if check else None) as problems,
            _blamed_on_damage(database, problems),
            engine.connect() as connection,
        ):
            connection.exec_driver_sql("BEGIN")
            yield Still(connection, problems)


@contextlib.contextmanager
def _blamed_on_damage(database: Database, problems: Problems) -> Iterator[None]:
    """What a damaged file gives may be anything, such as a point of a run that nobody knows."""
    try:
        yield
    except MlmetaError:
        raise
    except Exception as error:
        if found := problems():
            raise IncompatibleStoreError(
                f"{database.shown} is damaged: {'; '.join(found)}",
                hint="restore an older copy or snapshot; `sqlite3 FILE .recover` saves what can be read",
            ) from error
        raise


def _frozen(database: Database) -> str:
    return (
        f"{database.shown} is in WAL mode where nothing may be written: it was read as a file that nobody changes, "
        "and what a server wrote meanwhile may be torn"
    )
