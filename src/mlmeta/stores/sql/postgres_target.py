"""What a PostgreSQL target allows: the schema and all rows in one transaction, and tables filled without indexes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import InternalError
from mlmeta.stores.sql.schema_cache import CACHE, keep, kept, statements_name

_KEYS = """
SELECT conname, pg_get_constraintdef(oid), contype = 'f' FROM pg_constraint
WHERE conrelid = to_regclass(:table) AND contype IN ('p', 'u', 'f') ORDER BY contype = 'f', conname
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = to_regclass(:table)
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid) ORDER BY 1
"""


def make_schema(connection: Connection, cache: Path = CACHE) -> None:
    """Make all of MLflow's tables, in the transaction of this connection: as MLflow did it before, if it did.

    Args:
        connection: to a database without any table.
        cache: where the statements are kept.
    """
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    name = statements_name(f"{connection.dialect.name} {version} {connection.dialect.driver}")
    if found := kept(name, cache):
        for statement, parameters in json.loads(found.read_bytes()):
            connection.exec_driver_sql(statement, parameters)
        return
    with _recorded(connection) as statements:
        create_schema_within(connection)
    text = json.dumps(statements, default=_no_json)

    def write(path: Path) -> None:
        path.write_text(text)

    keep(name, write, cache)


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


def create_schema_within(connection: Connection) -> None:
    """Have MLflow make all its tables, in the transaction of this connection.

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

    with EnvironmentContext(config, script, fn=upgrade) as environment:
        environment.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        environment.run_migrations()


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
    # Else the server plans queries without knowing these, for a while. All tables would take three times as long.
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
