"""SQLite files: opened without doing harm, copied while others write into them, checked for damage, and given a WAL."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import NullPool

from mlmeta.errors import ConnectionFailedError, IncompatibleStoreError, MissingStoreError, TemporaryFolderError
from mlmeta.stores.sql import sqlite_copy
from mlmeta.temporary import scratch_folder

BUSY_SECONDS = 60
"""How long a database may be locked by somebody else before we give up."""

FROZEN = "ro&immutable=1"
"""The mode for a file that nobody changes: no lock is taken, and no file beside it is needed."""

_CACHE_KIB = 32 * 1024
"""Of SQLite's cache for a file that is filled: its indexes are, in no order."""
_SPARE = 16 * 1024 * 1024
"""Bytes that stay free in the folder for temporary files."""

MOST = 3
"""Faults that are told; more say no more."""
_OF_VALUES = ("NULL value in ", "NUMERIC value in ", "TEXT value in ")
"""Faults of rows that are read all the same."""
_STEPS = 200_000
"""Steps of SQLite's machine between two looks whether it shall stop."""

Problems = Callable[[], list[str]]
"""What is wrong, once that is known: waits for it."""


class FrozenConnection(sqlite3.Connection):
    """A connection to a database that can only be read as one that nobody changes."""


class Dialect(SQLiteDialect_pysqlite):
    """SQLAlchemy's own, one of which is as good as another: what it compiles for one engine, the next one has too.

    By default each engine compiles for itself, which takes longer than running the statements on a small store.
    """

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is Dialect

    def __hash__(self) -> int:
        return hash(Dialect)


registry.register("sqlite.mlmeta", __name__, Dialect.__name__)
_COMPILED: sa.util.LRUCache[Any, Any] = sa.util.LRUCache(500)


def engine_on(path: Path | None = None, creator: Callable[[], sqlite3.Connection] | None = None) -> Engine:
    """An engine on a SQLite file, without a pool.

    Args:
        path: of the file.
        creator: opens it, instead.
    """
    url = URL.create("sqlite+mlmeta", database=None if path is None else str(path))
    how = {} if creator is None else {"creator": creator}
    return sa.create_engine(url, poolclass=NullPool, execution_options={"compiled_cache": _COMPILED}, **how)


def file_uri(path: Path, mode: str) -> str:
    """A file for SQLite, whatever its name is.

    Args:
        path: of the file.
        mode: ``ro``, ``rw``, ``rwc`` or `FROZEN`.
    """
    return f"file://{urllib.parse.quote(os.fsencode(path.absolute()))}?mode={mode}"  # // for a path that has two, too


def sqlite_engine(path: Path, mode: str) -> Engine:
    """An engine on a SQLite file.

    The driver's own transactions are switched off (`isolation_level=None`): it would commit before some
    statements. Whoever uses the engine begins with a ``BEGIN`` of the wanted kind.
    """

    def opened() -> sqlite3.Connection:
        return open_to_read(path) if mode == "ro" else connect(path, mode)

    return engine_on(creator=opened)


@contextlib.contextmanager
def in_memory() -> Iterator[Connection]:
    """A connection to a database in memory, which goes with the block."""
    engine = sa.create_engine("sqlite://", hide_parameters=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def hasty_engine(path: Path) -> Engine:
    """An engine for a SQLite file that nobody else sees yet: it needs no journal, and no waiting for the disk."""
    engine = engine_on(path)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = OFF")
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        cursor.close()

    return engine


def scratch_engine(path: Path) -> Engine:
    """An engine for a SQLite file that is thrown away: it survives no crash, but statements can be taken back."""
    engine = engine_on(path)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = MEMORY")
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.close()

    return engine


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection for reading: where a database in WAL mode is on a read-only file system, a `FrozenConnection`.

    Raises:
        sqlite3.Error: it can't be read.
        IncompatibleStoreError: it can't be read there.
    """
    connection = connect(path, "ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if not _lacks_shared_memory(path, error):
            raise
        return connect(path, FROZEN, FrozenConnection)
    return connection


def connect(
    path: Path,
    mode: str,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
    *,
    patience: float = BUSY_SECONDS,
) -> sqlite3.Connection:
    """A connection without transactions of its own, for any thread; see `file_uri`."""
    return sqlite3.connect(
        file_uri(path, mode),
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )


def _lacks_shared_memory(path: Path, error: sqlite3.Error) -> bool:
    """Whether reading failed because the file beside a database in WAL mode can't be made.

    Raises:
        IncompatibleStoreError: there is a write-ahead log, which nothing can be read without.
    """
    refused = any(words in str(error) for words in ("readonly database", "unable to open database"))
    if not refused or not os.access(path, os.R_OK) or os.access(path.parent, os.W_OK) or _size(path, "-journal"):
        return False
    if _size(path, "-wal"):
        raise IncompatibleStoreError(
            f"sqlite:///{path} has a write-ahead log, which can't be read where nothing may be written",
            hint=f"copy it, and {path.name}-wal with it, into a folder that may be written, and read it there",
        )
    return True


def _size(path: Path, suffix: str) -> int:
    beside = path.with_name(path.name + suffix)
    return beside.stat().st_size if beside.exists() else 0


def is_wal(connection: Connection) -> bool:
    """Whether readers of a SQLite database are in nobody's way, as it has a write-ahead log."""
    return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal")


def is_frozen(connection: Connection) -> bool:
    """Whether a SQLite database could only be read as one that nobody changes."""
    return isinstance(connection.connection.dbapi_connection, FrozenConnection)


def require_file(path: Path) -> None:
    """See that a SQLite database is there and looks like one.

    Raises:
        MissingStoreError: there is no such file.
        IncompatibleStoreError: it is something else.
    """
    if not path.exists():
        raise MissingStoreError(
            f"there is no database at sqlite:///{path}", hint="check the path; mlmeta never creates a source"
        )
    if not path.is_file():
        raise IncompatibleStoreError(f"{path} is not a file", hint="name the SQLite file itself")


@contextlib.contextmanager
def copied(path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Two connections to a copy that has no name any more: it is gone with them, however the process ends."""
    require_file(path)
    with _folder_for(path) as folder:
        copy = folder / "copy.db"
        copy.touch(mode=0o600)
        _fill(path, copy)
        with contextlib.closing(connect(copy, FROZEN)) as one, contextlib.closing(connect(copy, FROZEN)) as other:
            for connection in (one, other):
                connection.execute("SELECT count(*) FROM sqlite_master")  # opens the file
            shutil.rmtree(folder)
            yield one, other


@contextlib.contextmanager
def _folder_for(path: Path) -> Iterator[Path]:
    """A new folder with room for a copy."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder())  # removes what killed ones left: there is more room then
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise _no_room(path, "", str(error.strerror or error)) from error
        if free < path.stat().st_size + _SPARE:
            raise _no_room(path, str(folder.parent), f"{_mib(free)} are free")
        yield folder


def _no_room(path: Path, folder: str, why: str) -> TemporaryFolderError:
    return TemporaryFolderError(
        f"no copy of sqlite:///{path} could be made in {folder or 'the folder for temporary files'}: {why}",
        hint=f"set TMPDIR to a folder that may be written, with at least {_mib(path.stat().st_size + _SPARE)} free",
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _fill(path: Path, copy: Path) -> None:
    words = (str(path.absolute()), file_uri(path, "ro"), str(copy), str(BUSY_SECONDS))
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-I", "-S", sqlite_copy.__file__, *words, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ConnectionFailedError(
            f"sqlite:///{path} could not be copied: {last or f'the copying process ended with {done.returncode}'}",
            hint="it is copied into TMPDIR, so that the server can go on writing: check that there is memory and room",
        )
    if done.stdout:
        said = json.loads(done.stdout)
        if "sqlite" in said:
            raise sqlite3.OperationalError(said["sqlite"])
        if said["file"] == words[0]:
            hint = "check that the file may be read" if said["errno"] else "try again"
            raise ConnectionFailedError(f"sqlite:///{path} can't be read: {said['text']}", hint=hint)
        raise _no_room(path, str(copy.parent.parent), said["text"])


@contextlib.contextmanager
def checked(connection: sqlite3.Connection | None) -> Iterator[Problems]:
    """Check a database for as long as a block lasts, in a thread: SQLite needs none of Python's locks for it.

    Args:
        connection: of the check's own, closed at the end; None: there is nothing to check.
    """
    if connection is None:
        yield list
        return
    stopped = threading.Event()
    connection.set_progress_handler(stopped.is_set, _STEPS)
    with ThreadPoolExecutor(1, thread_name_prefix="mlmeta-check") as executor:
        found = executor.submit(_problems, connection)
        try:
            yield found.result
        finally:
            stopped.set()
            connection.interrupt()
    connection.close()


def _problems(connection: sqlite3.Connection) -> list[str]:
    found: list[str] = []
    try:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for (text,) in connection.execute("PRAGMA integrity_check(1000000)"):
            found += [line for line in str(text).splitlines() if line != "ok" and not line.startswith(_OF_VALUES)]
            if len(found) >= MOST:
                break
    except sqlite3.DatabaseError as error:
        found.append(str(error))
    return found[:MOST]


_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_SHARED = re.compile(r"nfs\d?|fuse.*|cifs|smb\w*|9p|ceph|lustre|afs|gpfs|glusterfs|beegfs|vboxsf|prl_fs")
"""File systems that other machines may have mounted, too: a write-ahead log needs memory that all its users share."""
_WAL_PATIENCE = 0.2
"""Seconds to wait for writers: they are not to wait for this."""


def use_wal(path: Path) -> tuple[str, bool]:
    """Switch a file to a write-ahead log, unless it has one: readers and writers are in nobody's way then. It stays so.

    Args:
        path: of the file.

    Returns:
        Why it has none, and whether that stays so; empty: it has one.
    """
    path = path.resolve()
    kind = file_system(path.parent)
    if kind is None:
        return "its file system is unknown", True
    if _SHARED.fullmatch(kind):
        return f"it is on a file system of other machines ({kind})", True
    try:
        with contextlib.closing(connect(path, "rw", patience=_WAL_PATIENCE)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.Error as error:
        return str(error), False
    return ("", True) if mode == "wal" else (f"its journal stays {mode}", True)


def file_system(folder: Path) -> str | None:
    """The kind of file system that a folder is on, in Linux's words; None: that is unknown."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return None
    best: tuple[int, str] | None = None
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = Path(os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), before.split()[4])))
        if folder.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):  # the last one covers others
            best = (len(point.parts), after.split()[0].decode())
    return best[1] if best is not None else None
