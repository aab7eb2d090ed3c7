"""The schema of basic-auth's database: made by MLflow's own migrations, or refused where MLflow would refuse it.

The migrations are run without MLflow's `env.py`, which imports the whole server app and so needs Flask-WTF, and which
opens connections itself: here they get one of ours, and are part of its transaction.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import IncompatibleStoreError
from mlmeta.stores.sql.database import MYSQL
from mlmeta.stores.sql.known_tables import AUTH_VERSION, USERS
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


def newest() -> str:
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
    if found == newest():
        return
    if is_known(found):
        raise IncompatibleStoreError(
            f"{shown} has users and permissions in the schema {found} of an older MLflow; the installed one uses "
            f"{newest()}",
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
