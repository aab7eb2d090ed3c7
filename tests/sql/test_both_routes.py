"""A snapshot through the API of a server and one from its database are the same."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlmeta import backup, open_snapshot, restore
from mlmeta.schema import RUNS, Record, Run
from mlmeta.stores.api import logged_models
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.exporter import ApiSource
from mlmeta.stores.base import ENDED
from tests.builders.stores import add_logged_models
from tests.builders.traced import fill_with_traces
from tests.sql.helpers import ALL, QUIET, records_of, without_what_the_api_hides
from tests.support.reading import data_files
from tests.support.server import Server
from tests.support.server import server as running

pytestmark = pytest.mark.slow  # starts an MLflow server


@pytest.fixture
def server(filled: Path, tmp_path: Path) -> Iterator[Server]:
    backend = f"sqlite:///{shutil.copy(filled, tmp_path / 'store.db')}"
    with running(tmp_path / "server", uvicorn=True, backend=backend) as started:
        yield started


def test_database_and_api_give_the_same_bytes(server: Server) -> None:
    source = ApiSource(Connection(server.uri))
    try:
        shown = [r.to_line() for r in source.read(ALL, QUIET) if isinstance(r, Record)]
    finally:
        source.close()
    found = [without_what_the_api_hides(r) for r in records_of(server.backend) if isinstance(r, Record)]
    assert [record.to_line() for record in found] == shown
    assert len(shown) > 15


def test_from_a_server_through_a_database_to_a_server(server: Server, tmp_path: Path) -> None:
    """The whole way round: what the new server shows is what the lost one showed, to the byte."""
    add_logged_models(server.uri, deleted=False)
    backup(server.uri, [str(tmp_path / "before")])
    database = f"sqlite:///{tmp_path / 'restored.db'}"
    assert restore(database, storage=str(tmp_path / "before")).exit_code == 0
    with running(tmp_path / "again", backend=database) as second:
        backup(second.uri, [str(tmp_path / "after")])
    before, after = data_files(tmp_path / "before"), data_files(tmp_path / "after")
    assert before == after
    assert set(before) == {"experiments", "runs", "metrics", "logged_models", "models"}
    assert before["logged_models"].count(b"\n") == 6


def test_runs_have_the_logged_models_that_they_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search does not show them: each run is asked for, unless a base has it as it was when it ended."""
    add_logged_models(server.uri)
    client = MlflowClient(server.uri)
    used = {run.run_id: run.model_inputs for run in _runs(server.backend) if run.model_inputs}
    for run_id in used:
        client.set_terminated(run_id)
    asked = Counter[str]()

    def counted(connection: Connection, run_id: str, ask: Any = logged_models._models_of_run) -> Any:
        asked[run_id] += 1
        return ask(connection, run_id)

    monkeypatch.setattr(logged_models, "_models_of_run", counted)
    storage = str(tmp_path / "backups")
    backup(server.uri, [storage])
    runs = list(open_snapshot(storage).records(RUNS))
    assert {run.run_id: run.model_inputs for run in runs if run.model_inputs} == used != {}
    assert asked == Counter(run.run_id for run in runs)
    asked.clear()
    backup(server.uri, [storage], incremental=True)
    assert [run.to_line() for run in open_snapshot(storage).records(RUNS)] == [run.to_line() for run in runs]  # NaN
    assert {*asked} == {run.run_id for run in runs if run.status not in ENDED or run.end_time is None}
    assert 0 < len(asked) < len(runs)


def _runs(uri: str) -> list[Run]:
    return [record for record in records_of(uri) if isinstance(record, Run)]


def test_traces_are_the_same_on_both_routes_and_on_the_way_round(server: Server, tmp_path: Path) -> None:
    fill_with_traces(server.uri)
    backup(server.uri, [str(tmp_path / "api")])
    saved = backup(server.backend, [str(tmp_path / "database")])
    assert (saved.stats["traces"], saved.stats["spans"], saved.stats["assessments"]) == (2, 3, 6)
    database = f"sqlite:///{tmp_path / 'restored.db'}"
    assert restore(database, storage=str(tmp_path / "database")).exit_code == 0
    with running(tmp_path / "again", backend=database) as second:
        backup(second.uri, [str(tmp_path / "after")])
    found = [data_files(tmp_path / name) for name in ("api", "database", "after")]
    assert found[0]["traces"] == found[1]["traces"] == found[2]["traces"]
    assert found[0]["spans"] == found[1]["spans"] == found[2]["spans"]
