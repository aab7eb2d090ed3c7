"""Logged models: the same through the API and from the database, and back into any database as they were."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import verify
from mlmeta.errors import ConflictError
from mlmeta.schema import Experiment, LoggedModel, LoggedModelMetric, Run, Selection
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.exporter import ApiSource
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.target import RestoreOptions
from tests.builders.snapshots import snapshot_of
from tests.builders.stores import add_logged_models
from tests.sql.helpers import ALL, QUIET, assert_proven, backup, digests, lines, records_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with logged models in two experiments, one of them deleted. Not to be changed."""
    path = tmp_path_factory.mktemp("logged") / "mlflow.db"
    add_logged_models(f"sqlite:///{path}")
    return path


def models(records: object) -> list[LoggedModel]:
    return [record for record in records if isinstance(record, LoggedModel)]  # type: ignore[attr-defined]


def test_what_is_read(made: Path) -> None:
    found = models(records_of(f"sqlite:///{made}"))
    assert [model.name for model in found] == ["forest", "ünï", "gone", "other"]
    forest = found[0]
    assert forest.status == "READY"
    assert forest.params == {"depth": "3", "empty": ""}
    assert forest.tags["team"] == "growth"
    assert [(m.key, m.value, m.step, m.dataset_name) for m in forest.metrics] == [
        ("auc", 0.5, 1, None),
        ("auc", 0.75, 2, "train"),
        ("loss", 0.1 + 0.2, 0, None),
    ]
    assert forest.source_run_id == forest.metrics[0].run_id
    assert found[2].lifecycle_stage == "deleted"


def test_the_api_gives_the_same_but_for_deleted_ones(made: Path) -> None:
    uri = f"sqlite:///{made}"
    source = ApiSource(Connection(uri))
    through_api = models(source.read(ALL, QUIET))
    source.close()
    shown = [model for model in models(records_of(uri)) if model.lifecycle_stage == "active"]
    assert lines(through_api) == lines(shown)


def test_many_pages_in_order(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("many", "gs://bucket/many")
    for number in range(105):
        client.create_logged_model(experiment, f"model-{number}")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as db, db:
        db.execute("UPDATE logged_models SET creation_timestamp_ms = 7 WHERE name > 'model-5'")
    source = ApiSource(Connection(uri))
    found = models(source.read(ALL, QUIET))
    source.close()
    assert lines(found) == lines(models(records_of(uri)))
    assert len(found) == 105


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_they_come_back_as_they_were(made: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    uri = request.getfixturevalue("postgres")() if kind == "postgresql" else f"sqlite:///{tmp_path}/new.db"
    snapshot = backup(f"sqlite:///{made}", tmp_path / "a")
    assert snapshot.summary.stats["logged_models"] == 4
    target = SqlTarget(uri)
    report = target.restore(snapshot, ALL, QUIET)
    assert report.created["logged models"] == 4
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    assert_proven(uri, snapshot)
    assert target.restore(snapshot, ALL, QUIET).created == {}
    assert MlflowClient(uri).get_logged_model(models(records_of(uri))[0].model_id).name == "forest"


def test_rows_are_those_that_mlflow_wrote(made: Path, tmp_path: Path) -> None:
    SqlTarget(f"sqlite:///{tmp_path}/new.db").restore(backup(f"sqlite:///{made}", tmp_path / "a"), ALL, QUIET)
    for table in ("logged_models", "logged_model_params", "logged_model_tags", "logged_model_metrics"):
        # the ids of datasets are no part of a snapshot
        assert rows(tmp_path / "new.db", table) == rows(made, table), table


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "dataset_uuid"]
        return sorted(db.execute(f"SELECT {', '.join(names)} FROM {table}"), key=repr)


def test_another_content_under_the_same_id_is_a_conflict(made: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(made, tmp_path / 'store.db')}"
    snapshot = backup(uri, tmp_path / "a")
    with closing(sqlite3.connect(tmp_path / "store.db")) as db, db:
        db.execute("UPDATE logged_models SET model_type = 'other' WHERE name = 'forest'")
    with pytest.raises(ConflictError, match="logged model m-"):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    report = SqlTarget(uri, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)
    assert [refusal.kind for refusal in report.refused] == ["logged model"]
    assert report.present["logged models"] == 3


def test_a_selection_and_a_moved_bucket(made: Path, tmp_path: Path) -> None:
    snapshot = backup(f"sqlite:///{made}", tmp_path / "a")
    target = SqlTarget(f"sqlite:///{tmp_path}/new.db", RestoreOptions(rewrite=(("gs://bucket", "gs://moved"),)))
    selection = Selection(experiments=("first",))
    plan = target.plan(snapshot, selection, QUIET)
    assert plan.create["logged models"] == 3
    assert "3 logged models" in plan.notes[0]
    target.restore(snapshot, selection, QUIET)
    found = models(records_of(f"sqlite:///{tmp_path}/new.db"))
    assert [model.name for model in found] == ["forest", "ünï", "gone"]
    assert all((model.artifact_location or "").startswith("gs://moved/first/models/m-") for model in found)


def test_metrics_of_runs_that_are_not_there(tmp_path: Path, postgres: Callable[[], str]) -> None:
    """A foreign key keeps them out; the rest arrives, and they are named. A drill finds nothing wrong with that."""
    metrics = [LoggedModelMetric(key="auc", value=0.5, timestamp=1, run_id=run) for run in ("here", "elsewhere")]
    model = LoggedModel(
        model_id="m-1",
        experiment_id="1",
        name="m",
        creation_timestamp=1,
        last_updated_timestamp=1,
        status="READY",
        metrics=tuple(metrics),
    )
    run = Run(run_id="here", experiment_id="1", status="FINISHED", start_time=1)
    snapshot = snapshot_of([Experiment(experiment_id="1", name="e"), run, model], tmp_path)
    uri = postgres()
    report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert report.created["logged models"] == 1
    (refusal,) = report.refused
    assert (refusal.concerned, refusal.field) == ((("logged model", "m-1"),), "metrics")
    (found,) = models(records_of(uri))
    assert [metric.run_id for metric in found.metrics] == ["here"]
    tried = verify(storage=str(tmp_path), with_drill=True)
    assert tried.exit_code == 0, tried.issues
    assert any("metrics of logged model m-1 are from run elsewhere" in notice for notice in tried.warnings)
