"""Copies a SQLite file that others write into, as of one moment: a process of its own, of the standard library alone.

Twice, so that writers wait for the shorter part only: first without a lock, which takes as long as it takes and may be
torn; then, under SQLite's shared lock, what is different is written again. Where little is, that is only reading.
SQLite's own backup begins anew whenever somebody else commits, or keeps the lock while it copies.

A process of its own, as closing a file takes away every lock that the process has on it, those of other threads, too:
https://www.sqlite.org/howtocorrupt.html, "POSIX advisory locks canceled by a separate thread doing close()".
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PART = 256 * 1024
"""Bytes that are compared at once: they stay in the processor's cache."""


def copy(source: Path, uri: str, target: Path, patience: float, parent: int) -> None:
    """Fill a copy.

    Args:
        source: a SQLite file with a rollback journal (not WAL).
        uri: of the same, for SQLite.
        target: an empty file.
        patience: seconds to wait for the lock.
        parent: the process that wants the copy.

    Raises:
        SystemExit: that one was killed.
        sqlite3.Error: the source can't be locked.
        OSError: a file can't be read or written.
    """
    with source.open("rb", buffering=0) as reading, target.open("r+b") as writing:
        while part := reading.read(_PART):
            writing.write(part)
            if os.getppid() != parent:
                raise SystemExit
        writing.flush()
        lock = sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None)
        lock.execute("BEGIN")
        lock.execute("SELECT count(*) FROM sqlite_master").fetchone()  # only a read takes the lock
        if lock.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            raise sqlite3.OperationalError("it was switched to WAL mode while it was read: try again")
        if not os.path.samestat(os.fstat(reading.fileno()), source.stat()):
            raise FileNotFoundError(0, "another file took its place while it was read", str(source))
        _amend(reading.fileno(), writing.fileno())
        lock.close()


def _amend(reading: int, writing: int) -> None:
    """Write again what is different. Two threads halve the time: what takes it needs none of Python's locks."""
    end = os.fstat(reading).st_size
    middle = end // 2 // _PART * _PART
    with ThreadPoolExecutor(2) as threads:
        halves = [threads.submit(_amend_between, reading, writing, *span) for span in ((0, middle), (middle, end))]
    for half in halves:
        half.result()
    os.ftruncate(writing, end)


def _amend_between(reading: int, writing: int, start: int, stop: int) -> None:
    wanted, found = bytearray(_PART), bytearray(_PART)
    while start < stop and (size := os.preadv(reading, [memoryview(wanted)[: stop - start]], start)):
        if os.preadv(writing, [memoryview(found)[:size]], start) < size or wanted != found:
            _write(writing, memoryview(wanted)[:size], start)
        start += size


def _write(writing: int, part: memoryview, start: int) -> None:
    while part:
        size = os.pwrite(writing, part, start)
        part, start = part[size:], start + size


def main(source: str, uri: str, target: str, patience: str, parent: str) -> None:
    """Copy, and tell as JSON what went wrong; nothing where all is well."""
    try:
        copy(Path(source), uri, Path(target), float(patience), int(parent))
    except sqlite3.Error as error:
        sys.stdout.write(json.dumps({"sqlite": str(error)}))
    except OSError as error:
        sys.stdout.write(json.dumps({"errno": error.errno, "text": error.strerror, "file": error.filename}))
    finally:
        if os.getppid() != int(parent):  # nobody needs the copy, and nobody else removes it now
            Path(target).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
