"""Logged models through a server: read, and created again under new ids."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel as Entity

from mlmeta import backup, open_snapshot, restore
from mlmeta.errors import ExitCode
from mlmeta.schema import LOGGED_MODELS, MODELS
from tests.builders.stores import add_logged_models
from tests.support.databases import Databases
from tests.support.examples import some
from tests.support.proxy import Request, proxy
from tests.support.reading import data_files
from tests.support.server import Server


@pytest.fixture
def saved(server: Server, tmp_path: Path) -> Path:
    """A snapshot of a server with logged models; the server is left as it is."""
    add_logged_models(server.uri, deleted=False)
    result = backup(server.uri, [str(tmp_path / "saved")])
    assert result.exit_code == 0
    assert result.stats["logged_models"] == 4
    return tmp_path / "saved"


def search(uri: str) -> dict[str, Entity]:
    client = MlflowClient(uri, uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return {model.name: model for model in client.search_logged_models(ids)}


def test_server_and_database_give_the_same_bytes(server: Server, saved: Path, tmp_path: Path) -> None:
    backup(f"sqlite:///{server.database}", [str(tmp_path / "database")])
    assert data_files(saved)["logged_models"] == data_files(tmp_path / "database")["logged_models"]


def test_into_a_database_with_the_same_ids(saved: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new.db"
    assert restore(uri, storage=str(saved)).exit_code == 0
    backup(uri, [str(tmp_path / "again")])
    assert data_files(tmp_path / "again")["logged_models"] == data_files(saved)["logged_models"]


def test_into_an_empty_server(server: Server, databases: Databases, saved: Path) -> None:
    databases.load("empty", server.database)
    result = restore(server.uri, storage=str(saved))
    assert result.exit_code == 0, result.issues
    assert result.created["logged models"] == 4
    assert result.comparison is not None
    assert result.comparison.matching["logged model"] == 4
    found = search(server.uri)
    before = {model.name: model for model in open_snapshot(str(saved)).records(LOGGED_MODELS)}
    forest = found["forest"]
    assert forest.tags["mlmeta.source_model_id"] == before["forest"].model_id
    assert forest.tags["mlmeta.source_artifact_uri"] == before["forest"].artifact_location
    assert {(m.key, m.value, m.dataset_name) for m in forest.metrics} == {
        ("auc", 0.5, None),
        ("auc", 0.75, "train"),
        ("loss", 0.1 + 0.2, None),
    }
    run = MlflowClient(server.uri).get_run(forest.source_run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [forest.model_id]


def test_versions_of_a_logged_model_find_its_files(server: Server, databases: Databases, saved: Path) -> None:
    databases.load("empty", server.database)
    restore(server.uri, storage=str(saved))
    (model,) = open_snapshot(str(saved)).records(MODELS)
    assert (model.versions[0].source or "").startswith("models:/m-")
    before = {m.name: m.artifact_location for m in open_snapshot(str(saved)).records(LOGGED_MODELS)}
    (version,) = MlflowClient(server.uri, server.uri).search_model_versions("name = 'registered'")
    assert version.source == before["forest"]


def test_a_second_restore_adds_nothing(server: Server, databases: Databases, saved: Path) -> None:
    databases.load("empty", server.database)
    restore(server.uri, storage=str(saved))
    again = restore(server.uri, storage=str(saved))
    assert again.exit_code == 0
    assert not again.created.get("logged models")
    assert again.present["logged models"] == 4
    assert len(search(server.uri)) == 4


def test_the_server_that_has_them_still_gets_none(server: Server, saved: Path) -> None:
    result = restore(server.uri, storage=str(saved))
    assert not result.created.get("logged models")
    assert len(search(server.uri)) == 4


@pytest.mark.parametrize("number", some(range(1, 12), 3))
def test_interrupted_it_goes_on(server: Server, databases: Databases, saved: Path, number: int) -> None:
    databases.load("empty", server.database)
    seen: list[str] = []

    def broken(request: Request) -> int | None:
        if request.writes and "logged-model" in request.path:
            seen.append(request.path)
        return 400 if len(seen) == number and request.path == seen[-1] else None

    with proxy(server.uri, broken) as through:
        restore(through.uri, storage=str(saved))
    result = restore(server.uri, storage=str(saved))
    assert result.exit_code == 0, result.issues
    assert len(search(server.uri)) == 4
    assert len([m for m in search(server.uri).values() if "mlmeta.snapshot" in m.tags]) == 4


def test_deleted_ones_are_named(server: Server, databases: Databases, tmp_path: Path) -> None:
    """The API shows none; a snapshot of the database has them, and a server can't be told."""
    add_logged_models(server.uri)
    assert backup(server.uri, [str(tmp_path / "api")]).stats["logged_models"] == 3
    assert backup(f"sqlite:///{server.database}", [str(tmp_path / "sql")]).stats["logged_models"] == 4
    databases.load("empty", server.database)
    result = restore(server.uri, storage=str(tmp_path / "sql"))
    assert result.exit_code == ExitCode.INCOMPLETE
    assert [(refusal.kind, "deleted" in refusal.reason) for refusal in result.refused] == [("logged model", True)]
    with closing(sqlite3.connect(server.database)) as db:  # which the API does not show
        used = db.execute("SELECT destination_id FROM inputs WHERE source_type = 'RUN_INPUT'").fetchall()
    assert used == [(search(server.uri)["forest"].model_id,)]


def test_a_server_that_knows_no_logged_models(server: Server, tmp_path: Path) -> None:
    add_logged_models(server.uri)

    def older(request: Request) -> int | None:
        return 404 if "logged-models" in request.path else None

    with proxy(server.uri, older) as through:
        result = backup(through.uri, [str(tmp_path)])
    assert result.exit_code == 0
    assert "logged_models" not in result.files


def test_logged_models_that_can_t_be_read_are_named(server: Server, tmp_path: Path) -> None:
    add_logged_models(server.uri)

    def broken(request: Request) -> int | None:
        return 400 if "logged-models" in request.path else None

    with proxy(server.uri, broken) as through:
        result = backup(through.uri, [str(tmp_path)])
    assert result.exit_code == ExitCode.INCOMPLETE
    assert {skipped.kind for skipped in result.skipped} == {"logged models"}
