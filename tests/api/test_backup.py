"""A backup of a real server holds what the server has."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import backup, open_snapshot
from mlmeta.errors import UsageError
from mlmeta.schema import EXPERIMENTS, METRICS, MODELS, RUNS
from tests.support.databases import Databases
from tests.support.reading import data_files, raw, stored, summary
from tests.support.server import Server


def test_everything_is_there(filled: Server, databases: Databases, tmp_path: Path) -> None:
    result = backup(filled.uri, [str(tmp_path)])
    assert result.exit_code == 0
    assert result.stats == {"experiments": 5, "runs": 8, "models": 3, "model_versions": 5, "metric_points": 76}
    snapshot = open_snapshot(str(tmp_path))
    names = {e.name: e.lifecycle_stage for e in snapshot.records(EXPERIMENTS)}
    assert names == {
        "Default": "active",
        "churn": "active",
        "größe 模型": "active",
        "abandoned": "deleted",
        "empty": "active",
    }
    runs = {run.run_name: run for run in snapshot.records(RUNS)}
    assert {name: run.run_id for name, run in runs.items()} == databases.content.runs
    assert (runs["deleted"].lifecycle_stage, runs["running"].status, runs["odd"].status) == (
        "deleted",
        "RUNNING",
        "FAILED",
    )
    assert runs["child-1"].tags["mlflow.parentRunId"] == databases.content.runs["parent"]
    assert runs["child-1"].params == {"lr": "0.1", "empty": ""}
    assert [i.dataset.name for i in runs["odd"].dataset_inputs] == ["test", "train"]
    assert (runs["child-1"].start_time, runs["child-1"].end_time) == (1_700_000_000_000, 1_700_000_100_001)
    histories = {(h.run_id, h.key): list(h.points()) for h in snapshot.records(METRICS)}
    assert len(histories[runs["child-1"].run_id, "loss"]) == 20
    models = {model.name: model for model in snapshot.records(MODELS)}
    assert [v.version for v in models["churn-model"].versions] == [1, 3, 4, 5]
    assert models["churn-model"].aliases == {"champion": 3, "challenger": 5}
    assert [v.current_stage for v in models["churn-model"].versions][:2] == ["Archived", "Production"]
    assert models["greeting"].tags["mlflow.prompt.is_prompt"] == "true"
    assert models["greeting"].versions[0].tags["mlflow.prompt.text"] == "Hello {{name}}"


def test_the_summary_tells_what_is_in_it(filled: Server, tmp_path: Path) -> None:
    result = backup(filled.uri, [str(tmp_path)])
    found = summary(tmp_path)
    assert found["backup_timestamp"] == result.timestamp
    assert found["mlflow_uri"] == filled.uri
    assert found["source_kind"] == "server"
    assert found["mlflow_server_version"]
    assert found["stats"] == result.stats
    assert {kind: len(raw(tmp_path, kind)) for kind in found["files"]} == {
        kind: entry["records"] for kind, entry in found["files"].items()
    }


@pytest.mark.parametrize("jobs", [1, 8])
def test_the_same_metadata_gives_the_same_bytes(filled: Server, tmp_path: Path, jobs: int) -> None:
    backup(filled.uri, [str(tmp_path / "one")], jobs=2)
    backup(filled.uri, [str(tmp_path / "other")], jobs=jobs)
    assert data_files(tmp_path / "one") == data_files(tmp_path / "other")


def test_an_empty_server_gives_a_snapshot(server: Server, tmp_path: Path) -> None:
    result = backup(server.uri, [str(tmp_path)])
    assert result.stats == {"experiments": 1, "runs": 0, "models": 0, "model_versions": 0, "metric_points": 0}
    assert raw(tmp_path, "runs") == raw(tmp_path, "models") == raw(tmp_path, "metrics") == []


def test_one_experiment_with_its_models(filled: Server, tmp_path: Path) -> None:
    result = backup(filled.uri, [str(tmp_path)], experiments=["churn"])
    snapshot = open_snapshot(str(tmp_path))
    assert [e.name for e in snapshot.records(EXPERIMENTS)] == ["churn"]
    assert {run.run_name for run in snapshot.records(RUNS)} == {"parent", "child-0", "child-1", "child-2", "deleted"}
    assert [model.name for model in snapshot.records(MODELS)] == ["churn-model"]
    assert summary(tmp_path)["experiments"] == ["churn"]
    assert result.experiments == ("churn",)


def test_a_deleted_experiment_can_be_named(filled: Server, tmp_path: Path) -> None:
    backup(filled.uri, [str(tmp_path)], experiments=["abandoned", "empty", "abandoned"])
    assert [row["name"] for row in raw(tmp_path, "experiments")] == ["abandoned", "empty"]
    assert [row["run_name"] for row in raw(tmp_path, "runs")] == ["gone"]
    assert raw(tmp_path, "models") == []


def test_an_experiment_that_is_not_there_is_wrong_usage(filled: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="chrun"):
        backup(filled.uri, [str(tmp_path)], experiments=["chrun"])
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_reads_all_and_writes_nothing(filled: Server, tmp_path: Path) -> None:
    result = backup(filled.uri, [str(tmp_path / "backups")], dry_run=True)
    assert result.stats["runs"] == 8
    assert list(tmp_path.iterdir()) == []


def test_a_read_changes_nothing_on_the_server(filled: Server, tmp_path: Path) -> None:
    before = [record.to_line() for record in stored(filled.backend)]
    backup(filled.uri, [str(tmp_path)])
    assert [record.to_line() for record in stored(filled.backend)] == before
