"""After `mlflow gc`, which leaves rows behind of what it removes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.cli import cli as mlflow_cli
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, Metric
from mlflow.tracking._tracking_service import utils as tracking

from mlmeta import Selection, restore
from mlmeta.errors import ConflictError, ExitCode
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, digests

KINDS = ["sqlite", "postgresql", "mysql"]
CASES = ("a dataset", "a logged model", "neither")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run for each of `CASES` and one that uses them all, made by MLflow itself. Not to be changed."""
    folder = tmp_path_factory.mktemp("original")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("churn", artifact_location=f"file://{folder}/artifacts", tags={"team": "red"})
    runs = {name: _run(client, experiment, name) for name in (*CASES, "all")}
    for name in ("a dataset", "all"):
        client.log_inputs(runs[name], [_dataset("train", "training"), _dataset("test", "eval")])
    model = client.create_logged_model(experiment, "clf", runs["a logged model"], {"a": "b"}, {"depth": "3"}).model_id
    client.log_outputs(runs["a logged model"], [LoggedModelOutput(model, 3)])
    client.log_inputs(runs["all"], models=[LoggedModelInput(model)])
    for name in ("a logged model", "all"):
        for step in range(3):
            client.log_metric(runs[name], "f1", 0.5 + step, 1000 + step, step, model_id=model)
    client.finalize_logged_model(model, "READY")
    return folder


def _run(client: MlflowClient, experiment: str, name: str) -> str:
    run_id: str = client.create_run(experiment, start_time=1000, run_name=name, tags={"mlflow.user": "ann"}).info.run_id
    client.log_batch(run_id, [Metric("loss", 1 / (n + 1), n, n) for n in range(5)])
    client.log_param(run_id, "lr", "0.1")
    client.set_terminated(run_id, "FINISHED", 2000)
    return run_id


def _dataset(name: str, context: str) -> DatasetInput:
    return DatasetInput(Dataset(name, "abc", "local", "{}", "{}", "{}"), [InputTag("mlflow.data.context", context)])


@pytest.fixture
def snapshot(original: Path) -> Snapshot:
    if not (original / "backups").exists():
        return backup(f"sqlite:///{original}/mlflow.db", original / "backups")
    from mlmeta.stores.opening import open_snapshot

    return open_snapshot(str(original / "backups"))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mlflow gc` sets the tracking URI of the process, and of the environment that commands inherit."""
    monkeypatch.setattr(tracking, "_tracking_uri", tracking._tracking_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(params=KINDS)
def uri(
    request: pytest.FixtureRequest,
    original: Path,
    snapshot: Snapshot,
    tmp_path: Path,
    emptied: Callable[[str], str],
) -> str:
    """A database with the content of the original."""
    kind = request.param
    if kind == "sqlite":
        shutil.copy(original / "mlflow.db", tmp_path / "mlflow.db")
        found = f"sqlite:///{tmp_path}/mlflow.db"
    else:
        found = emptied(kind)
        SqlTarget(found).restore(snapshot, ALL, QUIET)
    return found


def gc(uri: str, *arguments: str) -> str:
    done = CliRunner().invoke(mlflow_cli, ["gc", "--backend-store-uri", uri, "--tracking-uri", uri, *arguments])
    assert done.exit_code == 0, done.output
    return str(done.output)


def runs_of(uri: str) -> dict[str, str]:
    """Ids of all runs by name."""
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("churn")
    return {run.info.run_name: run.info.run_id for run in client.search_runs([experiment.experiment_id])}


def delete_run(uri: str, name: str) -> None:
    MlflowClient(uri, uri).delete_run(runs_of(uri)[name])


def restored(uri: str, snapshot: Snapshot, **ways: Any) -> Any:
    """The result of a restore, after that of its plan, which must have foreseen it."""
    storage = snapshot.storage.location
    planned = restore(uri, "latest", storage, dry_run=True, **ways)
    result = restore(uri, "latest", storage, **ways)
    assert planned.exit_code == result.exit_code
    assert planned.plan is not None
    assert planned.plan.create == result.created
    assert planned.plan.present == result.present
    assert planned.plan.undelete == result.undeleted
    return result


@pytest.mark.parametrize(
    ("uri", "case"), [*(("sqlite", case) for case in CASES), *((kind, "all") for kind in KINDS)], indirect=["uri"]
)
def test_a_run_comes_back(uri: str, snapshot: Snapshot, tmp_path: Path, case: str) -> None:
    delete_run(uri, case)
    gc(uri)
    assert case not in runs_of(uri)
    result = restored(uri, snapshot)
    assert result.exit_code is ExitCode.DONE
    expected = {"runs": 1}
    if case in {"a logged model", "all"}:
        expected["logged model metrics"] = 3
    assert result.created == expected
    assert result.plan.changed == {}
    assert_is_whole(uri, snapshot, tmp_path)


def test_one_run_comes_back_and_another_stays_gone(uri: str, snapshot: Snapshot) -> None:
    wanted = runs_of(uri)["all"]
    for name in ("all", "a dataset"):
        delete_run(uri, name)
    gc(uri)
    result = restored(uri, snapshot, selection=Selection(runs=wanted[:20]))
    assert (result.exit_code, result.created) == (ExitCode.DONE, {"runs": 1, "logged model metrics": 3})
    assert set(runs_of(uri)) == {"all", "a logged model", "neither"}


def assert_is_whole(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    """Everything is there, for MLflow and to the byte; and once."""
    client = MlflowClient(uri, uri)
    runs = {name: client.get_run(run_id) for name, run_id in runs_of(uri).items()}
    assert set(runs) == {*CASES, "all"}
    assert all(len(client.get_metric_history(run.info.run_id, "loss")) == 5 for run in runs.values())
    assert {i.dataset.name: i.tags[0].value for i in runs["a dataset"].inputs.dataset_inputs} == {
        "train": "training",
        "test": "eval",
    }
    (model,) = client.search_logged_models([runs["all"].info.experiment_id])
    assert [(m.model_id, m.step) for m in runs["a logged model"].outputs.model_outputs] == [(model.model_id, 3)]
    assert len(model.metrics) == 6
    assert digests(backup(uri, tmp_path / "again")) == digests(snapshot)
    assert not any(SqlTarget(uri).restore(snapshot, ALL, QUIET).created.values())


def test_an_experiment_comes_back(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    client = MlflowClient(uri, uri)
    client.delete_experiment(client.get_experiment_by_name("churn").experiment_id)
    gc(uri)
    assert client.get_experiment_by_name("churn") is None
    result = restored(uri, snapshot)
    assert result.exit_code is ExitCode.DONE
    assert result.created["experiments"] == 1
    assert result.created["runs"] == 4
    assert_is_whole(uri, snapshot, tmp_path)
    client.delete_experiment(client.get_experiment_by_name("churn").experiment_id)  # with rows that a restore made
    gc(uri)
    assert restored(uri, snapshot).exit_code is ExitCode.DONE
    assert_is_whole(uri, snapshot, tmp_path)


def test_what_gc_spared_is_deleted_and_can_become_active(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    delete_run(uri, "all")
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE runs SET deleted_time = 5 WHERE lifecycle_stage = 'deleted'"))
    delete_run(uri, "a dataset")
    assert gc(uri, "--older-than", "1d").count("permanently deleted") == 1
    first = restored(uri, snapshot)
    assert first.exit_code is ExitCode.INCOMPLETE
    assert first.created == {"runs": 1, "logged model metrics": 3}
    (issue,) = first.issues
    assert issue.code == "deleted_in_target"
    assert "deleted in the target" in issue.message
    assert "--undelete" in issue.hint
    second = restored(uri, snapshot, undelete=True)
    assert second.exit_code is ExitCode.DONE
    assert second.undeleted == {"runs": 1}
    assert_is_whole(uri, snapshot, tmp_path)


def test_a_logged_model_that_gc_removed_comes_back(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    client = MlflowClient(uri, uri)
    (model,) = client.search_logged_models([client.get_experiment_by_name("churn").experiment_id])
    client.delete_logged_model(model.model_id)
    gc(uri)
    assert restored(uri, snapshot).created == {"logged models": 1}
    assert_is_whole(uri, snapshot, tmp_path)


OTHER = {
    "a dataset": "UPDATE input_tags SET value = 'x' WHERE input_uuid IN"
    " (SELECT input_uuid FROM inputs WHERE destination_id = :run)",
    "a logged model": "UPDATE inputs SET step = 9 WHERE source_id = :run",
}
OTHER_WORDS = {
    "a dataset": r"the target has its dataset '\w+' \(\w+\) with mlflow\.data\.context 'x' instead of '\w+'",
    "a logged model": r"the target has its model m-\w+ at step 9 instead of \d",
}


def test_a_deleted_logged_model_is_named_and_becomes_active(uri: str, snapshot: Snapshot) -> None:
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("churn").experiment_id
    (model,) = client.search_logged_models([experiment])
    client.delete_run(model.source_run_id)
    gc(uri)
    client.delete_logged_model(model.model_id)
    first = restored(uri, snapshot)
    assert (first.exit_code, first.created) == (ExitCode.INCOMPLETE, {"runs": 1, "logged model metrics": 3})
    assert [(refusal.kind, refusal.id) for refusal in first.refused] == [("logged model", model.model_id)]
    assert not client.search_logged_models([experiment])
    second = restored(uri, snapshot, undelete=True)
    assert (second.exit_code, second.undeleted) == (ExitCode.DONE, {"logged models": 1})
    (found,) = client.search_logged_models([experiment])
    assert len(found.metrics) == 6


@pytest.mark.parametrize("case", OTHER)
def test_what_is_left_with_other_content_is_a_conflict(
    original: Path, snapshot: Snapshot, tmp_path: Path, case: str
) -> None:
    shutil.copy(original / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = runs_of(uri)[case]
    delete_run(uri, case)
    gc(uri)
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text(OTHER[case]), {"run": run_id})
    planned = restore(uri, "latest", snapshot.storage.location, dry_run=True)
    assert planned.exit_code is ExitCode.FAILED
    assert planned.issues[0].code == "conflict"
    assert f"run {run_id}" in planned.issues[0].message
    assert re.search(OTHER_WORDS[case], planned.issues[0].message)
    with pytest.raises(ConflictError, match=run_id):
        restore(uri, "latest", snapshot.storage.location)
    skipped = restore(uri, "latest", snapshot.storage.location, on_conflict="skip")
    without_run = {"no_run"} if case == "a logged model" else set()  # its metrics, which belong to the run
    assert skipped.exit_code == ExitCode.INCOMPLETE
    assert {issue.code for issue in skipped.issues} == {"not_restored", *without_run}
