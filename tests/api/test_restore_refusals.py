"""What a server does not take is named, with the reason and a way out; the rest arrives."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.schema import LatestMetric, Record
from tests.builders import snapshots as made
from tests.support.examples import some
from tests.support.plain import plain
from tests.support.server import Server


def _restore(server: Server, folder: Path, *records: Record) -> RestoreResult:
    made.write(folder, records)
    return restore(server.uri, "latest", str(folder))


SOURCES = ["mlflow-artifacts:/1/x/artifacts/m", "/srv/models/m", "./m", "file:///srv/m"]


@pytest.mark.parametrize(
    ("source", "with_run"), some([(source, with_run) for with_run in (True, False) for source in SOURCES], 4)
)
def test_sources_that_only_their_run_may_have(server: Server, tmp_path: Path, source: str, with_run: bool) -> None:
    run = made.run()
    refused = made.version(1, source=source, run_id=run.run_id if with_run else None)
    model = made.model(refused, made.version(2), aliases={"old": 1, "new": 2})
    result = _restore(server, tmp_path, made.experiment(), run, model)
    assert result.exit_code == 3
    found = {refusal.id: refusal.reason for refusal in result.refused}
    assert "database" in found["made-model version 1"]
    assert set(found) == {"made-model version 1", "made-model@old"}
    assert result.unexplained == ()
    assert list(plain(server.backend)["models"]["made-model"]["versions"]) == [2]
    again = restore(server.uri, "latest", str(tmp_path))
    assert again.exit_code == 3
    assert list(plain(server.backend)["models"]["made-model"]["versions"]) == [2]


def test_sources_by_run_or_logged_model_are_re_pointed(server: Server, tmp_path: Path) -> None:
    run = made.run()
    model = made.model(
        made.version(1, source=f"runs:/{run.run_id}/model", run_id=run.run_id),
        made.version(2, source="models:/m-123", run_id=run.run_id, model_id="m-123"),
    )
    result = _restore(server, tmp_path, made.experiment(), run, model)
    assert result.exit_code == 0
    versions = plain(server.backend)["models"]["made-model"]["versions"]
    assert [v["source"] for v in versions.values()] == [
        f"{made.BUCKET}/1/{run.run_id}/artifacts/model",
        f"{made.BUCKET}/1/models/m-123/artifacts",
    ]
    assert {v["run"] for v in versions.values()} == {"run-a"}


def test_versions_without_a_run_or_with_one_that_is_gone(server: Server, tmp_path: Path) -> None:
    model = made.model(made.version(2, run_id=None), made.version(5, run_id="f" * 32), description="d")
    result = _restore(server, tmp_path, made.experiment(), model)
    assert result.exit_code == 0
    versions = plain(server.backend)["models"]["made-model"]["versions"]
    assert {number: v["run"] for number, v in versions.items()} == {2: None, 5: "f" * 32}


def test_a_number_that_is_taken(server: Server, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    client.create_registered_model("made-model")
    client.create_model_version("made-model", "gs://other/1", await_creation_for=0)
    result = _restore(server, tmp_path, made.model(made.version(1), made.version(2), aliases={"a": 1}))
    assert result.exit_code == 3
    assert {refusal.id for refusal in result.refused} == {"made-model version 1", "made-model@a"}
    sources = {n: v["source"] for n, v in plain(server.backend)["models"]["made-model"]["versions"].items()}
    assert sources == {1: "gs://other/1", 2: f"{made.BUCKET}/v2"}


def test_a_number_that_was_used_and_deleted(server: Server, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    client.create_registered_model("made-model")
    for _ in range(2):
        client.create_model_version("made-model", "gs://other/1", await_creation_for=0)
    for number in ("1", "2"):
        client.delete_model_version("made-model", number)
    result = _restore(server, tmp_path, made.model(made.version(1), made.version(7)))
    found = {number: v["source"] for number, v in plain(server.backend)["models"]["made-model"]["versions"].items()}
    assert found[7] == f"{made.BUCKET}/v7"
    # SQL stores count from the highest that is there, so number 1 is free again
    assert result.exit_code == (0 if 1 in found else 3)


def test_an_alias_that_names_another_version_there(server: Server, tmp_path: Path) -> None:
    made.write(tmp_path, [made.model(made.version(1), made.version(2), aliases={"champion": 2})])
    restore(server.uri, "latest", str(tmp_path))
    MlflowClient(server.uri).set_registered_model_alias("made-model", "champion", "1")
    result = restore(server.uri, "latest", str(tmp_path))
    assert result.exit_code == 0
    assert [(d.id, d.field, d.found) for d in result.comparison.changed] == [("made-model", "aliases[champion]", "1")]
    assert plain(server.backend)["models"]["made-model"]["aliases"] == {"champion": 1}


def test_points_before_1970_are_named_one_by_one(server: Server, tmp_path: Path) -> None:
    metrics = {
        "early": LatestMetric(value=1.0, step=0, timestamp=-1),
        "fine": LatestMetric(value=2.0, step=-3, timestamp=1),
    }
    result = _restore(server, tmp_path, made.experiment(), made.run(metrics=metrics, params={"lr": "1"}))
    assert result.exit_code == 3
    (refusal,) = result.refused
    assert refusal.kind.startswith("metric early")
    assert refusal.id == "a" * 32
    run = plain(server.backend)["runs"]["run-a"]
    assert (set(run["metrics"]), run["params"]) == ({"fine"}, {"lr": "1"})


def test_a_param_that_mlflow_cuts_is_found_by_the_proof(server: Server, tmp_path: Path) -> None:
    params = {f"p{number:03}": "v" for number in range(150)} | {"long": "x" * 7000, "empty": ""}
    result = _restore(server, tmp_path, made.experiment(), made.run(params=params))
    assert result.exit_code == 4
    assert [difference.field for difference in result.unexplained] == ["params[long]"]
    assert len(plain(server.backend)["runs"]["run-a"]["params"]) == 152


def test_a_run_of_a_kind_that_is_unknown_there(server: Server, tmp_path: Path) -> None:
    runs = [made.run("a" * 32, status="PUZZLED"), made.run("b" * 32)]
    result = _restore(server, tmp_path, made.experiment(), *runs)
    assert result.exit_code == 3
    assert [(refusal.kind, refusal.id) for refusal in result.refused] == [("run's status", "a" * 32)]
    assert {name: run["status"] for name, run in plain(server.backend)["runs"].items()} == {
        "run-a": "RUNNING",
        "run-b": "FINISHED",
    }


def test_a_parent_that_is_gone_keeps_its_original_id(server: Server, tmp_path: Path) -> None:
    tags = {"mlflow.parentRunId": "e" * 32, "mlflow.runName": "run-a", "mlflow.user": "ada"}
    result = _restore(server, tmp_path, made.experiment(), made.run(tags=tags))
    assert result.exit_code == 0
    assert plain(server.backend)["runs"]["run-a"]["tags"]["mlflow.parentRunId"] == f"not there: {'e' * 32}"


def test_a_child_that_began_before_its_parent(server: Server, tmp_path: Path) -> None:
    tags = {"mlflow.parentRunId": "b" * 32, "mlflow.runName": "run-a", "mlflow.user": "ada"}
    runs = [made.run("a" * 32, tags=tags, start_time=1), made.run("b" * 32, start_time=2)]
    assert _restore(server, tmp_path, made.experiment(), *runs).exit_code == 0
    assert plain(server.backend)["runs"]["run-a"]["tags"]["mlflow.parentRunId"] == "run-b"


def test_deleted_runs_active_in_a_deleted_experiment(server: Server, tmp_path: Path) -> None:
    """The API knows only whole experiments; a database keeps the two apart."""
    runs = [made.run("a" * 32), made.run("b" * 32, lifecycle_stage="deleted")]
    result = _restore(server, tmp_path, made.experiment(lifecycle_stage="deleted"), *runs)
    assert result.exit_code == 0
    found = plain(server.backend)
    assert found["experiments"]["made"][1] == "deleted"
    assert {name: run["lifecycle_stage"] for name, run in found["runs"].items()} == {
        "run-a": "active",
        "run-b": "deleted",
    }
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 0
    assert plain(server.backend) == found


def test_names_with_both_kinds_of_quotes(server: Server, tmp_path: Path) -> None:
    name = """it's "quoted" """
    result = _restore(server, tmp_path, made.model(made.version(1), made.version(3), name=name, aliases={"a": 3}))
    assert result.exit_code == 0
    assert list(plain(server.backend)["models"][name]["versions"]) == [1, 3]
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 0
