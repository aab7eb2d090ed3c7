"""The snapshot's Default experiment is not the one with the id 0; the target has the placeholder that MLflow makes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, digests


def snapshot_of_renamed(folder: Path, *, purged: bool) -> Snapshot:
    """Experiment 0 has another name, or is gone, and experiment 1 is called Default."""
    uri = f"sqlite:///{folder}/source.db"
    client = MlflowClient(uri)
    client.rename_experiment("0", "legacy")
    if not purged:
        client.create_run("0", start_time=1)
    client.create_run(client.create_experiment("Default", artifact_location="s3://b", tags={"k": "v"}), start_time=2)
    if purged:
        with contextlib.closing(sqlite3.connect(folder / "source.db")) as db, db:
            db.execute("DELETE FROM experiments WHERE experiment_id = 0")
    return backup(uri, folder / "snapshot")


@pytest.mark.parametrize("purged", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_it_arrives_as_it_was(kind: str, purged: bool, tmp_path: Path, postgres: Callable[[], str]) -> None:
    snapshot = snapshot_of_renamed(tmp_path, purged=purged)
    uri = f"sqlite:///{tmp_path}/target.db" if kind == "sqlite" else postgres()
    client = MlflowClient(uri)
    client.search_experiments()  # what starting a server leaves
    target = SqlTarget(uri)
    plan = target.plan(snapshot, ALL, QUIET)
    assert not plan.conflicts
    assert target.restore(snapshot, ALL, QUIET).created == plan.create
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    assert not any(target.restore(snapshot, ALL, QUIET).created.values())
    assert client.create_experiment("next") == "2"


def test_one_that_is_in_use_stays(tmp_path: Path) -> None:
    snapshot = snapshot_of_renamed(tmp_path, purged=True)
    uri = f"sqlite:///{tmp_path}/target.db"
    MlflowClient(uri).create_run("0")
    (conflict,) = [c for c in SqlTarget(uri).plan(snapshot, ALL, QUIET).conflicts if c.kind == "experiment"]
    assert conflict.reason == "its name 'Default' belongs to experiment 0"
