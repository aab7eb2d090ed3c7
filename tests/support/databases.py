"""MLflow databases as SQLite files, made once and loaded into a running server between tests."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient

from tests.builders.stores import Content, fill


class Databases:
    """Named SQLite files in a folder, each made on first use.

    ``empty`` has MLflow's schema and its default experiment, ``filled`` something of everything.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content: Content | None = None

    @property
    def content(self) -> Content:
        """The ids of what is in ``filled``."""
        self.path("filled")
        assert self._content is not None
        return self._content

    def path(self, name: str) -> Path:
        path = self._folder / f"{name}.db"
        if not path.exists():
            self._make(name, path)
        return path

    def uri(self, name: str) -> str:
        return f"sqlite:///{self.path(name)}"

    def copy(self, name: str, target: Path) -> str:
        """A database of the test's own; its URI."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path(name), target)
        return f"sqlite:///{target}"

    def _make(self, name: str, path: Path) -> None:
        if name == "empty":
            MlflowClient(f"sqlite:///{path}").search_experiments()
            return
        source = self.path("empty")
        working = path.with_suffix(".new")
        shutil.copyfile(source, working)
        self._content = fill(f"sqlite:///{working}")
        working.rename(path)

    def has(self, name: str) -> bool:
        return (self._folder / f"{name}.db").exists()

    def keep(self, name: str, source: Path) -> None:
        """Give a name to what is in a database that a server has open."""
        save(source, self._folder / f"{name}.db")

    def load(self, name: str, target: Path) -> None:
        """Make a database that a server has open hold the same rows as a named one."""
        load(self.path(name), target)


def load(source: Path, target: Path) -> None:
    """Give `target` the rows of `source`. Its file stays, so that a server that has it open needs no restart."""
    with closing(sqlite3.connect(target, timeout=30, isolation_level=None)) as db:
        db.execute("ATTACH ? AS source", (str(source),))
        db.execute("BEGIN IMMEDIATE")
        for table in _tables(db):
            columns = ", ".join(f'"{row[1]}"' for row in db.execute(f'PRAGMA main.table_info("{table}")'))
            db.execute(f'DELETE FROM main."{table}"')
            db.execute(f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM source."{table}"')
        db.execute("COMMIT")


def save(source: Path, target: Path) -> None:
    """Copy a database that a server has open into a file."""
    with closing(sqlite3.connect(source, timeout=30)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def _tables(db: sqlite3.Connection) -> list[str]:
    found = db.execute("SELECT name FROM source.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in found]


def change(database: Path, statement: str, *values: object) -> None:
    """Change rows behind a server's back, constraints or not; at least one has to change."""
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        changed = db.execute(statement, values).rowcount
    assert changed > 0, statement
