"""Server, database and file store: what a user sees of each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from mlmeta import backup, open_snapshot
from mlmeta.errors import MissingStoreError
from mlmeta.schema import METRICS, RUNS
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.reading import data_files, summary
from tests.support.server import Server

NOT_SHOWN_BY_THE_API = {"runs": ["deleted_time"], "models": [], "experiments": [], "metrics": []}


def _visible(folder: Path) -> dict[str, Any]:
    found = {kind: json.loads(content) for kind, content in data_files(folder).items()}
    for kind, columns in NOT_SHOWN_BY_THE_API.items():
        for record in found[kind]:
            for column in columns:
                record.pop(column)
    for model in found["models"]:
        for version in model["versions"]:
            version.pop("storage_location")
    return found


def test_server_and_database_give_the_same(filled: Server, tmp_path: Path) -> None:
    backup(filled.uri, [str(tmp_path / "server")])
    backup(filled.backend, [str(tmp_path / "database")])
    one, other = _visible(tmp_path / "server"), _visible(tmp_path / "database")
    for kind in one:
        assert one[kind] == other[kind]
    assert data_files(tmp_path / "server")["metrics"] == data_files(tmp_path / "database")["metrics"]
    assert summary(tmp_path / "database")["source_kind"] == "sqlite"


def test_a_database_read_twice_gives_the_same_bytes_and_is_not_touched(databases: Databases, tmp_path: Path) -> None:
    uri = databases.copy("filled", tmp_path / "mlflow.db")
    before = (tmp_path / "mlflow.db").read_bytes()
    backup(uri, [str(tmp_path / "one")])
    backup(uri, [str(tmp_path / "other")])
    assert data_files(tmp_path / "one") == data_files(tmp_path / "other")
    assert (tmp_path / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize(
    "uri", ["sqlite:///{0}/none.db", "sqlite:///{0}/no/folder.db", "{0}/mlruns", "file://{0}/runs"]
)
def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, uri: str) -> None:
    with pytest.raises(MissingStoreError) as caught:
        backup(uri.format(tmp_path), [str(tmp_path / "backups")])
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `./mlruns` folder with a run and a model, as MLflow's file store writes it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "mlruns"
    client = MlflowClient(str(folder))
    experiment = client.create_experiment("files", artifact_location="gs://bucket/files")
    run = client.create_run(experiment, start_time=1_700_000_000_000, run_name="first")
    points = [Metric("loss", 1 / (step + 1), 5 + step, step) for step in range(5)]
    client.log_batch(run.info.run_id, [*points, Metric("late", 1.0, 7, 0)], [Param("lr", "0.1")], [RunTag("a", "b")])
    (folder / experiment / run.info.run_id / "metrics" / "late").write_text("-7 1.0 0\n")  # as MLflow 1.x wrote any
    client.set_terminated(run.info.run_id, end_time=1_700_000_001_000)
    deleted = client.create_run(experiment, start_time=1_700_000_002_000, run_name="deleted")
    client.delete_run(deleted.info.run_id)
    client.create_registered_model("files-model")
    client.create_model_version("files-model", "gs://bucket/files/model", run_id=run.info.run_id, await_creation_for=0)
    return folder


@pytest.mark.parametrize("spelling", ["./mlruns", "mlruns", "{0}", "file://{0}"])
def test_a_file_store(file_store: Path, cli: Cli, spelling: str) -> None:
    done = cli("backup", "--tracking-uri", spelling.format(file_store), "--json", env={"MLFLOW_ALLOW_FILE_STORE": None})
    done.ok()
    assert done.data["stats"] == {
        "experiments": 2,
        "runs": 2,
        "models": 1,
        "model_versions": 1,
        "metric_points": 6,
    }
    snapshot = open_snapshot(str(cli.folder / "backups"))
    first, deleted = snapshot.records(RUNS)
    assert (first.run_name, first.params, first.end_time) == ("first", {"lr": "0.1"}, 1_700_000_001_000)
    assert deleted.lifecycle_stage == "deleted"
    assert [len(history.step) for history in snapshot.records(METRICS)] == [5]
    assert first.metrics["late"].timestamp == -7


def test_a_file_store_restores_into_a_server(file_store: Path, server: Server, cli: Cli) -> None:
    """The negative timestamp is what a server does not take: named, and the rest is there."""
    cli("backup", "--tracking-uri", str(file_store)).ok()
    done = cli("restore", "--timestamp", "latest", "--tracking-uri", server.uri, "--json").ended(3)
    (refused,) = done.data["refused"]
    assert refused["kind"] == "metric late (step 0, timestamp -7, value 1.0)"
    assert refused["reason"]
    (run,) = MlflowClient(server.uri).search_runs(
        [MlflowClient(server.uri).get_experiment_by_name("files").experiment_id]
    )
    assert run.data.params == {"lr": "0.1"}
    assert len(MlflowClient(server.uri).get_metric_history(run.info.run_id, "loss")) == 5
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
