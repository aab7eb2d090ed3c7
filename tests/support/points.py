"""Long metric histories, put straight into a server's database: through its API they would take minutes."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from mlmeta.schema import Point, canonical


def add_history(database: Path, run_id: str, key: str, points: Iterable[Point]) -> list[Point]:
    """Store a metric's points as MLflow does: each once, the latest one also in `latest_metrics`.

    Returns:
        What a backup has to give: the points in canonical order.
    """
    found = canonical(points)
    rows = [(run_id, key, step, timestamp, *_stored(value)) for step, timestamp, value in found]
    columns = "(run_uuid, key, step, timestamp, value, is_nan)"
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        db.executemany(f"INSERT INTO metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.execute(f"INSERT INTO latest_metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", rows[-1])
    return found


def _stored(value: float) -> tuple[float, bool]:
    return (0.0, True) if math.isnan(value) else (value, False)
