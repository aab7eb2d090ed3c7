"""A newer snapshot into a server that has an older state: what has come on since is named, not called the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta import backup, restore
from tests.support.databases import Databases
from tests.support.examples import some
from tests.support.plain import rows
from tests.support.server import Server


def _point(client: MlflowClient, run_id: str) -> None:
    client.log_metric(run_id, "loss", 0.25, step=99)


def _metric(client: MlflowClient, run_id: str) -> None:
    client.log_metric(run_id, "new", 0.25, timestamp=1, step=0)


def _param(client: MlflowClient, run_id: str) -> None:
    client.log_param(run_id, "new", "1")


@pytest.mark.parametrize(
    ("go_on", "by"), some([(go_on, by) for go_on in (_point, _metric, _param) for by in ("restore", "file")], 3)
)
def test_a_run_that_went_on(
    restored: Server,
    filled: Server,
    databases: Databases,
    snapshots: Path,
    tmp_path: Path,
    go_on: Callable[[MlflowClient, str], None],
    by: str,
) -> None:
    """The older state may be there by a restore, or by a copy of the database's file."""
    run_id = databases.content.runs["running"]
    go_on(MlflowClient(filled.uri), run_id)
    backup(filled.uri, [str(tmp_path / "newer")])
    databases.load("restored" if by == "restore" else "filled", filled.database)
    if by == "file":
        restore(filled.uri, "latest", str(snapshots))
    before = rows(filled.database)
    planned = restore(filled.uri, "latest", str(tmp_path / "newer"), dry_run=True)
    done = restore(filled.uri, "latest", str(tmp_path / "newer"))
    assert (planned.exit_code, done.exit_code) == (3, 3)
    assert planned.plan is not None
    assert planned.plan.refused == done.refused
    assert [(refusal.id, refusal.code) for refusal in done.refused] == [(run_id, "older_in_target")]
    assert rows(filled.database) == before
    older = restore(filled.uri, "latest", str(snapshots))
    assert (older.exit_code, older.refused) == (0, ())
