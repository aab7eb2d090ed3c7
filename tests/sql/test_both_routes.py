"""A snapshot through the API of a server and one from its database are the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmeta import backup, restore
from mlmeta.schema import Record
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.exporter import ApiSource
from tests.builders.stores import add_logged_models
from tests.sql.helpers import ALL, QUIET, records_of, without_what_the_api_hides
from tests.support.reading import data_files
from tests.support.server import Server
from tests.support.server import server as running

pytestmark = pytest.mark.slow  # starts an MLflow server


@pytest.fixture
def server(filled: Path, tmp_path: Path) -> Iterator[Server]:
    backend = f"sqlite:///{shutil.copy(filled, tmp_path / 'store.db')}"
    with running(tmp_path / "server", backend=backend) as started:
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
