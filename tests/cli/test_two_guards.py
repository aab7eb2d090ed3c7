"""Two guards over one storage, as while a container is replaced by another: nothing of what either has is lost."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from mlmeta import list_snapshots, open_snapshot
from mlmeta.schema import RUNS
from mlmeta.storage import open_storage
from tests.cli.test_guard import PYTHON, SLEEPS, until
from tests.support.cli import Cli, Running
from tests.support.databases import Databases
from tests.support.gcs import running_emulator


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running_emulator() as emulator:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.uri)
        yield f"gs://{emulator.new_bucket()}/mlflow"


class Instance:
    """A container: its own disk, and a guard of the store there."""

    def __init__(self, cli: Cli, name: str, storage: str) -> None:
        self.cli = cli
        self.name = name
        self.folder = cli.folder / name
        self.folder.mkdir()
        self.storage = storage
        self.store = self.folder / "mlflow.db"

    def start(self, *more: str) -> Running:
        options = ("--store", f"sqlite:///{self.store}", "--storage", self.storage, "--label", "prod")
        pace = ("--rpo", "1s", "--start-period", "0s", "--grace", "5s", "--status-file", str(self.folder / "status"))
        return self.cli.start("guard", *options, *pace, "--allow-none", *more, "--", *PYTHON, SLEEPS)

    @property
    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "status").read_text())
        except FileNotFoundError:
            return {"epoch": 0}
        return found

    def log(self, *runs: str, points: int = 0) -> None:
        """Change the store as a server would."""
        with contextlib.closing(sqlite3.connect(self.store, timeout=20)) as db, db:
            for run in runs:
                values = (run, run, self.name)
                db.execute(
                    "INSERT OR IGNORE INTO runs (run_uuid, name, user_id, status, start_time, lifecycle_stage, "
                    "artifact_uri, experiment_id) VALUES (?, ?, ?, 'RUNNING', 1, 'active', 'gs://x', 0)",
                    values,
                )
                for step in range(points):
                    db.execute(
                        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, 1, 1, ?, ?, 0)",
                        (f"of {self.name}", run, step),
                    )

    def forget(self, run: str) -> None:
        with contextlib.closing(sqlite3.connect(self.store, timeout=20)) as db, db:
            db.execute("DELETE FROM runs WHERE run_uuid = ?", (run,))

    @property
    def runs(self) -> set[str]:
        with contextlib.closing(sqlite3.connect(self.store, timeout=20)) as db:
            return {run for (run,) in db.execute("SELECT run_uuid FROM runs")}

    def saved(self, run: str) -> bool:
        """Whether the newest snapshot has it, of whatever guard."""
        found = list_snapshots(self.storage).snapshots
        return bool(found) and any(one.run_id == run for one in open_snapshot(self.storage).records(RUNS))


def ended(running: Running) -> str:
    running.send(signal.SIGTERM)
    done = running.wait()
    assert done.code == 0, done.err
    return done.err


def test_a_deploy(cli: Cli, databases: Databases, bucket: str) -> None:
    """The old instance goes on to log while the new one runs, and a last time when it ends."""
    old, new = Instance(cli, "old", bucket), Instance(cli, "new", bucket)
    databases.copy("empty", old.store)
    old.log("before", "removed")
    first = old.start()
    until(lambda: old.saved("removed") and old.status["epoch"] == 1)

    second = new.start("--storage", str(cli.folder / "copy"))
    until(lambda: new.status["epoch"] == 2)
    assert new.runs == {"before", "removed"}
    new.forget("removed")
    new.log("before", "of new", points=2)
    first.wait_for("guard 2 on")
    until(lambda: old.status["superseded"])
    assert not new.status["superseded"]

    old.log("before", "late", points=3)
    until(lambda: "late" in new.runs)
    second.wait_for("brought in")
    assert new.runs == {"before", "late", "of new"}, "what was removed stays so"
    first.send(signal.SIGTERM)
    old.log("last")
    done = first.wait()
    assert (done.code, done.err.count("has taken over")) == (0, 1), done.err
    until(lambda: new.runs == {"before", "late", "last", "of new"})
    told = ended(second)
    assert new.status["superseded"] is False
    assert "could not" not in told
    newest = open_snapshot(bucket)
    assert (newest.summary.epoch, newest.summary.includes[1] > "2") == (2, True)
    assert {run.run_id for run in newest.records(RUNS)} == new.runs
    with contextlib.closing(sqlite3.connect(new.store)) as db:
        query = "SELECT key, count(*) FROM metrics WHERE run_uuid = 'before' GROUP BY key"
        assert dict(db.execute(query)) == {"of new": 2, "of old": 3}
    names = {file.name for file in open_storage(bucket).files()}
    assert {name for name in names if name.startswith("guard_")} == {"guard_1.json", "guard_2.json"}
