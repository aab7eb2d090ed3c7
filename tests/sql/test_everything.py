"""Stores with a row in every table, which other tests begin with: the same rows everywhere, and a server starts."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders.everything import ROWS, fill_everything, mlflows_tables
from tests.support.server import server


def content(uri: str) -> dict[str, list[Any]]:
    """All rows by table, in the order of their texts."""
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)).all())) for table in mlflows_tables()}


@pytest.fixture(scope="module")
def in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('everything')}/mlflow.db"
    counts = fill_everything(uri, workspaces=True)
    assert set(counts.values()) == {ROWS}
    return uri


def test_postgresql_holds_the_same_rows(in_sqlite: str, postgres: Callable[[], str]) -> None:
    uri = postgres()
    fill_everything(uri, workspaces=True)
    assert content(uri) == content(in_sqlite)


def test_mysql_holds_the_same_rows(in_sqlite: str, mysql: Callable[[], str]) -> None:
    uri = mysql()
    fill_everything(uri, workspaces=True)
    assert content(uri) == content(in_sqlite)


def test_every_reference_leads_somewhere(in_sqlite: str) -> None:
    with sa.create_engine(in_sqlite, poolclass=sa.NullPool).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_a_server_starts_on_them(tmp_path: Path) -> None:
    fill_everything(f"sqlite:///{tmp_path}/mlflow.db", servable=True)
    with server(tmp_path, uvicorn=True) as running:
        for path in ("2.0/mlflow/webhooks", "3.0/mlflow/mcp-servers", "3.0/mlflow/gateway/endpoints/list"):
            with urllib.request.urlopen(f"{running.uri}/api/{path}") as reply:
                assert reply.status == 200
