"""Reading a database for long without being in anybody's way.

Who reads a SQLite file that has a rollback journal (MLflow's default) keeps every writer from committing, and a server
gives up after 20 seconds. So such a file is copied first, as of one moment, and the copy is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import ConnectionFailedError, IncompatibleStoreError, MlmetaError, TemporaryFolderError
from mlmeta.scratch import scratch_folder
from mlmeta.stores.sql import sqlite_copy
from mlmeta.stores.sql.database import SQLITE, Database, require_sqlite_file
from mlmeta.stores.sql.soundness import Problems, checked
from mlmeta.stores.sql.sqlite import BUSY_SECONDS, FROZEN, connect, file_uri, is_frozen, is_wal, open_to_read

_SPARE = 16 * 1024 * 1024
"""Bytes that stay free in the folder for temporary files."""


@dataclass(frozen=True)
class Still:
    """A database that does not change while it is read.

    Args:
        connection: in a read-only transaction.
        problems: gives what is wrong with it.
        warning: what a person should know; empty: nothing.
    """

    connection: Connection
    problems: Problems = list
    warning: str = ""


@contextlib.contextmanager
def reading_still(database: Database, *, check: bool = False) -> Iterator[Still]:
    """Like `Database.reading`, for as long as it takes: writers go on.

    Args:
        database: to read.
        check: whether a SQLite file is checked meanwhile.

    Raises:
        MissingStoreError: the database does not exist; it is never created.
        ConnectionFailedError: it can't be read.
        TemporaryFolderError: there is no room for a copy.
    """
    if database.kind != SQLITE:
        with database.reading() as connection:
            yield Still(connection)
        return
    with database.reading() as connection:
        if is_wal(connection) or is_frozen(connection):
            checker = open_to_read(database.path) if check else None
            with checked(checker) as problems, _blamed_on_damage(database, problems):
                yield Still(connection, problems, _frozen(database) if is_frozen(connection) else "")
            return
    with database.errors(), _copied(database) as (reader, checker):
        engine = sa.create_engine("sqlite://", creator=lambda: reader, poolclass=sa.NullPool)
        with (
            checked(checker if check else None) as problems,
            _blamed_on_damage(database, problems),
            engine.connect() as connection,
        ):
            connection.exec_driver_sql("BEGIN")
            yield Still(connection, problems)


@contextlib.contextmanager
def _blamed_on_damage(database: Database, problems: Problems) -> Iterator[None]:
    """What a damaged file gives may be anything, such as a point of a run that nobody knows."""
    try:
        yield
    except MlmetaError:
        raise
    except Exception as error:
        if found := problems():
            raise IncompatibleStoreError(
                f"{database.shown} is damaged: {'; '.join(found)}",
                hint="restore an older copy or snapshot; `sqlite3 FILE .recover` saves what can be read",
            ) from error
        raise


def _frozen(database: Database) -> str:
    return (
        f"{database.shown} is in WAL mode where nothing may be written: it was read as a file that nobody changes, "
        "and what a server wrote meanwhile may be torn"
    )


@contextlib.contextmanager
def _copied(database: Database) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Two connections to a copy that has no name any more: it is gone with them, however the process ends."""
    require_sqlite_file(database)
    with _folder(database) as folder:
        copy = folder / "copy.db"
        copy.touch(mode=0o600)
        _fill(database, copy)
        with contextlib.closing(connect(copy, FROZEN)) as one, contextlib.closing(connect(copy, FROZEN)) as other:
            for connection in (one, other):
                connection.execute("SELECT count(*) FROM sqlite_master")  # opens the file
            shutil.rmtree(folder)
            yield one, other


@contextlib.contextmanager
def _folder(database: Database) -> Iterator[Path]:
    """A new folder with room for a copy."""
    size = database.path.stat().st_size
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder())  # removes what killed ones left: there is more room then
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise _no_room(database, "", str(error.strerror or error)) from error
        if free < size + _SPARE:
            raise _no_room(database, str(folder.parent), f"{_mib(free)} are free")
        yield folder


def _no_room(database: Database, folder: str, why: str) -> TemporaryFolderError:
    size = database.path.stat().st_size
    return TemporaryFolderError(
        f"no copy of {database.shown} could be made in {folder or 'the folder for temporary files'}: {why}",
        hint=f"set TMPDIR to a folder that may be written, with at least {_mib(size + _SPARE)} free",
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _fill(database: Database, copy: Path) -> None:
    words = (str(database.path.absolute()), file_uri(database.path, "ro"), str(copy), str(BUSY_SECONDS))
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-I", "-S", sqlite_copy.__file__, *words, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ConnectionFailedError(
            f"{database.shown} could not be copied: {last or f'the copying process ended with {done.returncode}'}",
            hint="it is copied into TMPDIR, so that the server can go on writing: check that there is memory and room",
        )
    if done.stdout:
        said = json.loads(done.stdout)
        if "sqlite" in said:
            raise sqlite3.OperationalError(said["sqlite"])
        if said["file"] == words[0]:
            hint = "check that the file may be read" if said["errno"] else "try again"
            raise ConnectionFailedError(f"{database.shown} can't be read: {said['text']}", hint=hint)
        raise _no_room(database, str(copy.parent.parent), said["text"])
