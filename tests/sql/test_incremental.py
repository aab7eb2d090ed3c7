"""An incremental backup of a database gives the same bytes as a full one."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta import backup, restore
from mlmeta.schema import Record
from mlmeta.stores.sql.restorer import SqlTarget
from tests.builders.changes import change_store
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import ALL, QUIET
from tests.sql.test_any_store import stores
from tests.support.examples import examples
from tests.support.reading import data_files, summary


@examples(40)
@given(records=stores(), seed=st.integers(0, 2**32))
def test_any_store_after_any_change(blank: Path, records: list[Record], seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Path(shutil.copy(blank, folder / "store.db"))
        uri = f"sqlite:///{database}"
        SqlTarget(uri).restore(snapshot_of(records, folder / "records"), ALL, QUIET)
        backup(uri, [str(folder / "a")])
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("INSERT OR IGNORE INTO experiments VALUES (0, 'always there', 'x', 'active', 1, 1, 'default')")
        change_store(database, seed, behind_ended_runs=True)
        backup(uri, [str(folder / "full")])
        result = backup(uri, [str(folder / "a")], incremental=True)
        assert result.incremental_base
        assert data_files(folder / "a", result.timestamp) == data_files(folder / "full")


@pytest.mark.parametrize("seed", range(4))
def test_a_store_of_a_hundred_runs(bench: Path, tmp_path: Path, seed: int) -> None:
    database = Path(shutil.copy(bench, tmp_path / "store.db"))
    uri = f"sqlite:///{database}"
    backup(uri, [str(tmp_path / "a")], compress=True)
    for turn in range(3):
        change_store(database, 100 * seed + turn, behind_ended_runs=True)
        result = backup(uri, [str(tmp_path / "a")], incremental=True)
        full = backup(uri, [str(tmp_path / f"full{turn}")])
        assert data_files(tmp_path / "a", result.timestamp) == data_files(tmp_path / f"full{turn}")
        assert result.stats == full.stats


def test_lines_come_from_the_base_only_while_counts_agree(bench: Path, tmp_path: Path) -> None:
    """What the base says is taken over: so a falsified base shows which runs were read."""
    database = Path(shutil.copy(bench, tmp_path / "store.db"))
    uri = f"sqlite:///{database}"
    first = backup(uri, [str(tmp_path / "a")])
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE metrics SET value = value + 1 WHERE step = 5")  # MLflow never does this
    second = backup(uri, [str(tmp_path / "a")], incremental=True)
    assert data_files(tmp_path / "a", second.timestamp) == data_files(tmp_path / "a", first.timestamp)
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("INSERT INTO metrics SELECT key, value, timestamp, run_uuid, -1, is_nan FROM metrics WHERE step = 5")
    third = backup(uri, [str(tmp_path / "a")], incremental=True)
    backup(uri, [str(tmp_path / "full")])
    assert data_files(tmp_path / "a", third.timestamp) == data_files(tmp_path / "full")


def test_postgresql(bench: Path, postgres: object, tmp_path: Path) -> None:
    uri = postgres()  # type: ignore[operator]
    backup(f"sqlite:///{bench}", [str(tmp_path / "source")])
    restore(uri, storage=str(tmp_path / "source"))
    full = backup(uri, [str(tmp_path / "a")])
    result = backup(uri, [str(tmp_path / "a")], incremental=True)
    assert result.incremental_base == full.timestamp
    assert data_files(tmp_path / "a", result.timestamp) == data_files(tmp_path / "source")
    assert summary(tmp_path / "a")["incremental_base"] == full.timestamp
