"""MLflow's schema in a target: made by MLflow itself, or refused where MLflow would refuse it; and older ones."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import logging
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from mlmeta.errors import IncompatibleStoreError, InternalError
from mlmeta.progress import Progress
from mlmeta.stores.sql.database import POSTGRESQL, SQLITE, Database, parse
from mlmeta.stores.sql.schema_cache import (
    CACHE,
    blank_store,
    copy_to,
    keep,
    kept,
    revision_of,
    statements_name,
    statements_of,
)
from mlmeta.stores.sql.sqlite import engine_on, hasty_engine, scratch_engine
from mlmeta.stores.sql.writing import writing

_UNFINISHED = "mlmeta_unfinished"
"""A table that marks a MySQL database for as long as MLflow's tables are made there.

MySQL commits whenever a table is made or altered, and MLflow's migrations can't go on from the middle of one of them.
So a restore that finds this table, and no row yet, knows that a killed one left the schema half-made, and begins anew.
"""


def holds_store(connection: Connection, shown: str) -> bool:
    """Whether a database holds a store of the installed MLflow's schema; False: it is free for one.

    Raises:
        IncompatibleStoreError: it holds a store of another MLflow version, or something else under MLflow's names.
    """
    names = set(sa.inspect(connection).get_table_names())
    if not names & {"experiments", "runs", "alembic_version"} or _is_unfinished(connection, names):
        return False
    if "alembic_version" not in names:
        _require_no_rows(connection, shown, names)
        return False
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    _check_revision(str(found), shown)
    return True


def _require_no_rows(connection: Connection, shown: str, names: set[str]) -> None:
    """The beginning of a schema that MLflow did not get to finish is as good as empty; anything else is not."""
    for name in names & {"experiments", "runs"}:
        if _has_rows(connection, name):
            raise IncompatibleStoreError(
                f"{shown} has a table `{name}` with rows, but is not an MLflow store of version 1.0 or newer",
                hint="restore into an empty database",
            )


def _check_revision(found: str, shown: str) -> None:
    newest = newest_revision()
    if found == newest:
        return

    if is_known(found):
        raise IncompatibleStoreError(
            f"{shown} has the schema {found} of an older MLflow; the installed one uses {newest}",
            hint="take a backup of it, then run `mlflow db upgrade <database URI>`",
        )
    raise IncompatibleStoreError(
        f"{shown} has the schema {found}, which the installed MLflow does not know: it is newer, or not MLflow's",
        hint="install the server's MLflow version beside mlmeta, or restore into an empty database",
    )


def newest_revision() -> str:
    """The revision of the schema that the installed MLflow makes."""
    with blank_store(_make_blank) as blank:
        return revision_of(blank)


def makes_schema_within(database: Database) -> bool:
    """Whether a database without any table gets its schema in the transaction that fills it.

    Raises:
        ConnectionFailedError: it can't be read.
    """
    if database.kind != SQLITE:
        return database.kind == POSTGRESQL
    with database.reading() as connection:  # one that MLflow has begun, only MLflow can finish
        return not sa.inspect(connection).get_table_names()


def make_schema(connection: Connection, cache: Path = CACHE) -> None:
    """Make all of MLflow's tables, in the transaction of this connection: as MLflow did it before, if it did.

    Args:
        connection: to a SQLite or PostgreSQL database without any table.
        cache: where the statements for PostgreSQL are kept.
    """
    if connection.dialect.name == SQLITE:
        with blank_store(_make_blank) as blank:
            for statement in statements_of(blank):
                connection.exec_driver_sql(statement)
        return
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    name = statements_name(f"{connection.dialect.name} {version} {connection.dialect.driver}")
    if found := kept(name, cache):
        for statement, parameters in json.loads(found.read_bytes()):
            connection.exec_driver_sql(statement, parameters)
        return
    with _recorded(connection) as statements:
        _migrate_within(connection)
    text = json.dumps(statements, default=_no_json)
    keep(name, lambda path: path.write_text(text), cache)


@contextlib.contextmanager
def _recorded(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed in the block, but for those that only look."""
    statements: list[tuple[str, Any]] = []

    def record(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "SHOW")):
            statements.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(connection, "before_cursor_execute", record)


def _no_json(value: object) -> object:
    raise InternalError(f"MLflow's migrations have a parameter that can't be kept: {value!r}")


def _migrate_within(connection: Connection) -> None:
    """Have MLflow make all its tables in a PostgreSQL database, in the transaction of this connection.

    MLflow's own way commits as it goes: its `env.py` opens connections itself. Here the same migrations get this one
    (https://alembic.sqlalchemy.org/en/latest/api/runtime.html), as PostgreSQL can take back what changes tables.
    """
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

    InitialBase.metadata.create_all(connection)
    config = utils._get_alembic_config("")
    script = ScriptDirectory.from_config(config)

    def upgrade(revision: Any, _: Any) -> Any:
        return script._upgrade_revs("heads", revision)

    with quiet_migrations(), EnvironmentContext(config, script, fn=upgrade) as environment:
        environment.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        environment.run_migrations()


def ensure_schema(database: Database, progress: Progress | None = None) -> None:
    """Have MLflow make its tables in a database that has none.

    MLflow's migrations commit as they go; interrupted, they leave an unfinished schema without a single row, which
    the next call makes anew.

    Args:
        database: to be a store.
        progress: told where somebody has to be waited for.

    Raises:
        IncompatibleStoreError: see `holds_store`.
        MlmetaError: the database can't be used.
    """
    with database.errors():
        if database.kind == SQLITE:  # a lock in the database would keep MLflow out as well: it has one of its own
            if not _holds_store(database):
                create_schema(sa.create_engine(database.url, poolclass=sa.NullPool), locked=True)
            return
        with writing(database, progress):  # must not read itself: MLflow alters tables beside it
            if not _holds_store(database):
                with _marked(database.engine(), {table for table, _ in blank_columns()}):
                    create_schema(database.engine())


def _holds_store(database: Database) -> bool:
    with database.reading() as connection:
        return holds_store(connection, database.shown)


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


def _is_unfinished(connection: Connection, names: Collection[str]) -> bool:
    """Whether the tables of a database, of these names, are what a killed restore left of making them."""
    return _UNFINISHED in names and not any(_has_rows(connection, name) for name in {"experiments", "runs"} & {*names})


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first() is not None


@contextlib.contextmanager
def _marked(engine: Engine, made: Collection[str]) -> Iterator[None]:
    """Have a database marked while its tables are made; what was left of them before is gone.

    Args:
        engine: on a MySQL database that is empty, or unfinished.
        made: names of all tables that MLflow makes.
    """
    mark = sa.Table(_UNFINISHED, sa.MetaData(), sa.Column("id", sa.Integer))
    with engine.begin() as connection:
        names = sa.inspect(connection).get_table_names()
        if _is_unfinished(connection, names):
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
            for name in {*names} & {*made}:
                connection.execute(sa.schema.DropTable(sa.Table(name, sa.MetaData())))
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")
        else:
            connection.execute(sa.schema.CreateTable(mark))
    yield
    with engine.begin() as connection:
        connection.execute(sa.schema.DropTable(mark))
    engine.dispose()


def blank_columns() -> dict[tuple[str, str], sa.types.TypeEngine[Any]]:
    """The types of all columns that MLflow makes, by table and name."""
    with blank_store(_make_blank) as blank:
        return _columns_of(blank)


@functools.cache
def _columns_of(blank: Path) -> dict[tuple[str, str], sa.types.TypeEngine[Any]]:
    with engine_on(blank).connect() as connection:
        tables = sa.inspect(connection).get_multi_columns()
    return {(table, column["name"]): column["type"] for (_, table), columns in tables.items() for column in columns}


def makes_workspaces() -> bool:
    """Whether the stores that MLflow makes can have workspaces: since 3.10. It is not imported for that."""
    found = importlib.util.find_spec("mlflow")
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    return any(Path(folder, "store", "workspace").is_dir() for folder in folders)


@contextlib.contextmanager
def blank_tables() -> Iterator[Connection]:
    """A connection to a store as MLflow makes it, for looking at its tables."""
    with blank_store(_make_blank) as blank, engine_on(blank).connect() as connection:
        yield connection


def begin_store(path: Path) -> None:
    """Make a SQLite file with all of MLflow's tables, without a row.

    Raises:
        FileExistsError: it is there.
    """
    with blank_store(_make_blank) as blank:
        copy_to(blank, path)


def _make_blank(path: Path) -> None:
    create_schema(hasty_engine(path))


@cache
def _revisions() -> frozenset[str]:
    """All revisions of the schema that the installed MLflow knows."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return frozenset(known.revision for known in script.walk_revisions())


def is_known(revision: str) -> bool:
    """Whether the installed MLflow knows a revision of the schema."""
    return revision in _revisions()


def is_older(revision: str) -> bool:
    """Whether a revision is one that the installed MLflow has left behind."""
    return revision != newest_revision() and is_known(revision)


def begin_store_at(path: Path, revision: str) -> None:
    """Make a SQLite file with MLflow's tables as they were at a revision, without a row.

    Args:
        path: is not there yet.
        revision: one that the installed MLflow knows. A second store of it is a copy of the first.
    """

    def make(blank: Path) -> None:
        from mlflow.store.tracking.dbmodels.initial_models import Base

        engine = hasty_engine(blank)
        Base.metadata.create_all(engine)
        _migrate(engine, revision)

    with blank_store(make, revision=revision) as blank:
        copy_to(blank, path)


def upgrade_store(path: Path) -> None:
    """Do what `mlflow db upgrade` does, to a SQLite file that nobody else has.

    Raises:
        Exception: one of `migration_errors`.
    """
    _migrate(scratch_engine(path), "heads")


def _migrate(engine: Engine, revision: str) -> None:
    from alembic import command
    from mlflow.store.db import utils

    config = utils._get_alembic_config(db_url="")
    try:
        with quiet_migrations(), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def migration_errors() -> tuple[type[Exception], ...]:
    """What MLflow's migrations raise over rows that they can't deal with."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    others = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    return CommandError, MlflowException, SQLAlchemyError, *others


_BY_PEOPLE = ("runs", "trace_info", "logged_models", "registered_models", "evaluation_datasets")


def has_content(uri: str) -> bool:
    """Whether there is any run, trace, model or dataset. A database that does not exist has none.

    Raises:
        UsageError: it is not a URI of a database, or its driver is not installed.
        ConnectionFailedError: it can't be read.
    """
    database = parse(uri)
    if database.kind == SQLITE and not database.path.exists():
        return False
    with database.reading() as connection:
        return holds_content(connection)


def holds_content(connection: sa.Connection) -> bool:
    """`has_content` of the database that is connected to."""
    names = set(sa.inspect(connection).get_table_names())
    queries = [sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1) for name in _BY_PEOPLE if name in names]
    return any(connection.execute(query).first() is not None for query in queries)
