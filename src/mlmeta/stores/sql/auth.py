"""The database of basic-auth: its schema, and the users, password hashes, roles and permissions that a backup reads.

The schema is made by MLflow's own migrations, or refused where MLflow would refuse it. They are run without MLflow's
`env.py`, which imports the whole server app and so needs Flask-WTF, and which opens connections itself: here they get
one of ours, and are part of its transaction.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import IncompatibleStoreError
from mlmeta.progress import Progress
from mlmeta.schema import AUTH_TABLES, AuthRow, Row, auth_table_order
from mlmeta.schema.words import amount
from mlmeta.stores.source import AuthInfo, SourceItem
from mlmeta.stores.sql.database import MYSQL, SQLITE, parse, reading_still
from mlmeta.stores.sql.database_tables import Tables
from mlmeta.stores.sql.known_tables import AUTH_VERSION, NEVER, PASSING, USERS
from mlmeta.stores.sql.rows import RowReader, row_tables
from mlmeta.stores.sql.schema import quiet_migrations
from mlmeta.stores.sql.sqlite import hasty_engine, in_memory

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

FIRST = "8606fa83a998"
"""The revision of an auth database of MLflow before 3.6, which does not say it."""
_COLUMNS = {"id", "username", "password_hash", "is_admin"}
_OLDER = "start its server once (`mlflow server --app-name basic-auth` of the installed version), which upgrades it"


@cache
def _script() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    found = importlib.util.find_spec("mlflow")
    folders = (Path(folder, "server", "auth", "db", "migrations") for folder in _locations(found))
    folder = next((one for one in folders if one.is_dir()), None)
    if folder is None:
        raise IncompatibleStoreError(
            "the installed MLflow has no basic-auth", hint="install mlflow, and not mlflow-skinny alone"
        )
    if AUTH_VERSION not in (folder / "env.py").read_text():
        raise IncompatibleStoreError(
            "the installed MLflow is older than 3.6, and can't be given users and permissions",
            hint="install the server's MLflow version beside mlmeta",
        )
    return ScriptDirectory(str(folder))


def _locations(found: Any) -> list[str]:
    return list(found.submodule_search_locations or ()) if found is not None else []


def newest_revision() -> str:
    """The revision that the installed MLflow makes."""
    return str(_script().get_current_head())


def is_known(revision: str) -> bool:
    """Whether the installed MLflow knows a revision, to go on from there."""
    return any(one.revision == revision for one in _script().walk_revisions())


def migrate(connection: Connection, revision: str = "heads") -> None:
    """Have MLflow's migrations make or upgrade the tables, in the transaction of this connection.

    Args:
        connection: in a transaction.
        revision: how far.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    script = _script()

    def upgrade(found: Any, _: Any) -> Any:
        return script._upgrade_revs(revision, found)

    with quiet_migrations(), EnvironmentContext(Config(), script, fn=upgrade) as environment:
        environment.configure(connection=connection, version_table=AUTH_VERSION)
        environment.run_migrations()


def revision_of(connection: Connection) -> str:
    """The revision of an auth database; empty: it does not say it."""
    if AUTH_VERSION not in sa.inspect(connection).get_table_names():
        return ""
    return str(connection.execute(sa.text(f"SELECT version_num FROM {AUTH_VERSION}")).scalar() or "")  # noqa: S608


def holds_auth(connection: Connection, shown: str) -> bool:
    """Whether a database holds basic-auth's tables as the installed MLflow makes them; False: they can be made there.

    Raises:
        IncompatibleStoreError: they are of another MLflow version, or somebody else's, or MLflow can't make them.
    """
    if found := revision_of(connection):
        _check(found, shown)
        return True
    if USERS in sa.inspect(connection).get_table_names():
        is_older = has_users(connection)
        raise IncompatibleStoreError(
            f"{shown} has a table {USERS} that {'an older MLflow made' if is_older else 'is not of basic-auth'}",
            hint=_OLDER if is_older else "name another database with --auth-uri",
        )
    if connection.dialect.name == MYSQL:
        raise IncompatibleStoreError(
            f"MLflow can't make the tables of basic-auth in {shown}: two of its foreign keys have the same name there",
            hint="name a SQLite or PostgreSQL database with --auth-uri, and as `database_uri` in basic_auth.ini",
        )
    return False


def has_users(connection: Connection) -> bool:
    """Whether there is a table of users such as basic-auth has."""
    inspector = sa.inspect(connection)
    if USERS not in inspector.get_table_names():
        return False
    return {column["name"] for column in inspector.get_columns(USERS)} >= _COLUMNS


def _check(found: str, shown: str) -> None:
    if found == newest_revision():
        return
    if is_known(found):
        raise IncompatibleStoreError(
            f"{shown} has users and permissions in the schema {found} of an older MLflow; the installed one uses "
            f"{newest_revision()}",
            hint=_OLDER,
        )
    raise IncompatibleStoreError(
        f"{shown} has users and permissions in the schema {found}, which the installed MLflow does not know",
        hint="install the server's MLflow version beside mlmeta, or restore into an empty database",
    )


@contextlib.contextmanager
def blank_auth(revision: str = "heads") -> Iterator[Connection]:
    """A connection to a database in memory with basic-auth's tables, and no row.

    Args:
        revision: as which MLflow version makes them.
    """
    with in_memory() as connection:
        connection.exec_driver_sql("BEGIN")
        migrate(connection, revision)
        yield connection


def begin_auth(path: Path) -> None:
    """Make a SQLite file with basic-auth's tables, without a row, that nobody else may read.

    Raises:
        FileExistsError: it is there.
    """
    path.touch(mode=0o600, exist_ok=False)
    engine = hasty_engine(path)
    with engine.connect() as connection:
        migrate(connection)
        connection.commit()
    engine.dispose()


_TRACKING = "experiments"
_ALL: frozenset[str] = frozenset()


class AuthSource:
    """A database of basic-auth, which may be any beside MLflow's own. Nothing is ever created or migrated.

    Args:
        uri: as for `SqlSource`.

    Raises:
        UsageError: the URI is not valid, or its driver is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._database = parse(uri)
        self._warnings: tuple[str, ...] = ()

    @cached_property
    def info(self) -> AuthInfo:
        """Which database it is.

        Raises:
            ConnectionFailedError: it can't be read, does not exist, or has no users of basic-auth.
        """
        with self._database.reading() as connection:
            return auth_info(connection, self._database.shown)

    def read(self, progress: Progress) -> Iterator[SourceItem]:
        """All rows as of one moment, in the order of their file."""
        with reading_still(self._database) as still:
            hide_parameters(still.connection)
            tables = Tables(still.connection, self._database.shown, required=_ALL)
            yield from read_auth(still.connection, tables, progress)
            self._warnings = (*_others(still.connection, tables), *tables.oddities.notices())
            yield from tables.oddities.skipped()

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the last `read`."""
        return self._warnings


def auth_info(connection: Connection, shown: str) -> AuthInfo:
    """Which database of basic-auth this is.

    Raises:
        IncompatibleStoreError: it is not such a database.
    """
    if not has_users(connection):
        raise IncompatibleStoreError(
            f"{shown} has no users of basic-auth",
            hint="name the database that `database_uri` in the server's basic_auth.ini names (--auth-uri)",
        )
    return AuthInfo(uri=shown, revision=revision_of(connection))


def hide_parameters(connection: Connection) -> None:
    """Have errors of this connection not repeat what was written or asked for."""
    connection.engine.hide_parameters = True


def read_auth(connection: Connection, tables: Tables, progress: Progress) -> Iterator[AuthRow]:
    """The rows of all tables of basic-auth, in the order of their file.

    Args:
        connection: in a transaction.
        tables: of that database.
        progress: unit ``auth rows``.
    """
    progress.phase("reading users and permissions")
    reader = RowReader(connection, tables)
    names = sorted(auth_tables(connection, tables), key=auth_table_order)
    for table in row_tables(tables, names, withhold=False).values():
        for row in reader.stream(table, sa.true()):
            yield auth_row(row)
            progress.advance("auth rows")


def auth_row(row: Row) -> AuthRow:
    """A row as one of basic-auth."""
    return AuthRow(table=row.table, key=row.key, row=row.row)


def auth_tables(connection: Connection, tables: Tables) -> set[str]:
    """The tables of basic-auth in a database.

    Those of versions to come as well, but where the tracking store, whose rows these are, is there.
    """
    known = {*AUTH_TABLES} & tables.names
    if _TRACKING in tables:
        return known
    unknown = {name for name in tables.names - known - {*NEVER} if not name.startswith(PASSING)}
    if connection.dialect.name == SQLITE:  # a file is nobody else's
        return known | unknown
    while new := {name for name in unknown if not known.isdisjoint(tables.parents(name))}:
        known |= new
        unknown -= new
    return known


def _others(connection: Connection, tables: Tables) -> Iterator[str]:
    if _TRACKING in tables:
        return
    others = tables.names - auth_tables(connection, tables) - {*NEVER}
    if others:
        yield (
            f"somebody else's by all that can be told, and not saved: {amount(len(others), 'tables')} beside those of "
            f"basic-auth ({', '.join(sorted(others))})"
        )
