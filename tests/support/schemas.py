"""MLflow's stores without what makes many small ones slow, in this process and those that are forked for tests.

Its migrations take a second for each of hundreds of stores: they run once, and what they came to is kept; the next
databases get it as it is. `with_migrations` is for tests of the making itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow.store.db import utils
from mlflow.store.model_registry import sqlalchemy_store as registry
from pymysql.connections import Connection

from mlmeta.stores.sql.schema import make_schema
from mlmeta.stores.sql.schema_cache import blank_store, keep, kept, statements_name, statements_of

UNFINISHED = "mlmeta_unfinished"
"""What a restore into MySQL marks a database with, while its tables are made."""
_KEPT = Path(__file__).parents[2] / ".cache" / "schemas"
_migrate = utils._initialize_tables


def quick_schemas() -> None:
    """From here on, in this process."""
    _set(_copy)


def quick_sessions() -> None:
    """Let MLflow tell each connection to a SQLite file once how it is to work, and not before each of its steps.

    The latter is a fifth of what a request takes.
    """
    connect, sessions = utils.create_sqlalchemy_engine, utils._get_managed_session_maker

    def engine_of(uri: str) -> sa.Engine:
        engine: sa.Engine = connect(uri)
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _set_up)
        return engine

    def sessions_of(maker: Any, kind: str) -> Callable[..., Any]:
        made: Callable[..., Any] = sessions(maker, "" if kind == "sqlite" else kind)
        return made

    utils.create_sqlalchemy_engine = engine_of
    utils._get_managed_session_maker = registry._get_managed_session_maker = sessions_of


def quick_connections() -> None:
    """Let pymysql load the machine's certificates once: for each connection, that is a quarter of a restore."""
    make = Connection._create_ssl_ctx
    usual = cache(lambda: make(None, {}))
    Connection._create_ssl_ctx = lambda self, asked: make(self, asked) if asked else usual()


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("foreign_keys = ON", "busy_timeout = 20000", "case_sensitive_like = true"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def with_migrations() -> Iterator[None]:
    """MLflow's own way, for as long as the block lasts."""
    before = utils._initialize_tables
    _set(_migrate)
    try:
        yield
    finally:
        _set(before)


def _set(make: object) -> None:
    utils._initialize_tables = make
    registry._initialize_tables = make


def _copy(engine: sa.Engine) -> None:
    if {*sa.inspect(engine).get_table_names()} <= {UNFINISHED}:
        _COPIES.get(engine.dialect.name, _migrate)(engine)
    else:
        _migrate(engine)


def _copy_sqlite(engine: sa.Engine) -> None:
    with closing(engine.raw_connection()) as new:
        new.executescript(_sqlite())  # type: ignore[attr-defined]


@cache
def _sqlite() -> str:
    with blank_store(_migrated, _KEPT) as blank:
        return "\n".join(["BEGIN;", *statements_of(blank), "COMMIT;"])


def _copy_postgresql(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        make_schema(connection, _KEPT)


def _copy_mysql(engine: sa.Engine) -> None:
    """Of a database of the same encoding and collation, as lengths of columns and keys depend on them."""
    with engine.connect() as connection:
        there = connection.exec_driver_sql("SELECT VERSION(), @@character_set_database, @@collation_database").one()
    name = statements_name(" ".join(there))
    if found := kept(name, _KEPT):
        _make_in_mysql(engine, **json.loads(found.read_bytes()))
        return
    _migrate(engine)
    made = json.dumps(made_in_mysql(engine))
    keep(name, lambda path: path.write_text(made), _KEPT)


def _make_in_mysql(engine: sa.Engine, statements: list[str], rows: dict[str, list[dict[str, Any]]]) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        for table, found in rows.items():
            connection.execute(sa.insert(sa.table(table, *map(sa.column, found[0]))), found)
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")


def made_in_mysql(engine: sa.Engine) -> dict[str, Any]:
    """The statements that make the tables of a database, and their rows."""
    names = sorted({*sa.inspect(engine).get_table_names()} - {UNFINISHED})
    with engine.connect() as connection:
        statements = [str(connection.exec_driver_sql(f"SHOW CREATE TABLE {name}").one()[1]) for name in names]
        found = {name: connection.exec_driver_sql(f"SELECT * FROM {name}").mappings().all() for name in names}
    return {
        "statements": statements,
        "rows": {name: [dict(row) for row in rows] for name, rows in found.items() if rows},
    }


_COPIES: dict[str, Callable[[sa.Engine], None]] = {
    "sqlite": _copy_sqlite,
    "postgresql": _copy_postgresql,
    "mysql": _copy_mysql,
}


def _migrated(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    _migrate(engine)
    engine.dispose()
