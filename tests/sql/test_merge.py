"""Two stores become one: what both have is the union, what differs is named, and a second time changes nothing."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.errors import ExitCode, UsageError
from mlmeta.schema import (
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    DatasetRecord,
    EvaluationDataset,
    Row,
)
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.storage import LocalStorage
from mlmeta.stores.sql.restorer import SqlTarget
from tests.builders.snapshots import (
    T,
    assessment,
    experiment,
    history,
    logged_model,
    model,
    run,
    span,
    trace,
    version,
    write,
)
from tests.sql.helpers import ALL, QUIET, backup

KINDS = ["sqlite", "postgresql", "mysql"]
NAME = "Träume/夢 🚀"


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, blank: Path, tmp_path: Path, emptied: Callable[[str], str]) -> str:
    """A database with MLflow's tables, and no row."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(blank, tmp_path / 'target.db')}"
    return emptied(request.param)


@pytest.fixture
def target(database: str, filled: Path, tmp_path: Path) -> str:
    """A database with the content of the filled store."""
    SqlTarget(database).restore(backup(f"sqlite:///{filled}", tmp_path / "base"), ALL, QUIET)
    return database


@pytest.fixture
def other(filled: Path, tmp_path: Path) -> str:
    """Another one."""
    return f"sqlite:///{shutil.copy(filled, tmp_path / 'other.db')}"


@contextlib.contextmanager
def locked(uri: str) -> Iterator[None]:
    """Somebody writes into a SQLite file."""
    if not uri.startswith("sqlite"):
        yield
        return
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def merge(uri: str, snapshot: Snapshot, **ways: Any) -> RestoreResult:
    """The result of a merge; its plan must have foreseen it, and another one must find nothing to do."""
    storage = snapshot.storage.location
    planned, result = (
        restore(uri, snapshot.timestamp, storage, on_conflict="merge", dry_run=is_plan, **ways)
        for is_plan in (True, False)
    )
    with locked(uri):  # where nothing is to be written, nobody who writes is waited for
        again = restore(uri, snapshot.timestamp, storage, on_conflict="merge", **ways)
    assert planned.plan is not None
    assert (planned.plan.create, planned.plan.merged) == (result.created, result.merged)
    assert planned.plan.experiment_ids == result.experiment_ids == again.experiment_ids
    assert (again.created, again.merged, again.undeleted) == ({}, {}, {})
    told = [[issue.message for issue in one.issues] for one in (planned, result, again)]
    assert told[0] == told[1] == told[2]
    return result


def test_a_run_of_both_sides_becomes_the_union(target: str, other: str, tmp_path: Path) -> None:
    here, there = MlflowClient(target, target), MlflowClient(other, other)
    experiment = here.get_experiment_by_name(NAME).experiment_id
    run_id = here.search_runs([experiment], "attributes.run_name = 'parent'")[0].info.run_id
    both = [Metric("curve", 1.0, 1, 0), Metric("curve", 0.5, 2, 1)]
    here.log_batch(
        run_id,
        [*both, Metric("curve", 0.25, 3, 2), Metric("here", 1.0, 1, 0)],
        [Param("same", "1"), Param("here", "1"), Param("differs", "here")],
        [RunTag("here", "1"), RunTag("differs", "here")],
    )
    there.log_batch(
        run_id,
        [*both, Metric("curve", 9.0, 9, -3), Metric("curve", float("nan"), 3, 2), Metric("there", 2.0, 2, 2)],
        [Param("same", "1"), Param("there", "1"), Param("differs", "there")],
        [RunTag("there", "1"), RunTag("differs", "there")],
    )
    there.log_inputs(run_id, [DatasetInput(Dataset("d", "abc", "local", "{}", '{"a": 1}'), [InputTag("k", "v")])])
    for client, context in ((here, "train"), (there, "test")):
        used = DatasetInput(Dataset("both", "def", "local", "{}"), [InputTag("mlflow.data.context", context)])
        client.log_inputs(run_id, [used])
    there.set_terminated(run_id, "FINISHED", 5_000)
    result = merge(target, backup(other, tmp_path / "snapshot"))
    assert result.exit_code is ExitCode.INCOMPLETE
    assert [(issue.code, issue.message) for issue in result.issues] == [
        (
            "kept",
            f"run {run_id}: the target has its dataset 'both' (def) with mlflow.data.context 'train' instead of 'test'",
        ),
        ("kept", f"run {run_id}: the target keeps its params[differs], which is 'here' instead of 'there'"),
    ]
    assert (result.created, result.merged) == ({"metric points": 3}, {"runs": 1})
    assert result.comparison is not None
    assert result.comparison.is_equal
    run = here.get_run(run_id)
    assert run.data.params.items() >= {"same": "1", "here": "1", "there": "1", "differs": "here"}.items()
    # It ended there: tags follow the side where the run lived on for longer, as its status does
    assert run.data.tags.items() >= {"here": "1", "there": "1", "differs": "there"}.items()
    assert (run.info.status, run.info.end_time) == ("FINISHED", 5_000)
    assert any("tags[differs] was 'here'" in warning for warning in result.warnings)
    assert sorted(one.dataset.name for one in run.inputs.dataset_inputs) == ["both", "d"]
    points = [(one.step, one.value) for one in here.get_metric_history(run_id, "curve")]
    assert sorted(map(repr, points)) == ["(-3, 9.0)", "(0, 1.0)", "(1, 0.5)", "(2, 0.25)", "(2, nan)"]
    assert repr(run.data.metrics["curve"]) == "nan"


def test_experiments_go_by_name_with_all_that_is_theirs(database: str, tmp_path: Path) -> None:
    theirs = [experiment(1, "taken", creation_time=1), experiment(2, "churn", creation_time=2), run("b" * 32, "2")]
    restore(database, write(tmp_path, theirs), tmp_path)
    dataset = EvaluationDataset(dataset_id="d-1", name="qa", created_time=T, experiment_ids=("1", "2", "77"))
    scorer = {"experiment_id": 2, "scorer_name": "judge"}
    records = [
        *(
            experiment(1, "churn", tags={"k": "v"}),
            experiment(2, "new"),
            experiment(3, "kept"),
            experiment("0012", "odd"),
        ),
        *(run("a" * 32, "1"), run("c" * 32, "2", model_outputs=[{"model_id": "m-1"}]), run("e" * 32, "0012")),
        history("loss", (0, 1, 0.5), (1, 2, 0.25), run_id="a" * 32),
        logged_model("m-1", "2", params={"depth": "3"}),
        *(trace("tr-1", "2", assessments=[assessment()]), span(trace_id="tr-1")),
        *(dataset, DatasetRecord(dataset_id="d-1", dataset_record_id="r-1", inputs={"q": 1}, created_time=T)),
        Row(table="scorers", key={"scorer_id": "s-1"}, row=scorer),
    ]
    timestamp = write(tmp_path, records)
    result = merge(database, open_snapshot(LocalStorage(tmp_path), timestamp))
    assert result.experiment_ids == {"1": "2", "2": "4", "0012": "5"}
    assert any("'new' (2) is 4" in warning for warning in result.warnings)
    # Nobody knows what experiment 77 was: the dataset is not put into another one
    assert result.issues == ()
    assert result.comparison is not None
    assert result.comparison.is_equal
    found = backup(database, tmp_path / "found")
    names = {one.name: one.experiment_id for one in found.records(EXPERIMENTS)}
    assert names == {"taken": "1", "churn": "2", "kept": "3", "new": "4", "odd": "5"}
    assert {one.run_id[0]: one.experiment_id for one in found.records(RUNS)} == {"a": "2", "b": "2", "c": "4", "e": "5"}
    assert next(one.artifact_uri for one in found.records(RUNS) if one.run_id[0] == "a").endswith(
        f"/1/{'a' * 32}/artifacts"
    )
    owners = [*found.records(LOGGED_MODELS), *found.records(TRACES)]
    assert [one.experiment_id for one in owners] == ["4", "4"]
    assert [one.experiment_ids for one in found.records(EVALUATION_DATASETS)] == [("2", "4", "77")]
    assert [one.row["experiment_id"] for one in found.records(ROWS)] == [4]
    created = MlflowClient(database, database).create_experiment("next")
    assert created == "6"


def test_what_does_not_fit_together_is_named_and_left(database: str, tmp_path: Path) -> None:
    theirs = [
        *(experiment(1, "both"), run("a" * 32), run("b" * 32, start_time=7)),
        model(version(1), version(2, tags={"own": "1"}), name="m", creation_timestamp=5, aliases={"best": 2}),
        *(trace("tr-1", state="IN_PROGRESS", duration=None), logged_model("m-1", status="PENDING", tags={"t": "1"})),
        Row(table="webhooks", key={"webhook_id": "w-1"}, row={"name": "own", "url": "http://own", "status": "ACTIVE"}),
    ]
    dataset = EvaluationDataset(dataset_id="d-1", name="qa", created_time=T)
    asked = {"dataset_id": "d-1", "dataset_record_id": "r-1", "inputs": {"q": 1}, "created_time": T}
    theirs += [dataset, DatasetRecord(**asked, tags={"k": "1"})]
    point = {"key": "auc", "value": 0.5, "timestamp": T, "run_id": "a" * 32}
    theirs.insert(-3, logged_model("m-2", metrics=[{**point, "step": 1}]))
    restore(database, write(tmp_path, theirs), tmp_path)
    ours = [
        *(experiment(1, "both"), run("a" * 32), run("b" * 32, start_time=8, params={"p": "1"})),
        model(
            version(1, source="gs://other"),
            version(2, tags={"own": "2", "new": "1"}, description="told"),
            version(3),
            name="m",
            aliases={"best": 3, "first": 1, "last": 3},
        ),
        *(trace("tr-1", assessments=[assessment()], metadata={"k": "v"}), span(trace_id="tr-1")),
        logged_model("m-1", tags={"t": "2"}, params={"p": "1"}),
        logged_model("m-2", metrics=[{**point, "step": 0}, {**point, "step": 2}]),  # nothing else differs
        Row(table="webhooks", key={"webhook_id": "w-1"}, row={"name": "our", "url": "http://own", "status": "ACTIVE"}),
        dataset.model_copy(update={"tags": {"k": "v"}}),
        DatasetRecord(**asked, tags={"k": "2", "l": "3"}, expectations={"e": 1}),
    ]
    result = merge(database, open_snapshot(LocalStorage(tmp_path), write(tmp_path, ours)))
    other = "source is 'gs://source/artifacts/v1' instead of 'gs://other'"
    assert {issue.message for issue in result.issues} == {
        f"model version m version 1: the target has another version of that number: {other}",
        "model version m version 2: the target keeps its tags[own], which is '1' instead of '2'",
        "registered model m: the target keeps its aliases[best], which is 2 instead of 3",
        "registered model m: the target has no aliases[first], which is 1 in the snapshot",
        "dataset record r-1: the target keeps its expectations, which is None instead of {'e': 1}",
        "dataset record r-1: the target keeps its tags[k], which is '1' instead of '2'",
        "dataset record r-1: the target has no tags[l], which is '3' in the snapshot",
        "row webhooks w-1: the target has it with other content: name",
        f"run {'b' * 32}: the target has another one under its id: start_time is 7 instead of 8",
    }
    assert result.exit_code is ExitCode.INCOMPLETE
    found = backup(database, tmp_path / "found")
    (registered,) = found.records(MODELS)
    assert [one.tags for one in registered.versions] == [{}, {"own": "1", "new": "1"}, {}]
    assert registered.aliases == {"best": 2, "last": 3}
    assert registered.versions[1].description == "told"
    (traced,) = found.led(TRACES)
    assert (traced.record.state, traced.record.metadata) == ("OK", {"k": "v"})
    assert (len(traced.record.assessments), len(traced.lines)) == (1, 1)
    logged, measured = found.records(LOGGED_MODELS)
    assert [one.step for one in measured.metrics] == [0, 1, 2]
    assert (logged.status, logged.tags, logged.params) == ("READY", {"t": "2"}, {"p": "1"})
    assert [one.params for one in found.records(RUNS)] == [{}, {}]


@pytest.mark.parametrize(
    ("uri", "ways", "message"),
    [
        ("http://127.0.0.1:1", {}, "needs ids that stay"),
        ("sqlite:////nowhere/mlflow.db", {"ids": "new"}, "needs ids that stay"),
        ("sqlite:////nowhere/mlflow.db", {"missing": True}, "--on-conflict merge does not"),
        ("sqlite:////nowhere/mlflow.db", {"auth_uri": "same"}, "takes no users and permissions"),
    ],
)
def test_where_a_merge_makes_no_sense_it_is_refused(uri: str, ways: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        restore(uri, "latest", "nowhere", on_conflict="merge", **ways)
