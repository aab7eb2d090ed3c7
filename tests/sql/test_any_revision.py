"""Stores of the first revisions of MLflow's schema (1.0 to 1.10), made by MLflow's own migrations up to there."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base

import mlmeta
from mlmeta.errors import ExitCode

REVISIONS = {
    "": "before alembic",
    "451aebb31d03": "metrics have steps: 1.0",
    "181f10493468": "metrics may be NaN",
    "df50e92ffc5e": "experiments have tags",
    "7ac759974ad8": "no latest metrics yet: 1.1",
    "89d4b8295536": "latest metrics",
    "2b4d017a5e9b": "a model registry: 1.4",
    "0a8213491aaa": "1.8, 1.9",
    "728d730b5ebd": "models have tags",
    "27a6a02d2cf1": "versions have tags: 1.10",
}
RUN = "a" * 32


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty store of each revision. Not to be changed."""
    folder = tmp_path_factory.mktemp("revisions")
    uri = f"sqlite:///{folder}/now.db"
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    for revision in REVISIONS:
        if revision:
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        shutil.copy(folder / "now.db", folder / f"{revision}.db")
    return folder


def fill(path: Path) -> set[str]:
    """A run with two points of a metric, and a model version where there are any; the names of the tables."""
    with closing(sqlite3.connect(path)) as db, db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        columns = {row[1] for row in db.execute("PRAGMA table_info(metrics)")}
        db.execute("INSERT INTO experiments VALUES (1, 'old', 's3://b/1', 'active')")
        db.execute(
            "INSERT INTO runs (run_uuid, name, source_type, status, start_time, end_time, lifecycle_stage, user_id,"
            " artifact_uri, experiment_id)"
            " VALUES (?, 'r', 'LOCAL', 'FINISHED', 1, 2, 'active', 'ann', 's3://b/1/r', 1)",
            (RUN,),
        )
        db.execute("INSERT INTO params (run_uuid, key, value) VALUES (?, 'lr', '0.1')", (RUN,))
        for number in (1, 2):
            db.execute(
                "INSERT INTO metrics (key, value, timestamp, run_uuid) VALUES ('m', ?, ?, ?)", (0.5, number, RUN)
            )
        if "step" in columns:
            db.execute("UPDATE metrics SET step = timestamp")
        if "latest_metrics" in tables:
            db.execute(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
                " VALUES ('m', 0.5, 2, 2, 0, ?)",
                (RUN,),
            )
        if "registered_models" in tables:
            db.execute("INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES ('churn', 1, 2)")
            db.execute(
                "INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage, source,"
                " run_id, status) VALUES ('churn', 1, 1, 2, 'Production', 's3://b/1/r/model', ?, 'READY')",
                (RUN,),
            )
    return tables


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_store_of_an_old_revision_is_saved_and_restored(
    revision: str, stores: Path, blank: Path, tmp_path: Path
) -> None:
    source, target = shutil.copy(stores / f"{revision}.db", tmp_path / "s.db"), shutil.copy(blank, tmp_path / "t.db")
    tables = fill(source)
    saved = mlmeta.backup(f"sqlite:///{source}", [str(tmp_path / "b")])
    assert (saved.exit_code, saved.skipped) == (ExitCode.DONE, ())
    models = int("registered_models" in tables)
    expected = {"experiments": 1, "runs": 1, "metric_points": 2, "models": models, "model_versions": models}
    assert {name: saved.stats[name] for name in expected} == expected
    (item,) = mlmeta.open_snapshot(str(tmp_path / "b")).runs_with_histories()
    step = 2 if revision else 0
    latest = item.run.metrics["m"]
    assert (latest.step, latest.timestamp, latest.value) == (step, 2, 0.5)
    assert mlmeta.verify(storage=str(tmp_path / "b")).exit_code == ExitCode.DONE
    assert mlmeta.restore(f"sqlite:///{target}", storage=str(tmp_path / "b")).exit_code == ExitCode.DONE
    again = mlmeta.backup(f"sqlite:///{target}", [str(tmp_path / "c")])
    for kind in ("runs", "metrics", "models"):
        assert again.files[kind].sha256 == saved.files[kind].sha256
