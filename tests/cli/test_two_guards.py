"""Two guards over one storage, as while a container is replaced by another: nothing of what either has is lost."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlmeta import open_snapshot
from mlmeta.commands.prune import prune
from mlmeta.errors import SnapshotNotFoundError
from mlmeta.schema import RUNS
from mlmeta.snapshot.retention import Rules
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


@pytest.fixture
def container(cli: Cli) -> Iterator[Make]:
    """Makes instances, by name and storage."""
    made: list[Instance] = []

    def make(name: str, storage: str) -> Instance:
        made.append(Instance(cli, name, storage))
        return made[-1]

    yield make
    for one in made:
        one.end()


class Instance:
    """A container: its own disk, and a guard of the store there."""

    def __init__(self, cli: Cli, name: str, storage: str) -> None:
        self.cli = cli
        self.name = name
        self.folder = cli.folder / name
        self.folder.mkdir()
        self.storage = storage
        self.store = self.folder / "mlflow.db"
        self.running: list[Running] = []

    def start(self, *more: str) -> Running:
        options = ("--store", f"sqlite:///{self.store}", "--storage", self.storage, "--label", "prod")
        pace = ("--rpo", "1s", "--start-period", "0s", "--grace", "5s", "--status-file", str(self.folder / "status"))
        running = self.cli.start("guard", *options, *pace, "--allow-none", *more, "--", *PYTHON, SLEEPS)
        self.running.append(running)
        return running

    def end(self) -> None:
        """Leave nothing behind, however a test ended."""
        for running in self.running:
            running.send(signal.SIGKILL)

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
        with contextlib.suppress(SnapshotNotFoundError):
            return any(one.run_id == run for one in open_snapshot(self.storage).records(RUNS))
        return False


Make = Callable[[str, str], Instance]


def ended(running: Running) -> str:
    running.send(signal.SIGTERM)
    done = running.wait()
    assert done.code == 0, done.err
    return done.err


def test_a_deploy(container: Make, cli: Cli, databases: Databases, bucket: str) -> None:
    """The old instance goes on to log while the new one runs, and a last time when it ends."""
    old, new = container("old", bucket), container("new", bucket)
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


def test_killed_at_once_and_turned_back(container: Make, cli: Cli, databases: Databases) -> None:
    """Two start at the same moment, the last one is killed and starts again, and then the first one does."""
    storage = str(cli.folder / "backups")
    seed, left, right = (container(name, storage) for name in ("seed", "left", "right"))
    databases.copy("empty", seed.store)
    seed.log("seed")
    seed.start("--restore", "never").wait_for("saved")
    running = {one.name: one.start() for one in (left, right)}
    until(lambda: {left.status["epoch"], right.status["epoch"]} == {2, 3})
    first, last = sorted((left, right), key=lambda one: int(one.status["epoch"]))
    last.log("of last")
    until(lambda: last.saved("of last"))
    first.log("of first")
    until(lambda: "of first" in last.runs)
    last.log("and more of last")
    until(lambda: last.saved("and more of last"))

    running[last.name].send(signal.SIGKILL)
    first.log("meanwhile")
    until(lambda: first.saved("meanwhile"))
    last.log("unsaved")
    again = last.start()
    until(lambda: "meanwhile" in last.runs)
    until(lambda: last.status["epoch"] == 4)
    again.wait_for("brought in")
    ended(again)
    assert last.runs == {"seed", "of first", "of last", "and more of last", "meanwhile", "unsaved"}
    ended(running[first.name])

    back = first.start()
    until(lambda: first.runs == last.runs)
    back.wait_for("brought in")
    first.log("final")
    ended(back)
    newest = open_snapshot(storage)
    assert newest.summary.epoch == 5
    assert {run.run_id for run in newest.records(RUNS)} == {*last.runs, "final"}
    kept = {one.timestamp: one.reason for one in prune(storage, Rules(last=1)).snapshots if one.keep}
    assert kept.pop(newest.timestamp) == "last 1"
    assert set(kept.values()) == {"the last guard goes on from it"}, "for a day; no other has what it has not"
