"""An empty or shrunken result is not a success that prunes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlmeta import backup, list_snapshots
from mlmeta.commands import previous
from mlmeta.commands.previous import Previous, shrunken
from mlmeta.commands.prune import prune
from mlmeta.errors import StorageError
from mlmeta.schema import Summary
from mlmeta.snapshot.catalog import SnapshotState, describe, file_sets
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage, Storage
from tests.builders.snapshots import summary
from tests.support.cli import Cli
from tests.support.databases import Databases

BACKUP = ("backup", "--tracking-uri", "sqlite:///mlflow.db", "--json")


@pytest.fixture
def store(cli: Cli, databases: Databases) -> Path:
    path = cli.folder / "mlflow.db"
    databases.copy("filled", path)
    return path


def states(folder: Path) -> list[str]:
    """Newest first."""
    storage = LocalStorage(folder)
    return [describe(storage, files, 0).state.value for files in file_sets(storage)]


def keep_runs(store: Path, count: int) -> None:
    """Leave so many runs."""
    with closing(sqlite3.connect(store)) as db, db:
        for (run,) in db.execute("SELECT run_uuid FROM runs").fetchall()[count:]:
            for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
                db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run,))


def test_an_emptied_store_is_saved_marked_and_prunes_nothing(cli: Cli, store: Path, databases: Databases) -> None:
    first = cli(*BACKUP).ok().data
    databases.copy("empty", store)
    for count in (2, 3, 4):
        done = cli(*BACKUP, "--keep-last", "1").ended(3)
        assert done.document["status"] == "partial"
        assert [issue["code"] for issue in done.document["errors"]] == ["shrunken"]
        assert "--shrink-limit 0" in done.document["errors"][0]["hint"]
        assert (done.data["pruned"], done.data["timestamp"] > first["timestamp"]) == ({}, True)
        assert states(cli.folder / "backups") == ["shrunken"] * (count - 1) + ["complete"]
    listed = cli("list").ok().out
    assert "shrunken" in listed
    had = first["stats"]["experiments"]
    assert f"it has 1 experiment where {first['timestamp']} has {had}" in listed


def test_prune_alone_keeps_the_last_good_one(cli: Cli, store: Path, databases: Databases) -> None:
    good = [cli(*BACKUP).ok().data["timestamp"] for _ in range(2)]
    databases.copy("empty", store)
    bad = [cli(*BACKUP).ended(3).data["timestamp"] for _ in range(3)]
    found = prune(str(cli.folder / "backups"), Rules(last=1))
    assert [one.timestamp for one in found.snapshots if one.keep] == [bad[-1], good[-1]]
    assert cli("show", "--json").ok().data["timestamp"] == good[-1]


def test_restore_of_latest_is_the_last_good_one(cli: Cli, store: Path, databases: Databases) -> None:
    good = cli(*BACKUP).ok().data
    databases.copy("empty", store)
    bad = cli(*BACKUP).ended(3).data["timestamp"]
    words = ("restore", "--json", "--tracking-uri")
    found = cli(*words, "sqlite:///new.db", "--timestamp", "latest").ok()
    assert (found.data["timestamp"], found.data["created"]["runs"]) == (good["timestamp"], good["stats"]["runs"])
    assert any(text.startswith(f"{bad} was skipped") for text in found.document["warnings"])
    named = cli(*words, "sqlite:///other.db", "--timestamp", bad).ok()
    assert named.data["timestamp"] == bad
    assert any("mlmeta list" in text for text in named.document["warnings"])


def test_it_is_no_base_and_no_measure(cli: Cli, store: Path, databases: Databases) -> None:
    good = cli(*BACKUP).ok().data["timestamp"]
    databases.copy("empty", store)
    bad = cli(*BACKUP, "--if-changed").ended(3).data
    assert bad["unchanged_since"] == ""
    for _ in range(2):  # on schedule: one is enough, and it is told each time
        again = cli(*BACKUP, "--if-changed").ended(3).data
        assert (again["unchanged_since"], again["shrunken"]) == (bad["timestamp"], bad["shrunken"])
    assert states(cli.folder / "backups") == ["shrunken", "complete"]
    databases.copy("filled", store)
    assert cli(*BACKUP, "--if-changed").ok().data["unchanged_since"] == good
    assert cli(*BACKUP, "--incremental").ok().data["incremental_base"] == good


def test_the_limit_can_be_moved_and_the_new_measure_accepted(cli: Cli, store: Path) -> None:
    total = cli(*BACKUP).ok().data["stats"]["runs"]
    keep_runs(store, (total + 1) // 2)
    assert cli(*BACKUP).ok().data["shrunken"] == ""
    assert "runs" in cli(*BACKUP, "--shrink-limit", "100").ok().data["stats"]  # it is measured by the newest
    keep_runs(store, 1)
    assert cli(*BACKUP).ended(3).data["shrunken"].startswith("1 run where ")
    assert cli(*BACKUP, env={"MLMETA_SHRINK_LIMIT": "0"}).ok().data["shrunken"] == ""
    assert cli(*BACKUP, "--keep-last", "1").ok().data["shrunken"] == ""
    assert states(cli.folder / "backups") == ["complete", "shrunken"]


def test_what_could_not_be_measured_prunes_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that fails for a moment, when the backup looks for what was before."""
    uri, places = f"sqlite:///{store}", [str(tmp_path / name) for name in ("a", "b")]
    good = backup(uri, places).timestamp
    keep_runs(store, 1)

    def failing(place: Storage, *words: Any) -> Summary | None:
        raise StorageError("it is away", hint="")

    with monkeypatch.context() as during:
        during.setattr(previous, "newest", failing)
        done = backup(uri, places, keep=Rules(last=1))
    assert (done.exit_code, done.pruned, list(done.unpruned)) == (3, {}, [f"{place}/" for place in places])
    assert {one.timestamp for one in list_snapshots(places[0]).snapshots} == {good, done.timestamp}


def test_an_empty_store_is_no_error_but_prunes_nothing(cli: Cli, store: Path, databases: Databases) -> None:
    databases.copy("empty", store)
    empty = []
    for _ in range(2):
        done = cli(*BACKUP, "--keep-last", "1").ok()
        empty.append(done.data["timestamp"])
        assert done.data["pruned"] == {}
        assert [text[:21] for text in done.document["warnings"]] == ["the snapshot is empty"]
    databases.copy("filled", store)
    assert list(cli(*BACKUP, "--keep-last", "1").ok().data["pruned"].values()) == [[empty[0]]]


@pytest.mark.parametrize(
    ("now", "limit", "expected"),
    [
        ({"experiments": 4, "runs": 10, "models": 2}, 50, ""),
        ({"experiments": 2, "runs": 5, "models": 1}, 50, ""),
        ({"experiments": 1, "runs": 10, "models": 2}, 50, "1 experiment where 20250101_000000 has 4"),
        ({"experiments": 4, "runs": 4, "models": 2}, 50, "4 runs where 20250101_000000 has 10"),
        ({"experiments": 4, "runs": 10, "models": 0}, 50, "0 registered models where 20250101_000000 has 2"),
        ({"experiments": 4, "runs": 9, "models": 2}, 100, "9 runs where 20250101_000000 has 10"),
        ({"experiments": 0, "runs": 0, "models": 0}, 0, ""),
    ],
)
def test_what_counts_as_shrunken(tmp_path: Path, now: dict[str, int], limit: int, expected: str) -> None:
    before = summary(backup_timestamp="20250101_000000", stats={"experiments": 4, "runs": 10, "models": 2})
    place = LocalStorage(tmp_path)
    assert shrunken(now, [Previous(place, None), Previous(place, before)], limit) == expected
    assert shrunken(now, [Previous(place, None)], limit) == ""


def test_shrunken_is_restorable() -> None:
    assert SnapshotState.SHRUNKEN.restorable
