"""One thing back into a server, as somebody would who deleted it by mistake: that thing, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput

from mlmeta import Selection, backup, restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.schema import EvaluationDataset
from tests.builders.snapshots import experiment, logged_model, model, run, trace, version, write
from tests.builders.stores import add_logged_models
from tests.support.databases import Databases, change
from tests.support.plain import plain, rows
from tests.support.proxy import proxy
from tests.support.restoring import restore_as_planned
from tests.support.server import Server


def back(server: Server, folder: Path, *, undelete: bool = False, **words: Any) -> RestoreResult:
    return restore_as_planned(server, folder, undelete=undelete, selection=Selection(**words))


def test_a_run_becomes_active_or_comes_back(filled: Server, databases: Databases, snapshots: Path) -> None:
    """Others of its experiment stay as they are: deleted, or gone."""
    client, runs, churn = MlflowClient(filled.uri), databases.content.runs, databases.content.experiments["churn"]
    client.delete_experiment(churn)
    named = back(filled, snapshots, runs=runs["child-1"][:12])
    assert [(r.kind, r.code) for r in named.refused] == [
        (kind, "deleted_in_target") for kind in ("experiment", "run", "run")
    ]
    assert named.plan is not None
    assert {chosen.state for chosen in named.plan.chosen} == {"deleted"}
    active = back(filled, snapshots, runs=runs["child-1"], undelete=True)
    assert (active.exit_code, active.issues, active.undeleted) == (0, (), {"experiments": 1, "runs": 2})
    assert {found.info.run_name for found in client.search_runs([churn])} == {"parent", "child-1"}
    for name in ("child-1", "child-2"):  # as `mlflow gc` does
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            change(filled.database, f"DELETE FROM {table} WHERE run_uuid = ?", runs[name])
    client.delete_experiment_tag(churn, "note")
    client.set_tag(runs["parent"], "mlflow.parentRunId", runs["child-1"])  # as if it were within that
    new = back(filled, snapshots, runs=runs["child-1"])
    assert (new.exit_code, new.issues, new.created) == (0, (), {"runs": 1})
    assert new.plan is not None
    assert [chosen.state for chosen in new.plan.chosen] == ["new", "there", "there"]
    again = back(filled, snapshots, runs=runs["child-1"])
    assert (again.created, again.warnings) == ({}, new.warnings)
    note, inside = new.warnings
    assert inside.startswith(f"run {runs['child-1']} came back as ")
    assert "and 1 run that is nested in it names it by the old id" in inside
    client.delete_tag(runs["parent"], "mlflow.parentRunId")
    before, _, found_as = note.removesuffix(" in the target").partition(" is ")
    assert before == f"run {runs['child-1']}"
    assert client.get_run(found_as).data.tags["mlmeta.source_run_id"] == runs["child-1"]
    assert "note" not in client.get_experiment(churn).tags
    client.set_experiment_tag(churn, "note", "churn")
    whole, found = plain(databases.uri("filled")), plain(filled.backend)
    assert found["runs"]["child-1"] == whole["runs"]["child-1"]
    assert found["runs"]["child-0"]["lifecycle_stage"] == "deleted"
    assert "child-2" not in found["runs"]
    assert back(filled, snapshots, runs=runs["parent"], children=True, undelete=True).exit_code == 0
    assert plain(filled.backend) == whole


def test_no_number_is_used_up(filled: Server, databases: Databases, snapshots: Path) -> None:
    """A number is given once: a version that was deleted is named, and nothing is tried."""
    client = MlflowClient(filled.uri)
    client.delete_registered_model_alias("churn-model", "champion")
    alias = back(filled, snapshots, models="churn-model@champion")
    assert (alias.exit_code, alias.created) == (0, {"model aliases": 1})
    assert alias.plan is not None
    assert {chosen.state for chosen in alias.plan.chosen} == {"there"}
    assert plain(filled.backend) == plain(databases.uri("filled"))
    client.set_registered_model_alias("churn-model", "champion", "1")
    moved = back(filled, snapshots, models="churn-model@champion")
    assert (moved.exit_code, [(one.id, one.code) for one in moved.refused]) == (3, [("churn-model@champion", "kept")])
    for number in ("3", "5"):
        client.delete_model_version("churn-model", number)
        before = rows(filled.database)
        lost = back(filled, snapshots, models=f"churn-model/{number}")
        assert lost.exit_code == 3
        assert lost.plan is not None
        assert lost.plan.chosen[0].state == "left out"
        assert ("model version", f"churn-model version {number}") in {(r.kind, r.id) for r in lost.refused}
        assert rows(filled.database) == before
    new = client.create_model_version("churn-model", "gs://artifacts/new/model", await_creation_for=0)
    assert new.version == "6"


def test_versions_before_one_come_along(filled: Server, databases: Databases, snapshots: Path) -> None:
    """So that all can come back, with those behind it, as long as nobody registers another one."""
    client = MlflowClient(filled.uri)
    client.delete_registered_model("churn-model")
    some = back(filled, snapshots, models="churn-model/4")
    assert (some.exit_code, some.issues) == (0, ())
    assert some.created == {"models": 1, "model versions": 3}
    (along, behind) = (note for note in some.warnings if "come along" in note or "next version" in note)
    assert along.endswith("1, 3")
    assert "gets number 5" in behind
    assert client.get_registered_model("churn-model").aliases == {}
    rest = back(filled, snapshots, models="churn-model")
    assert (rest.exit_code, rest.created) == (0, {"model versions": 1, "model aliases": 2})
    assert plain(filled.backend) == plain(databases.uri("filled"))


def test_a_run_comes_back_to_the_logged_models_that_outlived_it(server: Server, tmp_path: Path) -> None:
    """`mlflow gc` leaves them, without the metrics that came from the run. One that was deleted comes back so."""
    client = MlflowClient(server.uri)
    forest = add_logged_models(server.uri, deleted=False)["forest"]
    (maker,), (user,) = ([run.info.run_id for run in client.search_runs([number])] for number in ("1", "2"))
    client.delete_run(user)
    before = plain_model(client, forest)
    assert backup(f"sqlite:///{server.database}", tmp_path).exit_code == 0
    for table in ("metrics", "latest_metrics", "tags", "runs"):
        change(server.database, f"DELETE FROM {table} WHERE run_uuid IN (?, ?)", maker, user)
    change(server.database, "DELETE FROM logged_model_metrics WHERE run_id = ?", maker)
    assert not plain_model(client, forest)
    with proxy(server.uri, lambda request: 400 if "outputs" in request.path else None) as through:
        torn = restore(through.uri, storage=tmp_path)
    assert (torn.exit_code, [(one.kind, one.field) for one in torn.refused]) == (3, [("run", "model_outputs")])
    assert torn.created == {"runs": 2, "logged model metrics": 3}
    whole = restore_as_planned(server, tmp_path)
    assert (whole.exit_code, whole.created) == (0, {})
    (made,), (used,) = (client.search_runs([number], run_view_type=3) for number in ("1", "2"))
    assert made.outputs.model_outputs == [LoggedModelOutput(forest, 2)]
    assert client.get_run(used.info.run_id).inputs.model_inputs == [LoggedModelInput(forest)]
    assert used.info.lifecycle_stage == "deleted"
    assert plain_model(client, forest) == {(*point[:-1], made.info.run_id) for point in before}
    change(server.database, "DELETE FROM logged_model_metrics WHERE metric_name = 'auc'")  # as after a restore in parts
    named = back(server, tmp_path, runs=maker)
    assert (named.exit_code, named.created) == (0, {"logged model metrics": 2})


def plain_model(client: MlflowClient, model_id: str) -> set[tuple[object, ...]]:
    """The metrics of a logged model, each with its run."""
    found = client.get_logged_model(model_id).metrics or ()
    return {(one.key, one.value, one.timestamp, one.step, one.dataset_name, one.run_id) for one in found}


def test_a_model_in_another_workspace_than_its_runs_is_named(server: Server, tmp_path: Path) -> None:
    """Each workspace is restored by itself: `--experiment` means runs in one, and their model is in the other."""
    write(tmp_path, [experiment(), run(), model(version(run_id="a" * 32), workspace="team")])
    found = restore(server.uri, storage=tmp_path, selection=Selection("made"), dry_run=True)
    assert found.exit_code == 3
    (issue,) = found.issues
    assert "registered model team/made-model: it is in workspace team" in issue.message
    assert "--model team/made-model" in issue.hint


def test_a_database_that_gives_new_ids_has_no_calls_for_traces(databases: Databases, tmp_path: Path) -> None:
    """They go through MLflow's client, which has none for traces and evaluation datasets either: they are named."""
    dataset = EvaluationDataset(dataset_id="d-1", name="questions", experiment_ids=("1",))
    write(tmp_path / "b", [experiment(), run(), trace(), logged_model(), dataset])
    found = restore(databases.copy("empty", tmp_path / "new.db"), storage=tmp_path / "b", ids="new")
    assert (found.exit_code, found.created) == (3, {"experiments": 1, "runs": 1, "logged models": 1})
    assert {refusal.kind for refusal in found.refused} == {"trace", "evaluation dataset"}
