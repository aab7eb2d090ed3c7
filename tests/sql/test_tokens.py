"""What tells whether a database has changed: it moves with each commit of somebody else, and with nothing else."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta import MlmetaError, backup
from mlmeta.stores.opening import Store, has_content
from mlmeta.stores.sql import sqlite
from mlmeta.stores.sql.tokens import watch
from mlmeta.stores.tokens import NOTHING, Token, Watcher


@contextlib.contextmanager
def watching(uri: str) -> Iterator[Watcher]:
    watcher = watch(uri)
    try:
        yield watcher
    finally:
        watcher.close()


def seen(watcher: Watcher) -> Token:
    token = watcher.token()
    assert token is not None
    return token


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_sqlite_file(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "a.db"
    with watching(f"sqlite:///{path}") as watcher:
        assert watcher.token() == NOTHING
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(f"PRAGMA journal_mode = {journal}")
            db.execute("CREATE TABLE t (x)")
            first = seen(watcher)
            assert first != NOTHING
            assert seen(watcher) == first
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO t VALUES (1)")
            assert seen(watcher) == first, "not committed yet"
            db.execute("COMMIT")
            second = seen(watcher)
            assert second != first
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            db.execute("SELECT * FROM t").fetchall()
            assert seen(watcher) == second
        os.utime(path)
        assert seen(watcher) == second


def test_a_sqlite_file_that_is_replaced_or_busy(store: Path) -> None:
    with watching(f"sqlite:///{store}") as watcher:
        first = seen(watcher)
        other = store.with_name("other.db")
        other.write_bytes(store.read_bytes())
        other.replace(store)
        second = seen(watcher)
        assert second != first
        with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            began = time.monotonic()
            assert watcher.token() is None, "unknown, at once"
            assert time.monotonic() - began < 2
            db.execute("ROLLBACK")
        assert seen(watcher) != second, "it may have changed meanwhile"
        store.unlink()
        assert watcher.token() == NOTHING
        store.write_bytes(b"this is no database" * 100)
        assert watcher.token() is None


KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
for number in range(2000):
    db.execute("INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, 0)", (f"k{number}", "v" * 2000))
os.kill(os.getpid(), 9)
"""


def test_a_server_that_was_killed_in_a_transaction(store: Path, tmp_path: Path) -> None:
    """Nobody can read the file before its journal is rolled back."""
    subprocess.run([sys.executable, "-c", KILLED, str(store)], check=False)
    with pytest.raises(MlmetaError):
        backup(f"sqlite:///{store}", [str(tmp_path / "backups")])
    with watching(f"sqlite:///{store}") as watcher:
        seen(watcher)
    assert backup(f"sqlite:///{store}", [str(tmp_path / "backups")]).exit_code == 0


def await_the_end_of_others(engine: sa.Engine) -> None:
    """PostgreSQL counts what a session has written when it ends, which is some time after its client has gone."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 10
    with engine.connect() as connection:
        while connection.execute(sa.text(others)).scalar_one() and time.monotonic() < deadline:
            time.sleep(0.02)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_server(emptied: Callable[[str], str], request: pytest.FixtureRequest, kind: str) -> None:
    uri = emptied(kind)
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    if kind == "postgresql":
        await_the_end_of_others(engine)
    with watching(uri) as watcher:
        first = seen(watcher)
        with engine.connect() as reader:
            reader.execute(sa.text("SELECT * FROM experiments")).fetchall()
        time.sleep(0.1)
        assert seen(watcher) == first
        with engine.begin() as writer:
            writer.execute(sa.text("INSERT INTO experiments (name, lifecycle_stage) VALUES ('a', 'active')"))
        assert seen(watcher).exact != first.exact, "at once"
        until(lambda: seen(watcher).likely != first.likely, watcher.lag + 5)
        with engine.connect() as reader:
            open_ones = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
            assert kind == "mysql" or reader.execute(sa.text(open_ones)).scalar() == 0, "no transaction stays open"
    assert not has_content(Store(uri))


def test_writes_in_another_database_of_postgresql(postgres: Callable[[], str]) -> None:
    with watching(postgres()) as watcher:
        first = seen(watcher)
        engine = sa.create_engine(postgres(), poolclass=sa.NullPool)
        with engine.begin() as writer:
            writer.execute(sa.text("CREATE TABLE t (x int)"))
            writer.execute(sa.text("INSERT INTO t VALUES (1)"))
        time.sleep(1.5)
        second = seen(watcher)
        assert second.exact != first.exact
        assert second.likely == first.likely


def test_a_server_that_is_away() -> None:
    with watching("postgresql+psycopg://me:secret@127.0.0.1:9/none") as watcher:
        assert watcher.token() is None
        assert watcher.token() is None


def until(what: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_counts_as_content(store: Path, blank: Path, tmp_path: Path) -> None:
    assert has_content(Store(f"sqlite:///{store}"))
    assert not has_content(Store(f"sqlite:///{blank}"))
    assert not has_content(Store(f"sqlite:///{tmp_path / 'none.db'}"))
    models = tmp_path / "models.db"
    models.write_bytes(blank.read_bytes())
    with contextlib.closing(sqlite3.connect(models)) as db, db:
        db.execute("INSERT INTO registered_models (name) VALUES ('prompt')")
    assert has_content(Store(f"sqlite:///{models}"))


MOUNTS = rb"""21 1 8:1 / / rw - ext4 /dev/root rw
36 21 0:32 / /mnt/a\040bucket rw - fuse.gcsfuse bucket rw
37 36 0:33 / /mnt/a\040bucket/disk rw shared:1 master:2 - tmpfs tmpfs rw
38 21 0:34 / /home rw - nfs4 server:/home rw
"""


def test_where_a_write_ahead_log_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_bytes(MOUNTS)
    monkeypatch.setattr(sqlite, "_MOUNTS", tmp_path / "mounts")
    kinds = {"/": "ext4", "/mnt/a bucket/x": "fuse.gcsfuse", "/mnt/a bucket/disk": "tmpfs", "/home/me": "nfs4"}
    assert {folder: sqlite.file_system(Path(folder)) for folder in kinds} == kinds
    assert sqlite.use_wal(Path("/home/me/mlflow.db")) == ("it is on a file system of other machines (nfs4)", True)
    monkeypatch.setattr(sqlite, "_MOUNTS", tmp_path / "none")
    assert sqlite.use_wal(Path("/home/me/mlflow.db")) == ("its file system is unknown", True)


def test_a_write_ahead_log(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert sqlite.use_wal(store) == ("database is locked", False)
        db.execute("ROLLBACK")
        assert sqlite.use_wal(store) == ("", True)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
