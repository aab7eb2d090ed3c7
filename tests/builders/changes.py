"""What happens to a store between two backups, as MLflow does it, straight in its database."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

_NOW = 1_760_000_000_000
_STATEMENTS = {
    "tag": ("INSERT OR REPLACE INTO tags (run_uuid, key, value) VALUES (?, 'seen', 'yes')",),
    "delete": ("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?",),
    "purge": tuple(
        f"DELETE FROM {table} WHERE run_uuid = ?" for table in ("metrics", "latest_metrics", "params", "tags", "runs")
    ),
}


def change_store(database: Path, seed: int, *, behind_ended_runs: bool) -> None:
    """Change about half of the runs: points, tags, ends, deletions; and add a run.

    Args:
        database: a SQLite store.
        seed: which changes.
        behind_ended_runs: whether points are added to ended runs behind their latest step as well.
    """
    chance = random.Random(seed)
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        for run_id, status, end in db.execute("SELECT run_uuid, status, end_time FROM runs").fetchall():
            ended = status in {"FINISHED", "FAILED", "KILLED"} and end is not None
            what = chance.choice(["nothing", "nothing", "points", "points", "tag", "end", "delete", "purge"])
            if what == "points":
                for key in ("loss", "metric_00", "n\"e'w\\"):
                    step = chance.choice([None, None, -7, 3]) if behind_ended_runs or not ended else None
                    _add_point(db, run_id, key, step, chance.random())
            elif what == "end" and not ended:
                db.execute("UPDATE runs SET status = 'FINISHED', end_time = ? WHERE run_uuid = ?", (_NOW, run_id))
            elif what in _STATEMENTS:
                for statement in _STATEMENTS[what]:
                    db.execute(statement, (run_id,))
        _add_run(db, f"ffff{seed:028x}", chance)


def _add_point(db: sqlite3.Connection, run_id: str, key: str, step: int | None, value: float) -> None:
    """A point at a step, or behind the latest one: into the history, and as the latest where it is."""
    rows = db.execute("SELECT step, timestamp FROM latest_metrics WHERE run_uuid = ? AND key = ?", (run_id, key))
    latest = rows.fetchone()
    if step is None:
        step = latest[0] + 1 if latest and latest[0] < 2**60 else 0
    row = (run_id, key, step, _NOW, value, False)
    if db.execute(
        "SELECT 1 FROM metrics WHERE run_uuid = ? AND key = ? AND step = ? AND timestamp = ?", row[:4]
    ).fetchone():
        return
    columns = "(run_uuid, key, step, timestamp, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
    db.execute(f"INSERT INTO metrics {columns}", row)
    if latest is None or (step, _NOW) > tuple(latest):
        db.execute(f"INSERT OR REPLACE INTO latest_metrics {columns}", row)


def _add_run(db: sqlite3.Connection, run_id: str, chance: random.Random) -> None:
    (experiment,) = db.execute("SELECT min(experiment_id) FROM experiments").fetchone()
    db.execute(
        "INSERT INTO runs (run_uuid, experiment_id, name, user_id, status, lifecycle_stage, start_time, artifact_uri)"
        " VALUES (?, ?, 'new', 'ada', 'RUNNING', 'active', ?, 'gs://bucket/new')",
        (run_id, experiment, chance.choice([0, 5, _NOW])),
    )
    for number in range(3):
        _add_point(db, run_id, "loss", number, chance.random())
