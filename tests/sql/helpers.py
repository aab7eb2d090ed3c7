"""Stores made by MLflow itself, and snapshots of them."""

from __future__ import annotations

import math
import sqlite3
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    ViewType,
)

from mlmeta.progress import Silent
from mlmeta.schema import Record, RegisteredModel, Run, Selection, Skipped
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.proof import Comparison, prove
from mlmeta.stores.source import UNSHOWN_BY_API
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.target import Report, RestoreOptions
from tests.builders.snapshots import snapshot_of

ALL = Selection()
QUIET = Silent()


def records_of(uri: str, selection: Selection = ALL) -> list[Record | Skipped]:
    return list(SqlSource(uri).read(selection, QUIET))


def backup(uri: str, folder: Path, selection: Selection = ALL) -> Snapshot:
    """A snapshot of all records of a store, none of which may be skipped."""
    found = records_of(uri, selection)
    return snapshot_of((one for one in found if not isinstance(one, Skipped) or one.is_of_records), folder)


def proof_of(
    uri: str, snapshot: Snapshot, options: RestoreOptions | None = None, report: Report | None = None
) -> Comparison:
    """What a database gives back of a snapshot; without a report as if nobody else had ever written there."""
    target = SqlTarget(uri, options or RestoreOptions())
    return prove(target.read_back(snapshot, ALL), target.unkept, report)


def assert_proven(uri: str, snapshot: Snapshot, options: RestoreOptions | None = None) -> None:
    """That a database gives back all records of a snapshot, as they were."""
    found = proof_of(uri, snapshot, options)
    assert found.is_equal, found.differences
    assert found.compared == found.matching
    words = {"experiments": "experiment", "runs": "run", "logged_models": "logged model", "models": "registered model"}
    words["model_versions"] = "model version"
    stats = snapshot.summary.stats
    assert {name: found.compared.get(word, 0) for name, word in words.items()} == {n: stats.get(n, 0) for n in words}


def tables(uri: str) -> list[str]:
    """The tables of a database."""
    return sa.inspect(sa.create_engine(uri, poolclass=sa.NullPool)).get_table_names()


def digests(snapshot: Snapshot) -> dict[str, str]:
    """The SHA-256 of each data file."""
    return {kind: entry.sha256 for kind, entry in snapshot.summary.files.items()}


def lines(records: Any) -> list[bytes]:
    return [record.to_line() for record in records]


def dump(path: Path) -> list[str]:
    """A SQLite database as statements, in an order that does not depend on where rows lie."""
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.iterdump())
    finally:
        connection.close()


def fill(uri: str) -> None:
    """One of everything, through MLflow's own client."""
    client = MlflowClient(uri, uri)
    first = client.create_experiment(
        "Träume/夢 🚀", artifact_location="gs://bucket/first", tags={"é": "x\ny", "empty": ""}
    )
    gone = client.create_experiment("deleted one", artifact_location="gs://bucket/gone")
    client.create_experiment("without a run")
    _rich_run(client, first)
    parent = client.create_run(first, start_time=5, run_name="parent")
    client.create_run(first, start_time=5, tags={"mlflow.parentRunId": parent.info.run_id, "mlflow.user": "ann"})
    deleted = client.create_run(first, start_time=2_000)
    client.log_metric(deleted.info.run_id, "loss", 1.5, timestamp=7, step=3)
    client.delete_run(deleted.info.run_id)
    client.create_run("0", start_time=9, tags={"mlflow.user": "bob"})
    client.create_run(gone, start_time=1)
    client.delete_experiment(gone)
    _models(client, parent.info.run_id)


def _rich_run(client: MlflowClient, experiment_id: str) -> str:
    run = client.create_run(experiment_id, start_time=1_000, tags={"mlflow.user": "ann", "note": "é" * 500})
    run_id: str = run.info.run_id
    points = [
        *(Metric("loss", 1 / (n + 1), 10_000 - n, n % 7 - 3) for n in range(40)),
        Metric("loss", math.nan, 3, 2),
        Metric("loss", 0.0, 3, 2),
        Metric("loss", 0.1 + 0.2, 3, 2),
        Metric("big", math.inf, 1, 0),
        Metric("big", -math.inf, 1, 1),
        Metric("far", 1e-320, 2**53 + 1, 2**62),
        Metric("far", -1.0, 2**53 + 1, -(2**62)),
        Metric("nan only", math.nan, 4, 0),
        Metric("once/ünï", 5e-324, 4, 0),
    ]
    client.log_batch(
        run_id, points, [Param("p", ""), Param("lr", "0.1 "), Param("ключ", "значение")], [RunTag("t", "")]
    )
    dataset = Dataset("d", "abc", "local", "{}", schema='{"a": 1}', profile=None)
    client.log_inputs(
        run_id,
        [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")]), DatasetInput(Dataset("e", "1", "s", "x"))],
        models=[LoggedModelInput("m-1")],
    )
    client.log_outputs(run_id, [LoggedModelOutput("m-2", 4)])
    client.set_terminated(run_id, "FAILED", 3_000)
    return run_id


def _models(client: MlflowClient, run_id: str) -> None:
    client.create_registered_model("zeta", tags={"k": "v"}, description="what it is")
    for number in range(1, 5):
        client.create_model_version(
            "zeta", f"gs://bucket/m/{number}", run_id, tags={"n": str(number)}, await_creation_for=0
        )
    client.delete_model_version("zeta", "2")
    client.transition_model_version_stage("zeta", "3", "Production")
    client.set_registered_model_alias("zeta", "champion", "4")
    client.update_model_version("zeta", "1", "ältere")
    client.create_registered_model("Zeta")
    client.create_registered_model("é model")
    client.create_model_version("é model", "gs://elsewhere/1", await_creation_for=0)
    client.register_prompt("greeting", "Say hello to {{name}}", commit_message="first")
    _await_mlflow()


def _await_mlflow() -> None:
    """`register_prompt` links the prompt to its experiment in a thread: a copy of the file beside it would be torn."""
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt_to_experiment"):
            thread.join()


def all_runs(uri: str) -> list[Any]:
    client = MlflowClient(uri, uri)
    experiments = [e.experiment_id for e in client.search_experiments(ViewType.ALL)]
    return list(client.search_runs(experiments, run_view_type=ViewType.ALL, max_results=1000))


def without_what_the_api_hides(record: Record) -> Record:
    """As a snapshot through the API has it."""
    hidden = {"runs.deleted_time", "runs.model_inputs", "model versions.storage_location"}
    assert {field for field in UNSHOWN_BY_API if field.startswith(("runs.", "model versions."))} == hidden
    if isinstance(record, Run):
        return record.model_copy(update={"deleted_time": None, "model_inputs": ()})
    if isinstance(record, RegisteredModel):
        versions = tuple(v.model_copy(update={"storage_location": None}) for v in record.versions)
        return record.model_copy(update={"versions": versions})
    return record


def assert_round_trip(filled: Path, uri: str, tmp_path: Path) -> None:
    """From SQLite into another database and back: every backup on the way has the same bytes."""
    first = backup(f"sqlite:///{filled}", tmp_path / "a")
    SqlTarget(uri).restore(first, ALL, QUIET)
    second = backup(uri, tmp_path / "b")
    assert digests(second) == digests(first)
    SqlTarget(f"sqlite:///{tmp_path}/new.db").restore(second, ALL, QUIET)
    assert digests(backup(f"sqlite:///{tmp_path}/new.db", tmp_path / "c")) == digests(first)
