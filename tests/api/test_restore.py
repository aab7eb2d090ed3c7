"""A server that lost its data gets it back, with new ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from mlmeta import Selection, open_snapshot, restore
from mlmeta.errors import DamagedSnapshotError
from mlmeta.schema import RUNS
from tests.support import damage
from tests.support.databases import Databases
from tests.support.plain import plain, rows
from tests.support.server import Server


def test_everything_comes_back(server: Server, databases: Databases, snapshots: Path) -> None:
    result = restore(server.uri, "latest", str(snapshots))
    assert result.issues == ()
    assert result.exit_code == 0
    assert result.created == {"experiments": 4, "runs": 8, "models": 3, "model versions": 5}
    assert result.comparison is not None
    assert result.comparison.is_equal
    assert result.comparison.compared == result.comparison.matching
    assert result.comparison.compared["run"] == 8
    assert result.comparison.compared["metric point"] == 76
    assert plain(server.backend) == plain(databases.uri("filled"))


def test_original_ids_are_kept_in_tags(server: Server, snapshots: Path) -> None:
    timestamp = restore(server.uri, "latest", str(snapshots)).timestamp
    client = MlflowClient(server.uri)
    originals = {run.run_id: run for run in open_snapshot(str(snapshots)).records(RUNS)}
    experiments = client.search_experiments(ViewType.ALL)
    found = client.search_runs([e.experiment_id for e in experiments], run_view_type=ViewType.ALL)
    assert {run.data.tags["mlmeta.source_run_id"] for run in found} == set(originals)
    for run in found:
        original = originals[run.data.tags["mlmeta.source_run_id"]]
        assert run.data.tags["mlmeta.source_experiment_id"] == original.experiment_id
        assert run.data.tags["mlmeta.source_artifact_uri"] == original.artifact_uri
        assert run.data.tags["mlmeta.snapshot"] == timestamp


def test_twice_is_the_same_as_once(server: Server, snapshots: Path) -> None:
    restore(server.uri, "latest", str(snapshots))
    once = rows(server.database)
    again = restore(server.uri, "latest", str(snapshots))
    assert rows(server.database) == once
    assert again.exit_code == 0
    assert not any(again.created.values())
    assert again.present == {"experiments": 5, "runs": 8, "models": 3, "model versions": 5}


def test_into_the_server_it_came_from_nothing_is_added(filled: Server, snapshots: Path) -> None:
    before = rows(filled.database)
    result = restore(filled.uri, "latest", str(snapshots))
    assert result.exit_code == 0
    assert rows(filled.database) == before


def test_a_dry_run_writes_nothing_and_plans_what_is_done_then(server: Server, snapshots: Path) -> None:
    before = rows(server.database)
    planned = restore(server.uri, "latest", str(snapshots), dry_run=True)
    assert rows(server.database) == before
    assert planned.created == {}
    done = restore(server.uri, "latest", str(snapshots))
    assert planned.plan == done.plan
    assert planned.plan is not None
    assert planned.plan.create == done.created


@pytest.mark.parametrize("kind", ["experiments", "runs", "metrics", "models", "backup_summary"])
@pytest.mark.parametrize("how", ["deleted", "cut in the middle", "last byte flipped", "a record lost"])
def test_a_damaged_snapshot_writes_nothing(server: Server, snapshots: Path, kind: str, how: str) -> None:
    (path,) = snapshots.glob(f"{kind}_*")
    timestamp = path.stem[-15:]
    damage.NAMED[how](path)
    before = rows(server.database)
    with pytest.raises(Exception, match=timestamp) as caught:
        restore(server.uri, timestamp, str(snapshots))
    if (kind, how) != ("backup_summary", "deleted"):  # then there is no snapshot at all
        assert caught.type is DamagedSnapshotError
    assert rows(server.database) == before


def test_one_experiment(server: Server, databases: Databases, snapshots: Path) -> None:
    result = restore(server.uri, "latest", str(snapshots), selection=Selection(experiments=("churn",)))
    assert result.exit_code == 0
    wanted, found = plain(databases.uri("filled")), plain(server.backend)
    assert set(found["experiments"]) == {"Default", "churn"}
    assert found["runs"] == {name: run for name, run in wanted["runs"].items() if run["experiment"] == "churn"}
    assert found["models"] == {"churn-model": wanted["models"]["churn-model"]}


def test_only_runs_then_only_models(server: Server, databases: Databases, snapshots: Path) -> None:
    wanted = plain(databases.uri("filled"))
    assert restore(server.uri, "latest", str(snapshots), selection=Selection(without=("models",))).exit_code == 0
    assert plain(server.backend) == {**wanted, "models": {}}
    assert restore(server.uri, "latest", str(snapshots), selection=Selection(only=("models",))).exit_code == 0
    assert plain(server.backend) == wanted


def test_only_models_without_their_runs(server: Server, databases: Databases, snapshots: Path) -> None:
    """Versions keep the ids of runs that are not there: as good as it was."""
    assert restore(server.uri, "latest", str(snapshots), selection=Selection(only=("models",))).exit_code == 0
    found = plain(server.backend)
    assert found["runs"] == {}
    assert found["models"]["churn-model"]["versions"][1]["run"] == databases.content.runs["child-0"]


def test_other_runs_in_a_joined_experiment_stay_as_they_are(
    server: Server, databases: Databases, snapshots: Path
) -> None:
    client = MlflowClient(server.uri)
    own = client.create_experiment("churn", "gs://elsewhere", tags={"team": "red"})
    run = client.create_run(own, start_time=1_700_000_000_000, run_name="mine", tags={"mlflow.user": "me"})
    client.log_metric(run.info.run_id, "loss", 9.0, 1, 1)
    before = plain(server.backend)
    result = restore(server.uri, "latest", str(snapshots))
    after, wanted = plain(server.backend), plain(databases.uri("filled"))
    assert after["runs"].pop("mine") == before["runs"]["mine"]
    assert after["runs"] == wanted["runs"]
    assert after["experiments"]["churn"] == ("gs://elsewhere", "active", {"team": "red", "note": "churn"})
    assert result.plan is not None
    assert result.plan.target_runs
    assert [d.field for d in result.unexplained] in ([], ["tags[team]"])


@pytest.mark.parametrize("has_runs", [False, True])
def test_a_deleted_experiment_of_the_same_name_is_brought_back(
    server: Server, databases: Databases, snapshots: Path, has_runs: bool
) -> None:
    client = MlflowClient(server.uri)
    own = client.create_experiment("churn", "gs://artifacts/0", tags={"team": "blue", "note": "churn"})
    if has_runs:
        client.create_run(own, run_name="old")
    client.delete_experiment(own)
    result = restore(server.uri, "latest", str(snapshots))
    found, wanted = plain(server.backend), plain(databases.uri("filled"))
    if has_runs:
        assert found["runs"].pop("old")["lifecycle_stage"] == "deleted"
    assert found == wanted
    assert result.exit_code == 0
    assert any("churn" in warning for warning in result.warnings)


def test_compressed_snapshots_too(server: Server, databases: Databases, tmp_path: Path) -> None:
    from mlmeta import backup

    backup(databases.uri("filled"), [str(tmp_path)], compress=True)
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 0
    assert plain(server.backend) == plain(databases.uri("filled"))
