"""Old snapshots go, and snapshots go elsewhere."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mlmeta.commands.copy import copy
from mlmeta.commands.prune import PruneResult, prune
from mlmeta.commands.verify import verify
from mlmeta.errors import DamagedSnapshotError, StorageError, UsageError
from mlmeta.schema import Experiment, Record
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage, Storage, distinct, open_storage
from tests.builders.snapshots import RECORDS, commit
from tests.support.stored import assert_whole, names, publish

_FIRST = datetime(2025, 1, 1, tzinfo=timezone.utc)


def snapshot(
    storage: Storage, day: int, source: str = "http://a", records: tuple[Record, ...] = RECORDS, **more: object
) -> str:
    return commit(storage, records, at=_FIRST + timedelta(days=day), mlflow_uri=source, **more).summary.backup_timestamp


def verdicts(result: PruneResult) -> dict[str, bool]:
    return {decision.timestamp: decision.keep for decision in result.snapshots}


def test_a_rule_is_needed(storage: Storage) -> None:
    with pytest.raises(UsageError, match="no rule"):
        prune(storage.location, Rules())


def test_what_no_rule_keeps_goes(storage: Storage) -> None:
    stamps = [snapshot(storage, day) for day in range(4)]
    result = prune(storage.location, Rules(last=2))
    assert verdicts(result) == dict.fromkeys(stamps[2:], True) | dict.fromkeys(stamps[:2], False)
    assert {name.rpartition("_")[0].rpartition("_")[2] for name in names(storage)} == {s[:8] for s in stamps[2:]}
    for stamp in stamps[2:]:
        assert_whole(storage, stamp)


def test_a_dry_run_removes_nothing(storage: Storage) -> None:
    for day in range(3):
        snapshot(storage, day)
    before = names(storage)
    result = prune(storage.location, Rules(last=1), dry_run=True)
    assert result.removes
    assert names(storage) == before


def test_rules_count_for_each_source_and_limit_by_itself(storage: Storage) -> None:
    other = snapshot(storage, 0, source="http://b")
    limited = snapshot(storage, 1, experiments=("churn",))
    whole = [snapshot(storage, day) for day in (2, 3)]
    assert verdicts(prune(storage.location, Rules(last=1))) == {
        whole[1]: True,
        whole[0]: False,
        limited: True,
        other: True,
    }


def test_damaged_ones_are_left_alone_and_the_newest_complete_one_stays(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    good, bad = snapshot(storage, 0), snapshot(storage, 1)
    (tmp_path / f"runs_{bad}.json").unlink()
    result = prune(storage.location, Rules(last=1))
    assert verdicts(result) == {good: True, bad: True}
    assert {d.reason for d in result.snapshots} == {"last 1", "damaged: left alone"}


def test_leftovers_go_once_they_are_a_day_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(str(tmp_path))
    snapshot(storage, 0)
    publish(storage, "runs_20250303_000000.json", b"[\n]\n")
    staged = storage.stage()
    staged.write(b"half")
    assert prune(storage.location, Rules(last=1)).leftovers == ()
    yesterday = time.time() - 25 * 3600
    for path in tmp_path.iterdir():  # as `cp -p` leaves old files that are just coming in
        os.utime(path, (yesterday, yesterday))
    assert [name for name in prune(storage.location, Rules(last=1), dry_run=True).leftovers if "runs_" in name] == []
    later = time.time() + 25 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    gone = prune(storage.location, Rules(last=1)).leftovers
    assert len(gone) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names(storage))
    assert "runs_20250303_000000.json" not in names(storage)


def test_a_plan_that_is_turned_down_removes_nothing(storage: Storage) -> None:
    for day in range(2):
        snapshot(storage, day)
    before = names(storage)

    def no(_: PruneResult) -> None:
        raise UsageError("no")

    with pytest.raises(UsageError):
        prune(storage.location, Rules(last=1), confirm=no)
    assert names(storage) == before


def test_a_copy_is_the_same_to_the_byte_and_verifies(storage: Storage, tmp_path: Path) -> None:
    stamp = snapshot(storage, 0)
    there = str(tmp_path / "there")
    assert copy(["latest"], storage.location, there).snapshots[0].size > 0
    target = open_storage(there)
    assert_whole(target, stamp)
    for name in names(storage):
        with storage.open(name) as ours, target.open(name) as theirs:
            assert ours.read() == theirs.read()
    assert copy(["latest"], storage.location, there).snapshots[0].size == 0
    back = copy(["latest"], there, storage.location)
    assert back.snapshots[0].size == 0


def test_missing_copies_what_the_other_lacks(storage: Storage, tmp_path: Path) -> None:
    stamps = [snapshot(storage, day) for day in range(3)]
    there = str(tmp_path / "there")
    copy([stamps[1]], storage.location, there)
    copied = copy([], storage.location, there, missing=True)
    assert [c.timestamp for c in copied.snapshots] == [stamps[0], stamps[2]]
    assert verify([], there, every=True).issues == ()


def test_an_interrupted_copy_is_finished_by_the_next(tmp_path: Path) -> None:
    here, there = open_storage(str(tmp_path / "here")), open_storage(str(tmp_path / "there"))
    stamp = snapshot(here, 0)
    with here.open(f"experiments_{stamp}.json") as file:
        publish(there, f"experiments_{stamp}.json", file.read())
    copy([stamp], here.location, there.location)
    assert_whole(there, stamp)


def test_a_damaged_snapshot_is_not_copied(tmp_path: Path) -> None:
    here, there = open_storage(str(tmp_path / "here")), open_storage(str(tmp_path / "there"))
    stamp = snapshot(here, 0)
    path = tmp_path / "here" / f"runs_{stamp}.json"
    path.write_bytes(path.read_bytes().replace(b"r1", b"r2"))
    with pytest.raises(DamagedSnapshotError):
        copy([stamp], here.location, there.location)
    assert f"backup_summary_{stamp}.json" not in names(there)


def test_another_snapshot_of_that_timestamp_is_a_conflict(tmp_path: Path) -> None:
    here, there = open_storage(str(tmp_path / "here")), open_storage(str(tmp_path / "there"))
    stamp = snapshot(here, 0)
    snapshot(there, 0, records=(Experiment(experiment_id="0", name="other"),))
    with pytest.raises(StorageError, match="share a timestamp"):
        copy([stamp], here.location, there.location)
    assert_whole(there, stamp, records=(Experiment(experiment_id="0", name="other"),))


def test_the_same_storage_twice_is_a_mistake(storage: Storage) -> None:
    snapshot(storage, 0)
    assert distinct([storage, open_storage(storage.location)]) == [storage]
    with pytest.raises(UsageError, match="same storage"):
        copy(["latest"], storage.location, storage.location)


def test_a_file_that_the_summary_does_not_name_is_found(storage: Storage) -> None:
    stamp = snapshot(storage, 0)
    publish(storage, f"traces_{stamp}.json", b"[\n]\n")
    issues = verify(["latest"], storage.location).issues
    assert [f"traces_{stamp}.json" in issue.message for issue in issues] == [True]


def test_two_spellings_of_a_folder_are_one_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = LocalStorage(tmp_path / "backups")
    monkeypatch.chdir(tmp_path)
    spelt = ["backups", f"{tmp_path}/backups/", "./other/../backups", f"file://{tmp_path}/backups"]
    (tmp_path / "other").mkdir()
    for day in range(2):  # before it is there, and then
        assert [one.location for one in distinct(map(open_storage, [*spelt, "other"]))] == ["backups/", "other/"]
        stamp = snapshot(here, day)
    (tmp_path / "linked").symlink_to(tmp_path / "backups")
    for other in (*spelt[1:], "linked"):
        with pytest.raises(UsageError, match="same storage"):
            copy([stamp], "backups", other)
