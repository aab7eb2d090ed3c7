"""Whether a SQLite file is sound: found out beside the reading of it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

MOST = 3
"""Faults that are told; more say no more."""

_OF_VALUES = ("NULL value in ", "NUMERIC value in ", "TEXT value in ")
"""Faults of rows that are read all the same."""
_STEPS = 200_000
"""Steps of SQLite's machine between two looks whether it shall stop."""

Problems = Callable[[], list[str]]
"""What is wrong, once that is known: waits for it."""


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
