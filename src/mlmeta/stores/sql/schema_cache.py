"""MLflow's schema, made by MLflow once and kept.

Importing MLflow and running its fifty migrations takes three seconds, which is longer than restoring most stores. Kept
are a blank SQLite store, and the statements that made the tables of a PostgreSQL database. Both are MLflow's own work,
and named after everything that decides their content, so they can't be out of date.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from mlmeta.errors import InternalError
from mlmeta.temporary import made_beside, scratch_folder

CACHE = Path("~/.cache/mlmeta")
"""Where they are kept. It may be removed at any time; where it can't be written, each use makes its own."""

_STALE = 3600
"""Seconds after which a file that is being made has no maker any more."""
_CONTENT = ("store/db_migrations", "store/tracking/dbmodels", "store/model_registry/dbmodels")
"""The parts of MLflow that say what its schema is."""


@contextlib.contextmanager
def blank_store(make: Callable[[Path], object], cache: Path = CACHE, revision: str = "") -> Iterator[Path]:
    """A SQLite store with MLflow's tables and no row, to be copied and not to be changed.

    Args:
        make: has MLflow make it.
        cache: the folder it is kept in.
        revision: of the schema; empty: the newest.
    """
    name = f"blank-{revision and f'{revision}-'}{_fingerprint(sqlite3.sqlite_version)}"
    found = kept(name, cache) or keep(name, make, cache)
    if found is not None:
        yield found
        return
    with scratch_folder() as once:
        path = Path(once) / "blank.db"
        make(path)
        yield path


def statements_name(dialect: str) -> str:
    """The name under which the statements are kept that make MLflow's tables.

    Args:
        dialect: the database, its version and its driver.
    """
    return f"statements-{_fingerprint(dialect)}"


def kept(name: str, cache: Path = CACHE) -> Path | None:
    """What is kept under a name, where its content still has the checksum that its file's name ends with."""
    with contextlib.suppress(OSError, RuntimeError):  # not readable, or a user without a home
        for path in cache.expanduser().glob(f"{name}-*"):
            if path.name.endswith(_checksum(path)):
                return path
            path.unlink()
    return None


def keep(name: str, make: Callable[[Path], object], cache: Path = CACHE) -> Path | None:
    """Keep what `make` writes; None where the folder can't be written, or has no space.

    Args:
        name: to find it by.
        make: writes the file.
        cache: the folder.
    """
    try:
        folder = cache.expanduser()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _tidy(folder)
        with made_beside(folder / name) as temporary:
            make(temporary)
            temporary.chmod(0o600)
            path = folder / f"{name}-{_checksum(temporary)}"
            temporary.replace(path)
            return path
    except (OSError, RuntimeError, SQLAlchemyError):  # read-only, full, or a user without a home
        return None


def _tidy(folder: Path) -> None:
    """Remove what killed processes left half-made."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _STALE:
                path.unlink()


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@functools.cache
def _fingerprint(database: str) -> str:
    """Of all that decides what MLflow's schema looks like in a database; MLflow itself is not imported.

    Asked for once a process: what is installed while it runs is not what it has imported.
    """
    versions = [f"{package} {importlib.metadata.version(package)}" for package in ("mlflow", "sqlalchemy", "alembic")]
    spec = importlib.util.find_spec("mlflow")
    if spec is None or not spec.submodule_search_locations:
        raise InternalError("the package mlflow is not installed")
    root = Path(spec.submodule_search_locations[0])
    files = sorted(path for part in _CONTENT for path in (root / part).rglob("*.py"))
    sizes = [f"{path.relative_to(root)} {path.stat().st_size}" for path in files]
    text = "\n".join((*versions, database, *sizes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def revision_of(path: Path) -> str:
    """The schema revision (alembic) of a blank store."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def statements_of(path: Path) -> list[str]:
    """The statements that make what a blank store holds, to be run in a transaction."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [line for line in connection.iterdump() if not line.startswith(("BEGIN ", "COMMIT;", "PRAGMA "))]


def copy_to(blank: Path, path: Path) -> None:
    """Begin a new store as a copy of a blank one."""
    try:
        with path.open("xb") as target, blank.open("rb") as source:
            shutil.copyfileobj(source, target)
    except OSError as error:  # of a write that finds no room, which does not say where
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from error
