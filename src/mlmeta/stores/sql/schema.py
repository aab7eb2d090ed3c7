"""The schema of a target database: made by MLflow itself, or refused where MLflow would refuse it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from mlmeta.errors import IncompatibleStoreError
from mlmeta.progress import Progress
from mlmeta.stores.sql.database import POSTGRESQL, SQLITE, Database
from mlmeta.stores.sql.schema_cache import blank_store, copy_to, revision_of, statements_of
from mlmeta.stores.sql.unfinished import is_unfinished, marked
from mlmeta.stores.sql.writing import writing

_CACHE_KIB = 32 * 1024


class State(Enum):
    """What a target database is."""

    EMPTY = "empty"
    """It holds no MLflow store yet."""
    READY = "ready"
    """It holds a store of the installed MLflow's schema."""


def state_of(connection: Connection, shown: str) -> State:
    """What a database is.

    Raises:
        IncompatibleStoreError: it holds a store of another MLflow version, or something else under MLflow's names.
    """
    names = set(sa.inspect(connection).get_table_names())
    if not names & {"experiments", "runs", "alembic_version"} or is_unfinished(connection, names):
        return State.EMPTY
    if "alembic_version" not in names:
        return _without_revision(connection, shown, names)
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    _check_revision(str(found), shown)
    return State.READY


def _without_revision(connection: Connection, shown: str, names: set[str]) -> State:
    """The beginning of a schema that MLflow did not get to finish is as good as empty; anything else is not."""
    for name in names & {"experiments", "runs"}:
        if connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one():
            raise IncompatibleStoreError(
                f"{shown} has a table `{name}` with rows, but is not an MLflow store of version 1.0 or newer",
                hint="restore into an empty database",
            )
    return State.EMPTY


def _check_revision(found: str, shown: str) -> None:
    with blank_store(_make_blank) as blank:
        newest = revision_of(blank)
    if found == newest:
        return
    if _is_known(found):
        raise IncompatibleStoreError(
            f"{shown} has the schema {found} of an older MLflow; the installed one uses {newest}",
            hint="take a backup of it, then run `mlflow db upgrade <database URI>`",
        )
    raise IncompatibleStoreError(
        f"{shown} has the schema {found}, which the installed MLflow does not know: it is newer, or not MLflow's",
        hint="install the server's MLflow version beside mlmeta, or restore into an empty database",
    )


def _is_known(revision: str) -> bool:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return any(known.revision == revision for known in script.walk_revisions())


def ensure_schema(database: Database, progress: Progress | None = None) -> None:
    """Have MLflow make its tables in a database that has none.

    MLflow's migrations commit as they go; interrupted, they leave an unfinished schema without a single row, which
    the next call makes anew.

    Args:
        database: to be a store.
        progress: told where somebody has to be waited for.

    Raises:
        IncompatibleStoreError: see `state_of`.
        MlmetaError: the database can't be used.
    """
    with database.errors():
        if database.kind == SQLITE:  # a lock in the database would keep MLflow out as well: it has one of its own
            if _state(database) is State.EMPTY:
                create_schema(sa.create_engine(database.url, poolclass=sa.NullPool), locked=True)
            return
        with writing(
            database, progress
        ):  # lets one restore in at a time; it must not read: MLflow alters tables beside it
            if _state(database) is State.EMPTY:
                with marked(database.engine(), {table for table, _ in blank_columns()}):
                    create_schema(database.engine())


def _state(database: Database) -> State:
    with database.reading() as connection:
        return state_of(connection, database.shown)


def makes_schema_within(database: Database) -> bool:
    """Whether a database without any table gets its schema in the transaction that fills it.

    Raises:
        ConnectionFailedError: it can't be read.
    """
    if database.kind != SQLITE:
        return database.kind == POSTGRESQL
    with database.reading() as connection:  # one that MLflow has begun, only MLflow can finish
        return not sa.inspect(connection).get_table_names()


def copy_blank(connection: Connection) -> None:
    """Make all of MLflow's tables in a SQLite database without any, in the transaction of this connection."""
    with blank_store(_make_blank) as blank:
        for statement in statements_of(blank):
            connection.exec_driver_sql(statement)


def blank_columns() -> dict[tuple[str, str], sa.types.TypeEngine[Any]]:
    """The types of all columns that MLflow makes, by table and name."""
    with blank_store(_make_blank) as blank:
        engine = sa.create_engine(URL.create("sqlite", database=str(blank)), poolclass=sa.NullPool)
        tables = sa.inspect(engine).get_multi_columns()
    return {(table, column["name"]): column["type"] for (_, table), columns in tables.items() for column in columns}


def begin_store(path: Path) -> None:
    """Make a SQLite file with all of MLflow's tables, without a row.

    Raises:
        FileExistsError: it is there.
    """
    with blank_store(_make_blank) as blank:
        copy_to(blank, path)


def _make_blank(path: Path) -> None:
    create_schema(hasty_engine(path))


def hasty_engine(path: Path) -> Engine:
    """An engine for a SQLite file that nobody else sees yet: it needs no journal, and no waiting for the disk."""
    engine = sa.create_engine(URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = OFF")
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        cursor.close()

    return engine


def create_schema(engine: Engine, *, locked: bool = False) -> None:
    """Have MLflow make all its tables; without the Default experiment, which MLflow adds when it starts.

    Args:
        engine: on a database without MLflow's tables; disposed of.
        locked: whether others may be doing the same at this moment.
    """
    from mlflow.store.db import utils

    create = utils._safe_initialize_tables if locked else utils._initialize_tables
    try:
        with quiet_migrations():
            create(engine)
    finally:
        engine.dispose()


@contextlib.contextmanager
def quiet_migrations() -> Iterator[None]:
    """MLflow and alembic tell of every migration on stderr; nobody asked."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic.runtime.migration")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
