"""Snapshots from the future, and ones that somebody planted who may create but not delete."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlmeta.commands import prune as pruning
from mlmeta.commands.backup import backup
from mlmeta.commands.copy import copy
from mlmeta.commands.list import list_snapshots
from mlmeta.commands.previous import newest
from mlmeta.commands.prune import PruneResult, prune
from mlmeta.commands.restore import restore
from mlmeta.errors import SnapshotNotFoundError
from mlmeta.schema import Experiment, Record, Selection
from mlmeta.snapshot.layout import timestamp_of
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage, Storage, StoredFile, open_storage
from mlmeta.storage.gcs import GcsStorage
from tests.builders.snapshots import RECORDS, commit
from tests.support.databases import Databases

NOW = datetime.now(timezone.utc).replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def snapshot(storage: Storage, age: timedelta, records: tuple[Record, ...] = RECORDS, source: str = "http://a") -> str:
    return commit(storage, records, at=NOW - age, mlflow_uri=source).summary.backup_timestamp


def kept(result: PruneResult) -> set[str]:
    return {decision.timestamp for decision in result.snapshots if decision.keep}


@pytest.mark.parametrize("rules", [Rules(last=2), Rules(daily=2), Rules(within=1.5 * DAY), Rules(yearly=2)], ids=str)
def test_the_future_removes_nothing_and_counts_for_nothing(storage: Storage, rules: Rules) -> None:
    for days in range(4):
        snapshot(storage, days * DAY + HOUR)
    alone = kept(prune(storage.location, rules, dry_run=True))
    future = {snapshot(storage, -365 * DAY), snapshot(storage, -366 * DAY), snapshot(storage, -HOUR)}
    result = prune(storage.location, rules)
    assert kept(result) == alone | future
    assert {d.reason for d in result.snapshots if d.timestamp in future} == {"future: left alone"}


def test_the_future_is_shown_and_used_only_where_it_is_named(storage: Storage) -> None:
    good, future = snapshot(storage, HOUR), snapshot(storage, -DAY)
    rows = {info.timestamp: info for info in list_snapshots(storage.location).snapshots}
    assert (rows[future].state.value, rows[good].state.value) == ("future", "complete")
    assert "dated in the future" in rows[future].problem
    for selector in ("latest", "2099-01-01"):
        found = open_snapshot(storage, selector)
        assert found.timestamp == good
        assert found.notes[0].startswith(f"{future} was skipped: it is dated in the future")
    assert (open_snapshot(storage, future).timestamp, open_snapshot(storage, future).notes) == (future, ())
    with pytest.raises(SnapshotNotFoundError):
        open_snapshot(storage, "latest~1")
    summary = newest(storage, "http://a", Selection())
    assert summary is not None
    assert summary.backup_timestamp == good


def test_a_clock_that_is_a_little_ahead_is_not_the_future(storage: Storage) -> None:
    ahead = snapshot(storage, -timedelta(minutes=3))
    assert open_snapshot(storage, "latest").timestamp == ahead


def test_only_the_future_is_not_the_same_as_nothing(tmp_path: Path, databases: Databases) -> None:
    """A container whose clock is wrong must not start empty as if there was no snapshot yet."""
    storage = LocalStorage(tmp_path / "backups")
    only = snapshot(storage, -DAY)
    target = f"sqlite:///{tmp_path / 'new.db'}"
    with pytest.raises(SnapshotNotFoundError, match="dated in the future") as caught:
        restore(target, "latest", storage.location, if_empty=True, allow_none=True)
    assert only in caught.value.hint
    assert not (tmp_path / "new.db").exists()


def test_a_store_with_prompts_alone_is_not_empty(tmp_path: Path, databases: Databases) -> None:
    storage = LocalStorage(tmp_path / "backups")
    snapshot(storage, DAY)
    target = databases.copy("empty", tmp_path / "prompts.db")
    MlflowClient(target, target).create_registered_model("prompt")
    done = restore(target, "latest", storage.location, if_empty=True)
    assert (done.exit_code, done.created, done.timestamp) == (0, {}, "")
    assert "in use" in done.untouched


def test_after_a_clock_error_a_backup_has_the_right_time_and_stays(tmp_path: Path, databases: Databases) -> None:
    storage = LocalStorage(tmp_path)
    uri = databases.uri("filled")
    wrong = [backup(uri, [str(tmp_path)]).timestamp for _ in range(2)]
    for path in list(tmp_path.iterdir()):  # they become ones of next year, as a clock would have made them
        path.unlink()
    source = f"sqlite:///{databases.path('filled').resolve()}"
    wrong = [snapshot(storage, -days * DAY, source=source) for days in (365, 366)]
    before = time.time()
    made = backup(uri, [str(tmp_path)], keep=Rules(last=1))
    moment = datetime.strptime(made.timestamp, "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc).timestamp()
    assert before - 1 <= moment <= time.time()
    assert made.pruned == {storage.location: ()}
    assert {info.timestamp for info in list_snapshots(str(tmp_path)).snapshots} == {made.timestamp, *wrong}


def test_what_a_call_has_made_it_never_prunes(storage: Storage) -> None:
    made = snapshot(storage, DAY)
    newer = snapshot(storage, HOUR)
    assert kept(prune(storage.location, Rules(last=1), spare=(made,), dry_run=True)) == {made, newer}
    assert kept(prune(storage.location, Rules(last=1))) == {newer}


def test_a_pruned_timestamp_is_not_given_out_again(storage: Storage) -> None:
    given = [snapshot(storage, timedelta()) for _ in range(3)]
    for _ in range(4):
        prune(storage.location, Rules(last=1))
        given.append(snapshot(storage, timedelta()))
    assert len(set(given)) == len(given)
    assert given == sorted(given)
    assert given[-1] <= timestamp_of(NOW + timedelta(seconds=len(given)))


def test_an_emptied_store_on_schedule_does_not_push_out_the_last_good_one(storage: Storage) -> None:
    empty = (Experiment(experiment_id="0", name="Default"),)
    good = [snapshot(storage, 20 * DAY), snapshot(storage, 19 * DAY)]
    bad = [snapshot(storage, days * DAY, empty) for days in range(9, 0, -1)]
    assert kept(prune(storage.location, Rules(last=5))) == {*good, *bad[-5:]}
    assert kept(prune(storage.location, Rules(last=1))) == {good[-1], bad[-1]}


@contextmanager
def arriving(storage: Storage, created: dict[str, datetime]) -> Iterator[None]:
    """A bucket whose clock has seen snapshots arrive at certain times; others came in time."""
    original = GcsStorage.files

    def files(self: GcsStorage) -> Iterator[StoredFile]:
        for file in original(self):
            stamp = file.name.removesuffix(".json")[-15:]
            moment = created.get(stamp, datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc))
            yield StoredFile(file.name, file.size, file.modified, file.about, moment.timestamp())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GcsStorage, "files", files)
        yield


@pytest.mark.parametrize("rules", [Rules(last=3), Rules(hourly=3), Rules(daily=3), Rules(weekly=1, last=3)], ids=str)
@pytest.mark.parametrize("late", ["past", "was the future"])
def test_planted_ones_push_out_nothing(gcs: object, new: object, rules: Rules, late: str) -> None:
    """By the time at which they came, which a key that may only create can't choose."""
    assert callable(new)
    storage = open_storage(new())
    real = [snapshot(storage, hours * HOUR) for hours in (100, 76, 52, 28, 4)]
    with arriving(storage, {}):
        alone = kept(prune(storage.location, rules, dry_run=True))
    planted = [snapshot(storage, hours * HOUR - timedelta(minutes=1)) for hours in (100, 76, 52, 28, 4, 3, 2)]
    came = NOW if late == "past" else NOW - 30 * DAY
    with arriving(storage, dict.fromkeys(planted, came)):
        result = prune(storage.location, rules)
    assert alone <= kept(result)
    assert len(alone) < len(real)


def test_a_bucket_that_is_filled_by_copies_is_pruned_like_any_other(gcs: object, new: object) -> None:
    assert callable(new)
    storage = open_storage(new())
    stamps = [snapshot(storage, hours * HOUR) for hours in (100, 76, 52)]
    with arriving(storage, dict.fromkeys(stamps, NOW)):
        assert kept(prune(storage.location, Rules(last=1))) == {stamps[-1]}


def test_the_bucket_tells_when_an_object_came(gcs: object, new: object) -> None:
    assert callable(new)
    storage = open_storage(new())
    before = time.time()
    stamp = snapshot(storage, DAY)
    created = {file.created for file in storage.files()}
    assert all(moment is not None and before - 5 <= moment <= time.time() + 5 for moment in created)
    assert pruning.IN_TIME == 3600
    assert kept(prune(storage.location, Rules(last=1))) == {stamp}


def test_missing_compares_content_not_names(storage: Storage, tmp_path: Path) -> None:
    there = LocalStorage(tmp_path / "there")
    same, other, lacking = (snapshot(storage, days * DAY) for days in (3, 2, 1))
    copy([same], storage.location, str(there.folder))
    assert snapshot(there, 2 * DAY, RECORDS[:2]) == other
    before = {path.name: path.read_bytes() for path in there.folder.iterdir()}
    done = copy([], storage.location, str(there.folder), missing=True)
    assert [one.timestamp for one in done.snapshots] == [lacking]
    assert list(done.conflicts) == [other]
    assert (done.exit_code, [issue.code for issue in done.issues]) == (4, ["conflict"])
    assert {path.name: path.read_bytes() for path in there.folder.iterdir()}.items() >= before.items()


def test_missing_heals_a_copy_that_lacks_a_file(storage: Storage, tmp_path: Path) -> None:
    there = LocalStorage(tmp_path / "there")
    stamp = snapshot(storage, DAY)
    copy([stamp], storage.location, str(there.folder))
    (there.folder / f"runs_{stamp}.json").unlink()
    assert [one.size > 0 for one in copy([], storage.location, str(there.folder), missing=True).snapshots] == [True]
    assert copy([], storage.location, str(there.folder), missing=True).snapshots == ()
    (there.folder / f"runs_{stamp}.json").write_bytes(b"[\n]\n")
    done = copy([], storage.location, str(there.folder), missing=True)
    assert (list(done.conflicts), done.exit_code) == ([stamp], 4)
