"""MLflow's tables in a new SQLite file, without its migrations: they take a second, for each of a hundred stores.

They run once, and what they came to is kept; the next files get it as it is. `with_migrations` is for tests of the
making itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from mlflow.store.db import utils
from mlflow.store.model_registry import sqlalchemy_store as registry

from mlmeta.stores.sql.schema_cache import blank_store

_KEPT = Path(__file__).parents[2] / ".cache" / "schemas"
_migrate = utils._initialize_tables


def quick_schemas() -> None:
    """From here on, in this process."""
    _set(_copy)


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
    if engine.dialect.name != "sqlite" or sa.inspect(engine).get_table_names():
        _migrate(engine)
        return
    with blank_store(_migrated, _KEPT) as blank, closing(sqlite3.connect(blank)) as kept:
        statements = "\n".join(kept.iterdump())
    with closing(engine.raw_connection()) as new:
        new.executescript(statements)  # type: ignore[attr-defined]


def _migrated(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    _migrate(engine)
    engine.dispose()
