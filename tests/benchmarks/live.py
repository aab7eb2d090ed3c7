"""How long a server waits for a backup of its SQLite file: the slowest commit of a writer beside it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

EVERY = 0.02
"""Seconds between two commits."""


@contextlib.contextmanager
def writing(database: Path) -> Iterator[list[float]]:
    """A writer that commits a metric point every 20 ms, in MLflow's default journal mode; how long each commit took."""
    took: list[float] = []
    stop = threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=120, isolation_level=None)) as db:
            (run,) = db.execute("SELECT run_uuid FROM runs LIMIT 1").fetchone()
            while not stop.wait(EVERY):
                began = time.monotonic()
                db.execute("BEGIN IMMEDIATE")
                db.execute(
                    "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
                    " VALUES ('live', 1, 1, ?, ?, 0)",
                    (run, time.time_ns()),
                )
                db.execute("UPDATE runs SET end_time = ? WHERE run_uuid = ?", (len(took), run))
                db.execute("COMMIT")
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()
