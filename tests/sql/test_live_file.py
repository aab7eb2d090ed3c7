"""A SQLite file that others write into is read without holding them up, and without harm."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta import diff
from mlmeta.errors import TemporaryFolderError
from mlmeta.schema import Run
from mlmeta.stores.proof import prove
from mlmeta.stores.sql import database, sqlite, sqlite_copy
from mlmeta.stores.sql.database import Database
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, records_of
from tests.support.live import writing


def change(db: sqlite3.Connection, number: int) -> None:
    """Two rows that belong together."""
    db.execute("UPDATE runs SET name = ? WHERE start_time = 1000", (str(number),))
    db.execute("UPDATE registered_models SET description = ? WHERE name = 'zeta'", (str(number),))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("mlmeta"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_reader_sees_one_moment_of_a_file_that_never_rests(store: Path, temporary: Path) -> None:
    with writing(store, change, 0.005) as took:
        for _ in range(8):
            found = records_of(f"sqlite:///{store}")
            (name,) = (r.run_name for r in found if isinstance(r, Run) and r.start_time == 1000)
            (text,) = (getattr(r, "description", None) for r in found if getattr(r, "name", "") == "zeta")
            assert name == text
    assert len(took) > 20
    assert left_in(temporary) == []


def test_nobody_waits_for_a_slow_reader(store: Path) -> None:
    reading = SqlSource(f"sqlite:///{store}").read(ALL, QUIET)
    next(reading)
    with closing(sqlite3.connect(store, timeout=0)) as db, db:
        db.execute("UPDATE params SET value = 'new'")
    assert len(list(reading)) > 10


def test_nobody_waits_for_a_proof(store: Path, tmp_path: Path) -> None:
    snapshot = backup(f"sqlite:///{store}", tmp_path / "a")
    back = SqlTarget(f"sqlite:///{store}").read_back(snapshot, ALL)
    found = [next(back)]
    with closing(sqlite3.connect(store, timeout=0)) as db, db:
        db.execute("UPDATE runs SET name = 'new'")
    assert prove([*found, *back], ()).is_equal


def test_the_copy_has_no_name_while_it_is_read(store: Path, temporary: Path) -> None:
    reading = SqlSource(f"sqlite:///{store}").read(ALL, QUIET)
    next(reading)
    assert left_in(temporary) == []
    reading.close()


def test_a_copy_is_for_its_owner_only(store: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fill = sqlite._fill

    def look(database: object, copy: Path) -> None:
        fill(database, copy)  # type: ignore[arg-type]
        seen.extend([copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777, copy.read_bytes()])

    monkeypatch.setattr(sqlite, "_fill", look)
    records_of(f"sqlite:///{store}")
    assert seen == [0o600, 0o700, store.read_bytes()]
    assert left_in(temporary) == []


def test_it_is_copied_once_for_a_comparison(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(f"sqlite:///{store}", tmp_path / "backups")
    copies, fill = [], sqlite._fill
    monkeypatch.setattr(sqlite, "_fill", lambda *words: [copies.append(words), fill(*words)])
    found = diff(storage=str(tmp_path / "backups"), tracking_uri=f"sqlite:///{store}", experiments=["Default"])
    assert (found.comparison.is_equal, len(copies)) == (True, 1)


def test_locks_of_the_same_process_stay(store: Path) -> None:
    """Closing a file takes all of a process's locks on it away: nothing here may open the file but SQLite."""
    with closing(sqlite3.connect(store, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        records_of(f"sqlite:///{store}")
        code = f"import sqlite3; sqlite3.connect({str(store)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "database is locked" in found.stderr


@pytest.mark.parametrize(
    "name", ["with blank.db", "what?.db", "a#b.db", "100%.db", "50%25.db", "é夢.db", "'q\".db", "a&mode=rwc.db"]
)
def test_odd_names_are_read(filled: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(filled.read_bytes())
    with database.reading_still(Database(sa.URL.create("sqlite", database=str(path)), "sqlite")) as found:
        assert found.connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() > 3
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_path_may_begin_with_two_slashes(store: Path) -> None:
    """Who writes `sqlite:////` before an absolute path has five of them; MLflow takes it."""
    assert store.is_absolute()
    assert records_of(f"sqlite:////{store}") == records_of(f"sqlite:///{store}")


@pytest.mark.parametrize(
    ("beforehand", "word"), [("PRAGMA journal_mode = wal", "switched to WAL"), ("", "another file took its place")]
)
def test_a_file_that_becomes_another_one_is_not_copied(
    store: Path, monkeypatch: pytest.MonkeyPatch, beforehand: str, word: str
) -> None:
    """Between the first look at it and the copy, or while it is copied."""
    lock = sqlite3.connect

    def changed(*arguments: object, **options: object) -> sqlite3.Connection:
        if beforehand:
            with closing(lock(store)) as db:
                db.execute(beforehand)
        else:
            shutil.copy(store, store.with_name("other.db")).rename(store)
        return lock(*arguments, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite_copy.sqlite3, "connect", changed)
    copy = store.with_name("copy.db")
    copy.touch()
    with pytest.raises((sqlite3.OperationalError, FileNotFoundError), match=word):
        sqlite_copy.copy(store, sqlite.file_uri(store, "ro"), copy, 1, os.getppid())


def test_too_little_room_is_told_before_anything_is_copied(
    store: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_SPARE", 1 << 60)
    with pytest.raises(TemporaryFolderError) as error:
        records_of(f"sqlite:///{store}")
    assert f"no copy of sqlite:///{store} could be made in {temporary}: " in str(error.value)
    assert error.value.hint.startswith("set TMPDIR to a folder that may be written, with at least ")
    assert left_in(temporary) == []


def test_a_copy_that_does_not_fit_names_the_folder(store: Path, tmp_path: Path) -> None:
    """As a quota would have it: the space looks free, and can't be had."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16));"
        f"sys.argv = ['mlmeta', 'backup', '--tracking-uri', 'sqlite:///{store}', '--storage', '{tmp_path}/out'];"
        "from mlmeta.cli.app import main; main()"
    )
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"no copy of sqlite:///{store} could be made in {folder}: File too large" in " ".join(done.stderr.split())
    assert "set TMPDIR to a folder" in done.stderr
    assert left_in(folder) == []
    assert not list(tmp_path.glob("out/*"))


def test_a_copy_that_nobody_waits_for_is_not_finished(store: Path, tmp_path: Path) -> None:
    """As where mlmeta is killed."""
    copy = tmp_path / "copy.db"
    copy.touch()
    words = (str(store), sqlite.file_uri(store, "ro"), str(copy), "1", "1")  # the parent: another process
    done = subprocess.run([sys.executable, "-I", "-S", sqlite_copy.__file__, *words], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not copy.exists()
