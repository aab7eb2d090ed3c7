"""Evaluation datasets through a server: read as from its database, and created again under new ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import mlmeta
from mlmeta.errors import ExitCode, MlmetaError
from mlmeta.schema import DATASET_RECORDS, EVALUATION_DATASETS, DatasetRecord, EvaluationDataset, Selection
from tests.builders import snapshots as made
from tests.builders.evaluation import MadeDatasets, add_datasets, content
from tests.builders.tracking import tracking
from tests.support.databases import Databases, load, save
from tests.support.examples import some
from tests.support.hostile_server import hostile_server
from tests.support.proxy import LOST, Request, proxy
from tests.support.reading import data_files
from tests.support.restoring import restore_as_planned
from tests.support.server import Server

pytest.importorskip("mlflow.genai.datasets", reason="MLflow 3.5 brought evaluation datasets")

MANY = 1100
"""More than a page."""
KINDS = (EVALUATION_DATASETS.name, DATASET_RECORDS.name)


@pytest.fixture(scope="module")
def ids(_running: Server, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MadeDatasets]:
    """A database with evaluation datasets, made through the server."""
    load(databases.path("empty"), _running.database)
    found = add_datasets(_running.uri, MANY)
    path = tmp_path_factory.mktemp("made") / "made.db"
    save(_running.database, path)
    return path, found


@pytest.fixture
def full(server: Server, ids: tuple[Path, MadeDatasets]) -> Server:
    """The server, with them."""
    load(ids[0], server.database)
    return server


@pytest.fixture(scope="module")
def saved(_running: Server, ids: tuple[Path, MadeDatasets], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot through the server."""
    load(ids[0], _running.database)
    folder = tmp_path_factory.mktemp("saved")
    result = mlmeta.backup(_running.uri, str(folder))
    assert result.exit_code == ExitCode.DONE, result.issues
    assert (result.stats["evaluation_datasets"], result.stats["dataset_records"]) == (4, MANY + 6)
    return folder


def test_server_and_database_give_the_same_bytes(
    ids: tuple[Path, MadeDatasets], saved: Path, tmp_path: Path, full: Server
) -> None:
    mlmeta.backup(f"sqlite:///{ids[0]}", str(tmp_path / "database"))
    assert all(data_files(saved)[name] == data_files(tmp_path / "database")[name] for name in KINDS)
    for folder, uri in ((tmp_path / "a", full.uri), (tmp_path / "b", f"sqlite:///{ids[0]}")):
        mlmeta.backup(uri, str(folder), experiments="qa")
        (qa,) = mlmeta.open_snapshot(str(folder), "latest").records(EVALUATION_DATASETS)
        assert (qa.dataset_id, qa.experiment_ids) == (ids[1].datasets["qa"], (ids[1].experiments["qa"],))
        assert data_files(folder)["dataset_records"].count(b"\n{") == MANY + 2


def test_into_an_empty_server_twice(server: Server, saved: Path, ids: tuple[Path, MadeDatasets]) -> None:
    MlflowClient(server.uri).create_experiment("takes an id")
    before = content(f"sqlite:///{ids[0]}")
    result = restore_as_planned(server, saved)
    assert (result.exit_code, result.issues) == (ExitCode.DONE, ())
    assert (result.created["evaluation datasets"], result.created["dataset records"]) == (4, MANY + 6)
    assert result.comparison is not None
    assert result.comparison.matching["dataset record"] == MANY + 6
    assert content(server.uri) == before
    again = mlmeta.restore(server.uri, "latest", str(saved))
    assert (again.exit_code, again.created) == (ExitCode.DONE, {})
    assert (again.present["evaluation datasets"], again.present["dataset records"]) == (4, MANY + 6)
    assert content(server.uri) == before


def test_into_the_server_it_came_from(full: Server, saved: Path, ids: tuple[Path, MadeDatasets]) -> None:
    """Nothing is added, and nothing of people's is changed."""
    from mlflow.genai.datasets import get_dataset

    with tracking(full.uri):
        other = get_dataset(dataset_id=ids[1].datasets["other"])
        other.merge_records([{"inputs": {"question": "new"}}, {"inputs": {"question": "human"}, "tags": {"more": "2"}}])
    before = content(full.uri)
    result = restore_as_planned(full, saved)
    assert (result.exit_code, result.created) == (ExitCode.DONE, {})
    assert content(full.uri) == before
    assert result.comparison is not None
    assert {(one.kind, one.field) for one in result.comparison.changed} >= {("dataset record", "tags[more]")}


def test_into_a_server_with_others(server: Server, saved: Path, ids: tuple[Path, MadeDatasets]) -> None:
    """Those of the same names stay as they are."""
    theirs = add_datasets(server.uri, many=2)
    MlflowClient(server.uri).restore_experiment(theirs.experiments["gone"])
    result = restore_as_planned(server, saved)
    assert result.created["evaluation datasets"] == 4
    with tracking(server.uri):
        client = MlflowClient(server.uri)
        found = {one.dataset_id: one for one in client.search_datasets()}
        assert len(found) == 8
        assert json.loads(found[theirs.datasets["qa"]].profile) == {"num_records": 4}
        restored = {one.tags.get("mlmeta.source_dataset_id"): one for one in found.values()}
        qa = restored[ids[1].datasets["qa"]]
        assert qa.experiment_ids == [theirs.experiments[name] for name in ("qa", "größe 模型")]


def test_stopped_at_every_write(server: Server, databases: Databases, tmp_path: Path) -> None:
    """It goes on from there: each dataset and each record is there once."""
    datasets = [
        EvaluationDataset(dataset_id=f"d-{n}", name="same", experiment_ids=("1",), tags={"n": str(n)}) for n in range(2)
    ]
    records = [
        DatasetRecord(
            dataset_id=one.dataset_id, dataset_record_id=f"{one.dataset_id}-{n}", inputs={"n": n}, outputs=out
        )
        for one in datasets
        for n, out in enumerate(({"a": 1}, "text", None, {}))
    ]
    made.write(tmp_path, [made.experiment("1", "one"), *datasets, *records])
    with proxy(server.uri) as counting:
        assert mlmeta.restore(counting.uri, "latest", str(tmp_path), jobs=1).exit_code == ExitCode.DONE
        writes = len(counting.writes)
    whole = content(server.uri)
    for stop in some(range(1, writes + 1), writes // 3):
        load(databases.path("empty"), server.database)
        with proxy(server.uri) as gone:
            left = [stop]

            def fault(request: Request) -> int | None:
                left[0] -= request.writes  # noqa: B023
                return LOST if left[0] <= 0 and request.writes else 503 if left[0] <= 0 else None  # noqa: B023

            gone.fault = fault
            with pytest.raises(MlmetaError):
                mlmeta.restore(gone.uri, "latest", str(tmp_path), jobs=1)
        assert mlmeta.restore(server.uri, "latest", str(tmp_path)).exit_code == ExitCode.DONE
        assert content(server.uri) == whole


def test_a_record_that_the_server_does_not_take(server: Server, tmp_path: Path) -> None:
    """It is named, and costs no other."""
    dataset = EvaluationDataset(dataset_id="d-1", name="one")
    records = [DatasetRecord(dataset_id="d-1", dataset_record_id=f"r{n}", inputs={"n": n}) for n in range(9)]
    records[4] = records[4].model_copy(update={"source": {"source_type": "NO SUCH THING"}})
    made.write(tmp_path, [dataset, *records])
    result = mlmeta.restore(server.uri, "latest", str(tmp_path))
    assert [(one.kind, one.id) for one in result.refused] == [("dataset record", "r4")]
    assert result.created["dataset records"] == 8
    assert result.exit_code == ExitCode.INCOMPLETE
    assert result.comparison is not None
    assert result.comparison.is_equal


def test_experiments_that_are_not_there(server: Server, tmp_path: Path) -> None:
    dataset = EvaluationDataset(dataset_id="d-1", name="one", experiment_ids=("1", "7"))
    made.write(tmp_path, [made.experiment("1", "one"), dataset])
    result = restore_as_planned(server, tmp_path)
    assert [(one.kind, one.id, one.field) for one in result.refused] == [
        ("evaluation dataset", "d-1", "experiment_ids")
    ]
    assert result.comparison is not None
    assert result.comparison.is_equal


def test_parts_of_a_snapshot(server: Server, saved: Path) -> None:
    """`--only datasets` brings their experiments; `--experiment` the datasets of that one."""
    result = mlmeta.restore(server.uri, "latest", str(saved), selection=Selection(experiments=("qa",)))
    assert (result.exit_code, result.created["dataset records"]) == (ExitCode.DONE, MANY + 2)
    only = mlmeta.restore(server.uri, "latest", str(saved), selection=Selection(only=("datasets",)))
    assert only.exit_code == ExitCode.DONE, only.issues
    assert (only.created["evaluation datasets"], only.present["evaluation datasets"]) == (3, 1)
    without = mlmeta.backup(server.uri, str(saved.parent / "without"), without=("datasets",))
    assert "evaluation_datasets" not in without.stats


@pytest.mark.parametrize(("status", "named"), [(404, []), (501, []), (500, ["evaluation datasets"])])
def test_a_server_that_does_not_know_them(tmp_path: Path, status: int, named: list[str]) -> None:
    """One before MLflow 3.5 has none; one that fails may have some."""

    def answer(asked: Any) -> Any:
        return asked.reply({"error_code": "INTERNAL_ERROR", "message": "no"}, status)

    with hostile_server({"/datasets/search": answer}) as plan:
        result = mlmeta.backup(plan.uri, str(tmp_path))
    assert [one.kind for one in result.skipped] == named


def test_a_target_that_does_not_know_them(server: Server, tmp_path: Path) -> None:
    dataset = EvaluationDataset(dataset_id="d-1", name="one")
    records = [DatasetRecord(dataset_id="d-1", dataset_record_id=f"r{n}", inputs={"n": n}) for n in range(3)]
    made.write(tmp_path, [made.experiment("1", "one"), dataset, *records])
    with proxy(server.uri) as old:
        old.fault = lambda request: 404 if "/mlflow/datasets/" in request.path else None
        result = mlmeta.restore(old.uri, "latest", str(tmp_path))
    assert [(one.kind, one.id) for one in result.refused] == [
        ("evaluation dataset", "d-1"),
        ("dataset records", "of evaluation dataset d-1"),
    ]
    assert result.exit_code == ExitCode.INCOMPLETE
