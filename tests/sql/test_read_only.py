"""SQLite stores on a read-only mount."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlmeta.stores.opening import open_snapshot
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import digests, records_of

_MOUNT = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


def read_only(folder: Path, *words: str) -> list[str]:
    """A command that sees a folder mounted read-only."""
    return ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", str(folder), *words]


def can_mount(folder: Path) -> bool:
    return shutil.which("unshare") is not None and not subprocess.run(read_only(folder, "true"), check=False).returncode


def backup(store: Path, out: Path) -> tuple[int, dict[str, Any]]:
    words = [sys.executable, "-m", "mlmeta", "backup", "--json"]
    uris = ["--tracking-uri", f"sqlite:///{store}", "--storage", str(out)]
    done = subprocess.run(read_only(store.parent, *words, *uris), capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def mounted(filled: Path, tmp_path: Path) -> Path:
    """A store in a folder of its own that can be mounted read-only."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("nothing can be mounted here")
    return Path(shutil.copy(filled, folder / "mlflow.db"))


@pytest.mark.parametrize(("journal", "warnings"), [("delete", 0), ("wal", 1)])
def test_it_is_read(mounted: Path, tmp_path: Path, journal: str, warnings: int) -> None:
    with closing(sqlite3.connect(mounted)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
    code, said = backup(mounted, tmp_path / "out")
    assert (code, len(said["warnings"])) == (0, warnings)
    assert all("was read as a file that nobody changes" in text for text in said["warnings"])
    expected = snapshot_of(records_of(f"sqlite:///{mounted}"), tmp_path / "expected")
    assert digests(open_snapshot(str(tmp_path / "out"))) == digests(expected)


def test_a_log_that_was_left_is_no_reason_to_save_less(mounted: Path, tmp_path: Path) -> None:
    """What a server wrote last is in the log alone."""
    with closing(sqlite3.connect(mounted)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("UPDATE runs SET name = 'in the log'")
        db.commit()
        for name in ("mlflow.db", "mlflow.db-wal"):
            (tmp_path / "left").mkdir(exist_ok=True)
            shutil.copy(mounted.parent / name, tmp_path / "left" / name)
    left = tmp_path / "left" / "mlflow.db"
    code, said = backup(left, tmp_path / "out")
    assert code == 1
    (error,) = said["errors"]
    assert (
        error["message"] == f"sqlite:///{left} has a write-ahead log, which can't be read where nothing may be written"
    )
    assert "mlflow.db-wal" in error["hint"]
    assert not list(tmp_path.glob("out/*"))


def test_a_server_that_crashed_there_is_told(mounted: Path, tmp_path: Path) -> None:
    """Its journal has to be played back, which needs writing."""
    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN');"
        "db.execute('UPDATE runs SET name = hex(randomblob(5000))'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(mounted)], check=True)
    assert mounted.with_name("mlflow.db-journal").stat().st_size > 0
    status, said = backup(mounted, tmp_path / "out")
    assert status == 1
    assert "to read what a crashed writer left, open it once" in said["errors"][0]["hint"]
