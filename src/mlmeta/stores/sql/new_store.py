"""A SQLite store that appears when it is complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType

from sqlalchemy.engine import Connection

from mlmeta.scratch import remove_leftovers, scratch_folder
from mlmeta.stores.sql.database import Database
from mlmeta.stores.sql.schema import begin_store, hasty_engine


class NewFile:
    """Builds a store in a temporary folder beside its place, which it can be moved from.

    A context manager: left without `publish`, nothing remains; what restores that were killed have left is removed. As
    nobody else sees the file, it needs no journal.

    Args:
        database: whose file does not exist yet; a missing folder is made, as MLflow does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._final = database.path.resolve()  # a link stays a link
        self._path = Path()
        self._folder = contextlib.ExitStack()
        self._open: Connection | None = None

    def __enter__(self) -> NewFile:
        place = self._final.parent
        place.mkdir(parents=True, exist_ok=True)
        self._path = self._folder.enter_context(scratch_folder(place, _prefix(self._final))) / "store.db"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
        finally:
            self._folder.close()

    def connection(self) -> Connection:
        """A connection to the new store: MLflow's tables, without a row."""
        with self._database.errors():
            begin_store(self._path)
            self._open = hasty_engine(self._path).connect()
            return self._open

    def publish(self) -> bool:
        """Give the store its name, safely on disk. False where somebody else has made one meanwhile."""
        if self._open is not None:
            with self._database.errors():
                self._open.commit()
        self._close()
        _sync(self._path)
        if not _take_name(self._path, self._final):
            return False
        _sync(self._final.parent)
        return True

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open.engine.dispose()
            self._open = None


def remove_unfinished(database: Database) -> None:
    """Remove what restores into this file that were killed have left beside it."""
    final = database.path.resolve()
    remove_leftovers(final.parent, _prefix(final))


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _take_name(temporary: Path, path: Path) -> bool:
    """Move a file to a name that must be free."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: claim the name first, then put the file over the empty one
        with contextlib.suppress(FileExistsError), path.open("xb"):
            temporary.replace(path)
            return True
        return False
    return True


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
