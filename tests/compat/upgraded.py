"""Upgrades a full store of an older MLflow version in two ways, and writes the rows that come of each as JSON.

`python upgraded.py make STORE`, by the interpreter of the older version's environment, makes such a store;
`python upgraded.py compare STORE FOLDER`, by that of the newer one, upgrades it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from mlflow.store.db.utils import _upgrade_db

import mlmeta
from mlmeta.progress import Silent
from mlmeta.schema import ROWS, Row, Selection
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.upgrade import RowUpgrades
from tests.builders.everything import fill_everything

_NO_MODEL = "UPDATE spans SET dimension_attributes = NULL"
"""What it is filled with means nothing to the migration that moves this column."""


def make(store: Path) -> None:
    """Make a store with rows in every table."""
    fill_everything(f"sqlite:///{store}", workspaces=True)
    with contextlib.closing(sqlite3.connect(store)) as db, db:
        if "dimension_attributes" in {row[1] for row in db.execute("PRAGMA table_info(spans)")}:
            db.execute(_NO_MODEL)


def compare(store: Path, folder: Path) -> None:
    """Write the rows of a restore as `mlmeta.json`, and those that `mlflow db upgrade` leaves as `mlflow.json`."""
    mlmeta.backup(f"sqlite:///{store}", str(folder / "backups"))
    with contextlib.closing(RowUpgrades()) as upgrades:
        part = upgrades.part_of(mlmeta.open_snapshot(str(folder / "backups")), Selection(), Silent())
        _write(folder / "before.json", part.snapshot.records(ROWS))
        _write(folder / "mlmeta.json", part.records(ROWS))
    _upgrade_db(sa.create_engine(f"sqlite:///{store}", poolclass=sa.NullPool))
    found = SqlSource(f"sqlite:///{store}").read(Selection(), Silent())
    _write(folder / "mlflow.json", (item for item in found if isinstance(item, Row)))


def _write(path: Path, rows: Iterator[Row]) -> None:
    path.write_text(json.dumps([json.loads(row.to_line()) for row in rows]))


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](*map(Path, sys.argv[2:]))
