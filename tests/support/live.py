"""A SQLite file that somebody writes into all the time."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def writing(database: Path, write: Callable[[sqlite3.Connection, int], None], every: float) -> Iterator[list[float]]:
    """Commit again and again, in MLflow's default journal mode, for as long as the block lasts.

    Args:
        database: the file.
        write: writes what is committed; told how many commits there were.
        every: seconds between two commits.

    Yields:
        How long each commit took: what a reader makes a writer wait.
    """
    took: list[float] = []
    stop = threading.Event()

    def commit() -> None:
        with closing(sqlite3.connect(database, timeout=120, isolation_level=None)) as db:
            while not stop.wait(every):
                began = time.monotonic()
                db.execute("BEGIN IMMEDIATE")
                write(db, len(took))
                db.execute("COMMIT")
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()
