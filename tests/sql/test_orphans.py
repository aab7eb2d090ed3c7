"""Rows whose parent is gone: named where MLflow still shows them, told of where it doesn't, and never in the way."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

import mlmeta
from mlmeta.errors import ExitCode

NAMED = {
    "runs": ("DELETE FROM experiments WHERE name = 'gone'", ["run", "logged model"], "its experiment 1 is gone"),
    "runs of no experiment": ("UPDATE runs SET experiment_id = NULL", ["run"], "its experiment NULL is gone"),
    "model versions": ("DELETE FROM registered_models", ["model version"], "its registered model 'churn' is gone"),
}
TOLD = {
    "params of runs": ("params", "run_uuid", "1 params belong to runs that are gone"),
    "tags of runs": ("tags", "run_uuid", "2 tags belong to runs that are gone"),
    "metrics of runs": ("latest_metrics", "run_uuid", "1 metrics belong to runs that are gone"),
    "tags of experiments": (
        "experiment_tags",
        "experiment_id",
        "1 experiment tags belong to experiments that are gone",
    ),
    "tags of logged models": ("logged_model_tags", "model_id", "1 tags belong to logged models that are gone"),
    "params of logged models": ("logged_model_params", "model_id", "1 params belong to logged models that are gone"),
    "tags of models": ("registered_model_tags", "name", "1 tags belong to registered models that are gone"),
    "aliases": ("registered_model_aliases", "name", "1 aliases belong to registered models that are gone"),
    "tags of versions": ("model_version_tags", "name", "1 version tags belong to registered models that are gone"),
}
SILENT = {
    "inputs": "UPDATE inputs SET destination_id = 'gone'",
    "datasets": "DELETE FROM inputs",
    "inputs without dataset": "DELETE FROM datasets",
    "input tags": "UPDATE input_tags SET input_uuid = 'gone'",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, blank: Path) -> Path:
    path = Path(shutil.copy(blank, tmp_path_factory.mktemp("orphans") / "good.db"))
    client = MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}")
    experiment = client.create_experiment("gone", artifact_location="s3://b/e", tags={"owner": "ann"})
    run = client.create_run(experiment, start_time=1, tags={"team": "a"}).info.run_id
    client.log_batch(run, [Metric("loss", 0.5, 1, 1)], [Param("lr", "0.1")])
    client.log_inputs(run, [DatasetInput(Dataset("d", "abc", "local", "{}"), [InputTag("context", "train")])])
    client.create_logged_model(experiment, "m", run, {"t": "v"}, {"p": "v"})
    client.create_registered_model("churn", tags={"k": "v"})
    client.create_model_version("churn", "s3://b/m", run, tags={"k": "v"})
    client.set_registered_model_alias("churn", "champion", "1")
    return path


def changed(good: Path, tmp_path: Path, *statements: str) -> str:
    path = shutil.copy(good, tmp_path / "s.db")
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0
    return f"sqlite:///{path}"


def restores(tmp_path: Path, blank: Path) -> bool:
    target = shutil.copy(blank, tmp_path / "t.db")
    assert mlmeta.verify(storage=str(tmp_path / "b")).exit_code == ExitCode.DONE
    return mlmeta.restore(f"sqlite:///{target}", storage=str(tmp_path / "b")).exit_code == ExitCode.DONE


@pytest.mark.parametrize("case", NAMED)
def test_what_mlflow_still_shows_is_named(case: str, good: Path, blank: Path, tmp_path: Path) -> None:
    change, kinds, reason = NAMED[case]
    uri = changed(good, tmp_path, change)
    saved = mlmeta.backup(uri, [str(tmp_path / "b")])
    assert saved.exit_code == ExitCode.INCOMPLETE
    assert [one.kind for one in saved.skipped] == kinds
    assert all(reason in one.reason for one in saved.skipped)
    assert restores(tmp_path, blank)
    compared = mlmeta.diff("latest", storage=str(tmp_path / "b"), tracking_uri=uri)
    assert (compared.exit_code, [one.kind for one in compared.unread]) == (ExitCode.INCOMPLETE, kinds)


@pytest.mark.parametrize("case", TOLD)
def test_what_mlflow_shows_to_nobody_is_told_of(case: str, good: Path, blank: Path, tmp_path: Path) -> None:
    table, column, sentence = TOLD[case]
    saved = mlmeta.backup(changed(good, tmp_path, f"UPDATE {table} SET {column} = 77"), [str(tmp_path / "b")])
    assert (saved.exit_code, saved.skipped) == (ExitCode.DONE, ())
    assert saved.warnings == (f"{sentence}: MLflow shows them nowhere",)
    assert restores(tmp_path, blank)


@pytest.mark.parametrize("case", SILENT)
def test_what_mlflow_gc_leaves_behind_is_no_news(case: str, good: Path, blank: Path, tmp_path: Path) -> None:
    saved = mlmeta.backup(changed(good, tmp_path, SILENT[case]), [str(tmp_path / "b")])
    assert (saved.exit_code, saved.skipped, saved.warnings) == (ExitCode.DONE, (), ())
    assert restores(tmp_path, blank)


def test_of_many_orphans_twenty_are_named(good: Path, tmp_path: Path) -> None:
    numbers = ", ".join(f"('r{number:04}', 77)" for number in range(1000))
    uri = changed(good, tmp_path, f"INSERT INTO runs (run_uuid, experiment_id) VALUES {numbers}")
    saved = mlmeta.backup(uri, [str(tmp_path / "b")])
    assert len(saved.skipped) == 21
    assert saved.skipped[-1].reason == "980 more like that"
