"""What can't be read is counted and named, and costs nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from mlmeta import backup, list_snapshots, verify
from mlmeta.errors import ConnectionFailedError
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.stores.api import exporter as source
from mlmeta.stores.api.pace import Pace
from tests.support.cli import Cli
from tests.support.databases import Databases, change
from tests.support.proxy import Request, proxy
from tests.support.reading import raw
from tests.support.server import Server


def test_an_unreadable_run_is_named_and_the_rest_is_saved(filled: Server, databases: Databases, cli: Cli) -> None:
    broken = databases.content.runs["child-1"]
    change(filled.database, "UPDATE runs SET status = 'PUZZLED' WHERE run_uuid = ?", broken)
    done = cli("backup", "--tracking-uri", filled.uri, "--json").ended(3)
    assert done.document["status"] == "partial"
    (skipped,) = done.data["skipped"]
    assert skipped["kind"] == "run"
    assert skipped["reason"]
    assert [error["code"] for error in done.document["errors"]] == ["not_saved"]
    names = [row["run_name"] for row in raw(cli.folder / "backups", "runs")]
    assert len(names) == 7
    assert "child-1" not in names
    (row,) = list_snapshots(str(cli.folder / "backups")).snapshots
    assert row.state is SnapshotState.PARTIAL
    assert verify(storage=str(cli.folder / "backups")).exit_code == 0


def test_on_screen_it_is_named_too(filled: Server, databases: Databases, cli: Cli) -> None:
    change(
        filled.database,
        "UPDATE runs SET status = 'PUZZLED' WHERE run_uuid IN (?, ?)",
        databases.content.runs["child-1"],
        databases.content.runs["odd"],
    )
    done = cli("backup", "--tracking-uri", filled.uri).ended(3)
    assert done.err.count("not saved:") == 2


@pytest.mark.parametrize("table", ["metrics", "latest_metrics"])
def test_a_metric_that_is_no_number(filled: Server, databases: Databases, tmp_path: Path, table: str) -> None:
    """In the history it costs that history, in the latest metrics that run."""
    run_id = databases.content.runs["child-1"]
    change(filled.database, f"UPDATE {table} SET value = 'abc' WHERE run_uuid = ? AND key = 'loss'", run_id)
    result = backup(filled.uri, [str(tmp_path)])
    assert result.exit_code == 3
    (skipped,) = result.skipped
    assert skipped.kind == ("metric history" if table == "metrics" else "run")
    histories = [row["run_id"] for row in raw(tmp_path, "metrics") if row["key"] == "loss"]
    assert run_id not in histories
    assert {databases.content.runs[name] for name in ("child-0", "child-2", "gone")} == set(histories)
    assert len(raw(tmp_path, "runs")) == (8 if table == "metrics" else 7)


def test_an_unreadable_model_is_named(filled: Server, tmp_path: Path) -> None:
    def fail_on_versions(request: Request) -> int | None:
        return 400 if "model-versions/search" in request.path and "churn" in request.path else None

    with proxy(filled.uri, fail_on_versions) as broken:
        result = backup(broken.uri, [str(tmp_path)])
    assert result.exit_code == 3
    assert [(s.kind, s.id) for s in result.skipped] == [("registered model", "churn-model")]
    assert [row["name"] for row in raw(tmp_path, "models")] == ["greeting", "it's empty"]


def test_a_server_that_dies_half_way_leaves_no_snapshot(
    filled: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the tenth request on nothing answers any more."""
    monkeypatch.setattr(source, "Pace", partial(Pace, patience=3.0))
    dying = proxy(filled.uri, lambda request: 503 if request.number > 10 else None)
    with dying as server, pytest.raises(ConnectionFailedError):
        backup(server.uri, [str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_requests_run_in_parallel(filled: Server, tmp_path: Path) -> None:
    """With a server that takes its time, more than one request is under way at once."""
    import threading
    import time

    lock = threading.Lock()
    under_way = most = 0

    def slow(_: Request) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        with lock:
            under_way -= 1

    with proxy(filled.uri, slow) as sluggish:
        backup(sluggish.uri, [str(tmp_path / "8")], jobs=8)
        assert most > 1
        most = 0
        backup(sluggish.uri, [str(tmp_path / "1")], jobs=1)
    assert most == 1


def test_runs_that_all_fail_are_given_up_after_a_few_steps(
    filled: Server, databases: Databases, tmp_path: Path
) -> None:
    """A real server whose table lost a column."""
    with closing(sqlite3.connect(filled.database)) as db, proxy(filled.uri) as counting:
        db.execute("ALTER TABLE runs RENAME COLUMN user_id TO gone")
        try:
            result = backup(counting.uri, [str(tmp_path)])
        finally:
            db.execute("ALTER TABLE runs RENAME COLUMN gone TO user_id")
    assert result.exit_code == 3
    assert {skipped.kind for skipped in result.skipped} == {"run"}
    assert all(skipped.id.endswith(", all") for skipped in result.skipped)
    assert result.stats["models"] == 3
    searches = sum("/runs/search" in request.path for request in counting.requests)
    assert searches <= 40 * result.stats["experiments"]


@pytest.mark.parametrize("name", ["team/churn", "ends in a backslash\\", "a\\'b", 'it\'s "both"'])
def test_a_model_with_an_odd_name_is_saved(filled: Server, tmp_path: Path, name: str) -> None:
    """MLflow refuses some of these today, and had them made before."""
    for table in ("registered_models", "model_versions", "registered_model_tags", "registered_model_aliases"):
        change(filled.database, f"UPDATE {table} SET name = ? WHERE name = 'churn-model'", name)
    change(filled.database, "UPDATE model_version_tags SET name = ? WHERE name = 'churn-model'", name)
    with proxy(filled.uri) as counting:
        result = backup(counting.uri, [str(tmp_path)])
    assert result.exit_code == 0, result.skipped
    (row,) = (row for row in raw(tmp_path, "models") if row["name"] == name)
    assert len(row["versions"]) > 1
    asked = [request.path for request in counting.requests if "get-history-bulk" in request.path]
    assert asked
    assert not any("run_id=" + "0" * 32 in path for path in asked)  # with authentication on, it would be refused
