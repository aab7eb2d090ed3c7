"""MySQL: through a real MariaDB or MySQL server, where this machine has one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from sql_helpers import ALL, QUIET, all_runs, backup, digests
from test_sql_default_renamed import snapshot_of_renamed
from tests.support.server import free_port

from mlmeta.errors import ConflictError
from mlmeta.restorer.sql import SqlTarget

INSTALL = shutil.which("mariadb-install-db")
SERVER = shutil.which("mariadbd")

pytestmark = [
    pytest.mark.skipif(INSTALL is None or SERVER is None, reason="no MariaDB server on this machine"),
    pytest.mark.xdist_group("mysql"),
]


@pytest.fixture(scope="module")
def mysql() -> Iterator[Callable[..., str]]:
    """Makes empty databases on a server, and gives their URIs. MySQL's own collation takes A and a for one name."""
    folder = Path(tempfile.mkdtemp(prefix="mlmeta-mysql-"))
    data = f"--datadir={folder / 'data'}"
    own = ["--no-defaults", data, "--user=root"]
    subprocess.run(
        [str(INSTALL), *own, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    port = free_port()
    listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(SERVER), *own, *listen], stdout=log, stderr=log)
    engine = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{port}/mysql", poolclass=sa.NullPool)
    numbers = count()

    def database(collation: str = "utf8mb4_bin") -> str:
        name = f"mlflow{next(numbers)}"
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {collation}"))
        return f"mysql+pymysql://root@127.0.0.1:{port}/{name}"

    try:
        _await(engine, process)
        yield database
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _await(engine: sa.Engine, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(sa.exc.OperationalError), engine.connect():
            return
        time.sleep(0.2)
    raise RuntimeError("the MariaDB server did not start")


def test_sqlite_to_mysql_to_sqlite_gives_equal_bytes(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    first = backup(f"sqlite:///{filled}", tmp_path / "a")
    uri = mysql()
    SqlTarget(uri).restore(first, ALL, QUIET)
    second = backup(uri, tmp_path / "b")
    assert digests(second) == digests(first)
    SqlTarget(f"sqlite:///{tmp_path}/new.db").restore(second, ALL, QUIET)
    assert digests(backup(f"sqlite:///{tmp_path}/new.db", tmp_path / "c")) == digests(first)


def test_mlflow_works_on_the_restored_store(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    client = MlflowClient(uri, uri)
    assert {r.info.run_id for r in all_runs(uri)} == {r.info.run_id for r in all_runs(f"sqlite:///{filled}")}
    assert client.create_experiment("next one") == "4"
    client.log_metric(client.create_run("1").info.run_id, "loss", 1.0)
    assert client.create_model_version("zeta", "gs://bucket/m/5", await_creation_for=0).version == 5


def test_a_default_experiment_of_another_id_takes_the_placeholder_s_place(
    tmp_path: Path, mysql: Callable[..., str]
) -> None:
    snapshot = snapshot_of_renamed(tmp_path, purged=True)
    uri = mysql()
    MlflowClient(uri).search_experiments()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    assert MlflowClient(uri).create_experiment("next") == "2"


def test_a_second_restore_adds_nothing(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql()
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert not any(SqlTarget(uri).restore(snapshot, ALL, QUIET).created.values())
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_a_conflict_leaves_the_database_as_it_was(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql()
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    MlflowClient(uri, uri).create_experiment("somebody else's")  # gets id 1, which the snapshot has too
    before = digests(backup(uri, tmp_path / "before"))
    with pytest.raises(ConflictError, match="experiment 1"):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "after")) == before


def test_names_that_differ_in_case_only_are_a_conflict_where_the_collation_says_so(
    filled: Path, tmp_path: Path, mysql: Callable[..., str]
) -> None:
    uri = mysql("utf8mb4_general_ci")
    with pytest.raises(ConflictError, match="zeta"):
        SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    assert not MlflowClient(uri, uri).search_registered_models()
