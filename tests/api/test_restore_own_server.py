"""Into the very server that a snapshot is of: what is there is the same; what was deleted is named, or comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from mlmeta import Selection, backup, restore
from tests.builders.stores import add_logged_models
from tests.support.databases import Databases, change
from tests.support.plain import plain, rows
from tests.support.restoring import restore_as_planned, unfinish
from tests.support.server import Server


def _all_runs(server: Server) -> dict[str, str]:
    client = MlflowClient(server.uri)
    ids = [e.experiment_id for e in client.search_experiments(ViewType.ALL)]
    found = client.search_runs(ids, run_view_type=ViewType.ALL)
    return {run.info.run_name: run.info.lifecycle_stage for run in found}


@pytest.mark.parametrize("source", ["models:/{model}", "{location}", "runs:/{run}/m"])
def test_versions_that_log_model_registered_are_the_same(server: Server, tmp_path: Path, source: str) -> None:
    ids = add_logged_models(server.uri, deleted=False)
    client = MlflowClient(server.uri, server.uri)
    made = client.get_logged_model(ids["forest"])
    source = source.format(model=made.model_id, location=made.artifact_location, run=made.source_run_id)
    bound = {} if source.startswith("runs:") else {"model_id": made.model_id}
    client.create_model_version("registered", source, made.source_run_id, await_creation_for=0, **bound)
    client.set_registered_model_alias("registered", "champion", "2")
    backup(server.uri, [str(tmp_path)])
    before = rows(server.database)
    result = restore_as_planned(server, tmp_path)
    assert (result.exit_code, result.issues) == (0, ())
    assert result.present["model versions"] == 2
    assert rows(server.database) == before
    moved = restore(server.uri, "latest", str(tmp_path), rewrite=[("gs://bucket", "gs://elsewhere")])
    assert (moved.exit_code, moved.issues) == (0, ())
    assert rows(server.database) == before


def test_a_lost_model_comes_back_with_the_sources_it_had(server: Server, tmp_path: Path) -> None:
    """The logged model is still there, so that the server takes its source again."""
    ids = add_logged_models(server.uri, deleted=False)
    backup(server.uri, [str(tmp_path)])
    client = MlflowClient(server.uri, server.uri)
    client.delete_registered_model("registered")
    result = restore_as_planned(server, tmp_path)
    assert (result.exit_code, result.issues) == (0, ())
    (version,) = client.search_model_versions("name = 'registered'")
    assert version.source == f"models:/{ids['forest']}"


@pytest.mark.parametrize("selection", [Selection(), Selection(only=("models",)), Selection(without=("models",))])
def test_a_restored_server_is_saved_and_restored_again(
    restored: Server, databases: Databases, tmp_path: Path, selection: Selection
) -> None:
    """Its runs, experiments and models carry the tags of the first restore."""
    backup(restored.uri, [str(tmp_path / "second")])
    before = rows(restored.database)
    again = restore(restored.uri, "latest", str(tmp_path / "second"), selection=selection)
    assert (again.exit_code, again.issues) == (0, ())
    assert rows(restored.database) == before
    databases.load("empty", restored.database)
    result = restore(restored.uri, "latest", str(tmp_path / "second"), selection=selection)
    assert (result.exit_code, result.issues) == (0, ())
    if selection == Selection():
        assert plain(restored.backend) == plain(databases.uri("filled"))


def test_a_restored_server_with_logged_models_is_saved_and_restored_again(
    server: Server, databases: Databases, tmp_path: Path
) -> None:
    add_logged_models(server.uri, deleted=False)
    backup(server.uri, [str(tmp_path / "first")])
    databases.load("empty", server.database)
    assert restore(server.uri, "latest", str(tmp_path / "first")).exit_code == 0
    backup(server.uri, [str(tmp_path / "second")])
    before = rows(server.database)
    again = restore_as_planned(server, tmp_path / "second")
    assert (again.exit_code, again.issues) == (0, ())
    assert rows(server.database) == before
    databases.load("empty", server.database)
    result = restore_as_planned(server, tmp_path / "second")
    assert (result.exit_code, result.issues) == (0, ())
    assert result.created["logged models"] == 4


def test_an_experiment_that_was_renamed_since(filled: Server, databases: Databases, snapshots: Path) -> None:
    """Its runs are there: nothing is made a second time."""
    client, churn = MlflowClient(filled.uri), databases.content.experiments["churn"]
    client.rename_experiment(churn, "churn (old)")
    before = rows(filled.database)
    result = restore_as_planned(filled, snapshots)
    assert (result.exit_code, result.issues) == (0, ())
    assert rows(filled.database) == before
    assert result.comparison is not None
    assert [str(change) for change in result.comparison.changed] == [
        "experiment churn: name is 'churn (old)' instead of 'churn'"
    ]


def test_deleted_runs_are_named_and_come_back_on_demand(filled: Server, databases: Databases, snapshots: Path) -> None:
    client, runs = MlflowClient(filled.uri), databases.content.runs
    mine = client.create_run(databases.content.experiments["churn"], run_name="mine").info.run_id
    for run_id in (runs["child-0"], runs["odd"], mine):
        client.delete_run(run_id)
    gone = {runs["child-0"], runs["odd"]}
    before = rows(filled.database)
    left = restore_as_planned(filled, snapshots)
    assert left.exit_code == 3
    assert {(r.kind, r.id, r.code) for r in left.refused} == {("run", run_id, "deleted_in_target") for run_id in gone}
    assert all("--undelete" in issue.hint for issue in left.issues)
    assert rows(filled.database) == before
    back = restore_as_planned(filled, snapshots, undelete=True)
    assert (back.exit_code, back.issues) == (0, ())
    assert back.undeleted == {"runs": 2}
    assert _all_runs(filled)["mine"] == "deleted"
    found = plain(filled.backend)
    del found["runs"]["mine"]
    assert found == plain(databases.uri("filled"))


@pytest.mark.parametrize("name", ["churn", "empty"])
def test_a_deleted_experiment_is_named_and_comes_back_on_demand(
    filled: Server, databases: Databases, snapshots: Path, name: str
) -> None:
    """With the runs that it had, and without those that were deleted before: one of the snapshot, one of somebody."""
    client, own = MlflowClient(filled.uri), databases.content.experiments[name]
    mine = client.create_run(own, run_name="mine").info.run_id
    client.delete_run(mine)
    client.delete_experiment(own)
    active = ["parent", "child-0", "child-1", "child-2"] if name == "churn" else []
    gone = {("experiment", name), *(("run", databases.content.runs[run]) for run in active)}
    before = rows(filled.database)
    left = restore_as_planned(filled, snapshots)
    assert left.exit_code == 3
    assert {(r.kind, r.id) for r in left.refused} == gone
    assert {r.code for r in left.refused} == {"deleted_in_target"}
    assert rows(filled.database) == before
    back = restore_as_planned(filled, snapshots, undelete=True)
    assert (back.exit_code, back.issues) == (0, ())
    wanted = {"experiments": 1, "runs": len(active)} if active else {"experiments": 1}
    assert back.undeleted == wanted
    found = plain(filled.backend)
    assert found["runs"].pop("mine")["lifecycle_stage"] == "deleted"
    assert found == plain(databases.uri("filled"))


def test_restored_runs_that_were_deleted_since(restored: Server, databases: Databases, snapshots: Path) -> None:
    """The same where a restore had made the experiment and its runs, under new ids."""
    client = MlflowClient(restored.uri)
    churn = client.get_experiment_by_name("churn").experiment_id
    client.delete_experiment(churn)
    left = restore_as_planned(restored, snapshots)
    assert left.exit_code == 3
    assert {r.code for r in left.refused} == {"deleted_in_target"}
    assert len(left.refused) == 5
    back = restore_as_planned(restored, snapshots, undelete=True)
    assert (back.exit_code, back.issues) == (0, ())
    assert plain(restored.backend) == plain(databases.uri("filled"))


def test_a_run_that_is_lost_in_a_deleted_experiment(filled: Server, databases: Databases, snapshots: Path) -> None:
    """One that `mlflow gc` has removed: it comes back with the experiment, and not without."""
    client, lost = MlflowClient(filled.uri), databases.content.runs["child-2"]
    for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
        change(filled.database, f"DELETE FROM {table} WHERE run_uuid = ?", lost)
    client.delete_experiment(databases.content.experiments["churn"])
    left = restore_as_planned(filled, snapshots)
    assert left.exit_code == 3
    assert ("run", lost) in {(r.kind, r.id) for r in left.refused}
    back = restore_as_planned(filled, snapshots, undelete=True)
    assert (back.exit_code, back.issues, back.created) == (0, (), {"runs": 1})
    assert plain(filled.backend) == plain(databases.uri("filled"))


def test_a_half_filled_run_that_is_deleted(restored: Server, databases: Databases, snapshots: Path) -> None:
    client = MlflowClient(restored.uri)
    client.delete_run(unfinish(client, "child-1"))
    assert restore_as_planned(restored, snapshots).exit_code == 3
    back = restore_as_planned(restored, snapshots, undelete=True)
    assert (back.exit_code, back.issues) == (0, ())
    assert plain(restored.backend) == plain(databases.uri("filled"))


@pytest.mark.parametrize("undelete", [False, True])
def test_a_deleted_logged_model_is_named(server: Server, tmp_path: Path, undelete: bool) -> None:
    """It is not made a second time; MLflow's API has no call that makes it active again."""
    ids = add_logged_models(server.uri, deleted=False)
    backup(server.uri, [str(tmp_path)])
    MlflowClient(server.uri).delete_logged_model(ids["other"])
    before = rows(server.database)
    result = restore_as_planned(server, tmp_path, undelete=undelete)
    assert result.exit_code == 3
    assert [(r.kind, r.id, r.code) for r in result.refused] == [("logged model", ids["other"], "deleted_in_target")]
    assert "database" in result.refused[0].hint
    assert rows(server.database) == before


def _tag(client: MlflowClient, databases: Databases) -> None:
    client.set_tag(databases.content.runs["odd"], "reviewed", "yes")


def _log_on(client: MlflowClient, databases: Databases) -> None:
    client.log_metric(databases.content.runs["running"], "loss", 0.5, 1, 1)


def _delete(client: MlflowClient, databases: Databases) -> None:
    client.set_tag(databases.content.runs["child-0"], "fold", "other")


@pytest.mark.parametrize("alter", [_tag, _log_on, _delete])
def test_what_people_did_since_is_no_difference(
    filled: Server, databases: Databases, snapshots: Path, alter: Callable[[MlflowClient, Databases], None]
) -> None:
    alter(MlflowClient(filled.uri), databases)
    before = rows(filled.database)
    result = restore_as_planned(filled, snapshots)
    assert (result.exit_code, result.issues) == (0, ())
    assert result.comparison is not None
    assert result.comparison.total_changed >= 1
    assert rows(filled.database) == before
