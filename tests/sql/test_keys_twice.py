"""A key that stands in a table twice, as text and as a blob: SQLite takes them for two, a snapshot can hold one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlmeta import backup, verify


@pytest.mark.parametrize(("table", "field"), [("tags", "tags"), ("params", "params")])
def test_one_is_saved_and_the_other_named(store: Path, tmp_path: Path, table: str, field: str) -> None:
    with closing(sqlite3.connect(store)) as db, db:
        (run,) = db.execute("SELECT run_uuid FROM runs ORDER BY run_uuid").fetchone()
        db.execute(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, 'twice', 'text')", (run,))
        db.execute(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, CAST('twice' AS BLOB), 'blob')", (run,))
    saved = backup(f"sqlite:///{store}", str(tmp_path / "backups"))
    assert saved.exit_code == 3
    reason = f"1 of its {field}: a key is there both as text and as a blob; one of them was saved"
    assert [(s.kind, s.id, s.reason) for s in saved.skipped] == [("run", run, reason)]
    assert verify([], str(tmp_path / "backups")).exit_code == 0
