"""Into a store that people went on working with: what they did stays, and is told from what is in the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import Metric

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.errors import ConflictError, ExitCode
from mlmeta.progress import Silent
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, digests, dump
from tests.support.cli import Cli

KINDS = ["sqlite", "postgresql", "mysql"]
NAME = "Träume/夢 🚀"


@pytest.fixture
def snapshot(filled: Path, tmp_path: Path) -> Snapshot:
    return backup(f"sqlite:///{filled}", tmp_path / "snapshot")


@pytest.fixture(params=KINDS)
def uri(
    request: pytest.FixtureRequest, filled: Path, snapshot: Snapshot, tmp_path: Path, emptied: Callable[[str], str]
) -> str:
    """A database with the content of the snapshot."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(filled, tmp_path / 'target.db')}"
    found = emptied(request.param)
    SqlTarget(found).restore(snapshot, ALL, QUIET)
    return found


@pytest.fixture
def live(filled: Path, tmp_path: Path) -> str:
    """A SQLite store with the content of the snapshot."""
    return f"sqlite:///{shutil.copy(filled, tmp_path / 'live.db')}"


def execute(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            assert connection.execute(sa.text(statement)).rowcount > 0, statement


def planned_and_restored(uri: str, snapshot: Snapshot, **ways: Any) -> RestoreResult:
    """The result of a restore; its plan must have foreseen it."""
    storage = snapshot.storage.location
    planned = restore(uri, "latest", storage, dry_run=True, **ways)
    result = restore(uri, "latest", storage, **ways)
    assert planned.exit_code == result.exit_code
    assert planned.plan is not None
    assert (planned.plan.create, planned.plan.present) == (result.created, result.present)
    assert planned.plan.undelete == result.undeleted
    assert [issue.message for issue in planned.issues] == [issue.message for issue in result.issues]
    return result


def run_ids(uri: str, name: str = NAME) -> list[str]:
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(name)
    return [run.info.run_id for run in client.search_runs([experiment.experiment_id])]


def test_deleted_runs_are_named_and_become_active(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    client, (first, second, _) = MlflowClient(uri, uri), run_ids(uri)
    client.set_tag(second, "since", "kept")
    for run_id in (first, second):
        client.delete_run(run_id)
    result = planned_and_restored(uri, snapshot)
    assert result.exit_code is ExitCode.INCOMPLETE
    assert {issue.code for issue in result.issues} == {"deleted_in_target"}
    assert {issue.message for issue in result.issues} == {
        f"run {run_id}: it is active in the snapshot and deleted in the target" for run_id in (first, second)
    }
    assert "--undelete" in result.issues[0].hint
    assert client.get_run(first).info.lifecycle_stage == "deleted"
    undeleted = planned_and_restored(uri, snapshot, undelete=True)
    assert (undeleted.exit_code, undeleted.undeleted, undeleted.created) == (ExitCode.DONE, {"runs": 2}, {})
    assert client.get_run(second).data.tags["since"] == "kept"
    client.delete_tag(second, "since")
    assert digests(backup(uri, tmp_path / "again")) == digests(snapshot)


def test_a_deleted_experiment_is_named_and_becomes_active(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    client, runs = MlflowClient(uri, uri), run_ids(uri)
    experiment = client.get_experiment_by_name(NAME)
    client.delete_experiment(experiment.experiment_id)
    result = planned_and_restored(uri, snapshot)
    assert result.exit_code is ExitCode.INCOMPLETE
    assert len(result.issues) == 1 + len(runs)
    assert result.issues[0].message.startswith(f"experiment {NAME}: ")
    undeleted = planned_and_restored(uri, snapshot, undelete=True)
    assert undeleted.exit_code is ExitCode.DONE
    assert undeleted.undeleted == {"experiments": 1, "runs": 3}
    assert run_ids(uri) == runs
    execute(uri, f"UPDATE experiments SET last_update_time = {experiment.last_update_time} WHERE experiment_id = 1")
    found, wanted = (digests(one) for one in (backup(uri, tmp_path / "again"), snapshot))
    # MLflow deletes all runs of an experiment anew: the one that is deleted in the snapshot, too, has a new time
    assert {kind for kind in wanted if found[kind] != wanted[kind]} == {"runs"}


def test_what_a_registered_model_lacks_is_added(uri: str, snapshot: Snapshot, tmp_path: Path) -> None:
    client = MlflowClient(uri, uri)
    client.delete_model_version("zeta", "4")  # MLflow keeps its row, without content, and removes its alias
    client.delete_registered_model_tag("zeta", "k")
    client.delete_model_version_tag("zeta", "1", "n")
    client.transition_model_version_stage("zeta", "3", "None")
    client.transition_model_version_stage("zeta", "1", "Archived")
    client.create_model_version("zeta", "gs://bucket/m/5", await_creation_for=0)
    result = planned_and_restored(uri, snapshot)
    assert result.exit_code is ExitCode.DONE
    assert result.created == {"model versions": 1, "model tags": 2, "model aliases": 1, "model stages": 1}
    assert client.get_model_version_by_alias("zeta", "champion").source == "gs://bucket/m/4"
    assert client.get_model_version("zeta", "4").tags == {"n": "4"}
    assert client.get_model_version("zeta", "3").current_stage == "Production"
    assert client.get_registered_model("zeta").tags == {"k": "v"}
    assert client.create_model_version("zeta", "gs://bucket/m/6", await_creation_for=0).version == 6
    assert planned_and_restored(uri, snapshot).created == {}


def _people_go_on(client: MlflowClient) -> None:
    (run_id, *_) = run_ids(client.tracking_uri)
    client.set_tag(run_id, "since", "x")
    client.log_batch(run_id, [Metric("loss", 0.01, 99_999, 99), Metric("new", 1.0, 1, 0)])
    client.log_param(run_id, "since", "1")
    client.update_run(run_id, "KILLED", "another name")
    experiment = client.get_experiment_by_name(NAME).experiment_id
    client.set_experiment_tag(experiment, "é", "another")
    client.create_run(experiment)
    client.rename_experiment(client.get_experiment_by_name("without a run").experiment_id, "renamed since")
    client.update_registered_model("zeta", "another description")
    client.set_registered_model_alias("zeta", "champion", "1")
    client.transition_model_version_stage("zeta", "1", "Production", archive_existing_versions=True)
    client.create_model_version("zeta", "gs://bucket/m/5", await_creation_for=0)


def test_what_people_did_since_is_no_difference(snapshot: Snapshot, live: str) -> None:
    _people_go_on(MlflowClient(live, live))
    before = dump(Path(live.removeprefix("sqlite:///")))
    result = planned_and_restored(live, snapshot)
    assert (result.exit_code, result.issues, result.created) == (ExitCode.DONE, (), {})
    assert dump(Path(live.removeprefix("sqlite:///"))) == before
    assert result.plan is not None
    assert result.plan.changed == {"experiments": 2, "runs": 1, "models": 1, "model versions": 2}
    assert result.comparison is not None
    fields = {change.field for change in result.comparison.changed}
    assert fields >= {
        *("tags[since]", "params[since]", "metrics[new]", "metrics[loss]", "history of loss", "status", "run_name"),
        *("tags[é]", "name", "description", "aliases[champion]", "current_stage"),
    }


def test_what_is_lost_is_brought_back_beside_it(snapshot: Snapshot, live: str) -> None:
    client = MlflowClient(live, live)
    _people_go_on(client)
    (lost, *_) = (run for run in run_ids(live) if client.get_run(run).info.run_name == "parent")
    for table in ("params", "tags", "latest_metrics", "metrics", "runs"):
        with sa.create_engine(live, poolclass=sa.NullPool).begin() as connection:
            connection.execute(sa.text(f"DELETE FROM {table} WHERE run_uuid = :run"), {"run": lost})
    result = planned_and_restored(live, snapshot, rewrite=[("gs://none", "gs://x")])
    assert (result.exit_code, result.created) == (ExitCode.DONE, {"runs": 1})
    assert client.get_run(lost).info.run_name == "parent"


CONFLICTS = {
    "UPDATE params SET value = 'x' WHERE key = 'lr'": ("run", "params[lr] is 'x' instead of '0.1 '"),
    "DELETE FROM metrics WHERE key = 'loss' AND step = 0": ("run", "history of loss has 37 of 43 points"),
    "UPDATE runs SET start_time = 7 WHERE start_time = 1000": ("run", "start_time is 7 instead of 1000"),
    "UPDATE experiments SET creation_time = 7 WHERE experiment_id = 1": ("experiment", "creation_time is 7"),
    "UPDATE model_versions SET source = 'x' WHERE version = 3": ("model version", "source is 'x' instead of"),
    "UPDATE registered_models SET creation_time = 7 WHERE name = 'zeta'": ("model", "creation_timestamp is 7"),
}


@pytest.mark.parametrize("statement", CONFLICTS)
def test_what_mlflow_never_changes_is_a_conflict(snapshot: Snapshot, live: str, statement: str) -> None:
    execute(live, statement)
    kind, reason = CONFLICTS[statement]
    before = dump(Path(live.removeprefix("sqlite:///")))
    planned = restore(live, "latest", snapshot.storage.location, dry_run=True)
    assert planned.exit_code is ExitCode.FAILED
    (issue,) = planned.issues
    assert issue.code == "conflict"
    assert issue.message.startswith(f"{kind} ")
    assert reason in issue.message
    with pytest.raises(ConflictError, match="nothing was written"):
        restore(live, "latest", snapshot.storage.location)
    skipped = planned_and_restored(live, snapshot, on_conflict="skip")
    assert skipped.exit_code is ExitCode.INCOMPLETE
    assert [issue.code for issue in skipped.issues] == ["not_restored"]
    assert skipped.comparison is not None
    assert skipped.comparison.total == 0
    assert dump(Path(live.removeprefix("sqlite:///"))) == before


def test_all_that_is_skipped_is_told_once(snapshot: Snapshot, blank: Path, tmp_path: Path) -> None:
    """Other experiments in the way shut out their runs."""
    uri = f"sqlite:///{shutil.copy(blank, tmp_path / 'other.db')}"
    client = MlflowClient(uri, uri)
    for name in ("a", "b", "c"):
        client.create_experiment(name)
    for way in ("skip", "rename"):
        result = planned_and_restored(uri, snapshot, on_conflict=way)
        assert result.exit_code is ExitCode.INCOMPLETE
        assert {issue.code for issue in result.issues} == {"not_restored"}
        assert [(refusal.kind, refusal.id) for refusal in result.refused] == [
            *(("experiment", number) for number in "123"),
            *(("runs", f"of experiment {number}") for number in "12"),
        ]


class Lose(Silent):
    """Takes something away after all was written, and before it is read back."""

    def __init__(self, uri: str, *statements: str) -> None:
        self._uri, self._statements = uri, statements

    def phase(self, name: str) -> None:
        if name == "reading the target back":
            execute(self._uri, *self._statements)


def test_only_what_was_written_and_is_lost_is_a_difference(snapshot: Snapshot, live: str) -> None:
    client = MlflowClient(live, live)
    client.delete_registered_model_alias("zeta", "champion")
    client.delete_model_version("zeta", "1")
    lose = Lose(
        live,
        "DELETE FROM registered_model_aliases WHERE alias = 'champion'",
        "UPDATE model_versions SET source = 'x' WHERE name = 'zeta' AND version = 1",
        "UPDATE model_versions SET source = 'y' WHERE name = 'zeta' AND version = 4",
    )
    result = restore(live, "latest", snapshot.storage.location, progress=lose)
    assert result.exit_code is ExitCode.DIFFERENT
    assert {(difference.id, difference.field) for difference in result.unexplained} == {
        ("zeta", "aliases[champion]"),
        ("zeta version 1", "source"),
    }
    assert result.comparison is not None
    assert ("zeta version 4", "source") in {(change.id, change.field) for change in result.comparison.changed}


def test_moved_locations_are_no_change(snapshot: Snapshot, blank: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(blank, tmp_path / 'moved.db')}"
    moved = {"rewrite": [("gs://bucket", "gs://moved")]}
    restore(uri, "latest", snapshot.storage.location, **moved)
    client = MlflowClient(uri, uri)
    for run_id in run_ids(uri):
        client.set_tag(run_id, "since", "x")
    client.set_experiment_tag(client.get_experiment_by_name(NAME).experiment_id, "since", "x")
    result = planned_and_restored(uri, snapshot, **moved)
    assert result.exit_code is ExitCode.DONE
    assert result.comparison is not None
    assert {change.field for change in result.comparison.changed} == {"tags[since]"}


def test_the_command_line_names_what_is_deleted_and_what_is_in_the_way(cli: Cli, snapshot: Snapshot, live: str) -> None:
    client = MlflowClient(live, live)
    (first, *_) = run_ids(live)
    client.delete_run(first)
    arguments = ("restore", "--timestamp", "latest", "--storage", snapshot.storage.location, "--tracking-uri", live)
    planned = cli(*arguments, "--dry-run").ended(3)
    assert f"deleted in target: run {first}: it is active in the snapshot and deleted in the target" in planned.err
    assert "--undelete makes" in planned.err
    assert "to make active again: 1 run" in cli(*arguments, "--dry-run", "--undelete").ok().out
    assert "active again: 1 run" in cli(*arguments, "--undelete", "--yes").ok().out
    execute(live, "UPDATE runs SET start_time = start_time + 1", "UPDATE experiments SET creation_time = 7")
    many = cli(*arguments, "--dry-run").ended(1)
    assert many.err.count("conflict: ") == 9
    document = cli(*arguments, "--dry-run", "--json").ended(1).document
    assert document["status"] == "error"
    assert len(document["data"]["plan"]["conflicts"]) == 9
    assert {error["code"] for error in document["errors"]} == {"conflict"}
