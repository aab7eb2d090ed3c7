"""Guards take numbers in a storage, and their snapshots stand in that order."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mlmeta import list_snapshots, open_snapshot
from mlmeta.commands.copy import copy
from mlmeta.commands.epochs import EVERYTHING, Epochs, Origin
from mlmeta.commands.prune import prune
from mlmeta.commands.verify import verify
from mlmeta.schema import LAST_EPOCH, Lineage, Summary
from mlmeta.snapshot.epochs import Claim, claims_in, create, name_of, read_claim
from mlmeta.snapshot.layout import timestamp_of
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage, Storage
from mlmeta.stores.opening import Store
from tests.builders.snapshots import RECORDS, commit
from tests.support.databases import Databases
from tests.support.stored import names

_FIRST = datetime(2025, 1, 1, tzinfo=timezone.utc)


def claim(epoch: int, guard: str = "a", source: str = "prod") -> Claim:
    return Claim(epoch=epoch, source=source, guard=guard)


def epochs(
    *places: Storage, origin: Origin | None = None, label: str = "prod", uri: str = "sqlite:////no.db"
) -> Epochs:
    return Epochs(Store(uri), [place.location for place in places], label, origin or Origin(), lambda _: None)


def saved(storage: Storage, day: int, epoch: int = 0, **more: object) -> Summary:
    """A snapshot of a guard."""
    told = {"label": "prod", "mlflow_uri": "http://a", "epoch": epoch, **more}
    made = commit(storage, RECORDS, at=_FIRST + timedelta(days=day), **told).summary
    return open_snapshot(storage.location, made.backup_timestamp).summary


def test_a_number_is_given_out_once(storage: Storage) -> None:
    assert create(storage, claim(1))
    assert not create(storage, claim(1, "b"))
    assert create(storage, claim(1)), "its reply may have been lost"
    assert read_claim(storage, 1) == claim(1)
    with ThreadPoolExecutor(4) as pool:
        guards = [epochs(storage) for _ in range(4)]
        list(pool.map(Epochs.claim, guards))
    assert sorted(guard.lineage.epoch for guard in guards) == [2, 3, 4, 5]
    for guard in guards:
        guard.claim()
        guard.look()
    last = max(guards, key=lambda guard: guard.lineage.epoch)
    assert [guard.rival is None for guard in guards] == [guard is last for guard in guards]
    assert last.may_prune()
    assert sorted(claims_in(storage.files())) == [1, 2, 3, 4, 5]
    stranger = epochs(storage, label="another source")
    stranger.claim()
    assert stranger.lineage.epoch == 6
    assert last.may_prune(), "which is none of its concern"


def test_what_is_odd_takes_a_number_and_nothing_else(tmp_path: Path, databases: Databases) -> None:
    storage = LocalStorage(tmp_path)
    for number, content in ((3, b""), (4, b"[" * 10_000), (5, b'{"epoch": 6, "source": "prod", "guard": "x"}')):
        (tmp_path / name_of(number)).write_bytes(content)
    (tmp_path / name_of(7)).symlink_to("/etc/passwd")
    (tmp_path / name_of(8)).mkdir()
    for name in ("guard_0.json", "guard_09.json", "guard_1_2.json", "guard_1234567890.json", "guard_x.json"):
        (tmp_path / name).write_text("{}")
    saved(storage, 1, epoch=10)
    guard = epochs(storage, uri=databases.uri("empty"))
    guard.claim()
    assert guard.lineage.epoch == 11, "a number that a snapshot has is not given out again"
    for number in (12, 13):
        (tmp_path / name_of(number)).write_text("torn")
    assert guard.may_prune()
    assert [info.timestamp for info in list_snapshots(tmp_path).snapshots] == ["20250102_000000"]
    (tmp_path / name_of(LAST_EPOCH)).write_text("{}")
    last = epochs(storage)
    last.claim()
    assert last.lineage.epoch == 0
    assert not last.may_prune()


def test_a_storage_that_was_away_gets_a_higher_number(tmp_path: Path) -> None:
    here, away = (LocalStorage(tmp_path / name) for name in ("here", "away"))
    (tmp_path / "away").write_text("no folder")
    guard = epochs(here, away)
    guard.claim()
    assert guard.lineage.epoch == 1
    assert not guard.may_prune(), "somebody may have taken over there"
    own = saved(here, 1, epoch=1)
    guard.saved(own.backup_timestamp)
    (tmp_path / "away").unlink()
    for number in range(1, 6):
        assert create(away, claim(number, "another"))
    guard.claim()
    assert guard.lineage == Lineage(6, {1: own.backup_timestamp})
    assert read_claim(here, 6) == read_claim(away, 6)
    assert guard.may_prune()


def test_a_clock_that_was_set_back(storage: Storage) -> None:
    """What is saved after that comes after what was saved before, though its timestamp does not."""
    guard = epochs(storage)
    guard.claim()
    ahead = timestamp_of(datetime.now(timezone.utc) + timedelta(seconds=30))
    guard.saved(ahead)
    guard.claim()
    assert guard.lineage == Lineage(1), "as after a burst"
    ahead = timestamp_of(datetime.now(timezone.utc) + timedelta(hours=1))
    guard.saved(ahead)
    for _ in range(2):
        guard.claim()
        assert guard.lineage == Lineage(2, {1: ahead})
    assert guard.may_prune()


def test_what_only_one_guard_has_is_not_pruned(storage: Storage) -> None:
    """Each later guard goes on from the one before; the second and the fourth saved something more after that."""
    stamps = [saved(storage, day).backup_timestamp for day in range(2)]
    first = saved(storage, 2, epoch=1).backup_timestamp
    second = [saved(storage, day, epoch=2, includes={1: first}).backup_timestamp for day in (3, 4, 6)]
    third = saved(storage, 5, epoch=3, includes={1: first, 2: second[1]}).backup_timestamp
    fourth = saved(storage, 7, epoch=4, includes={3: third}).backup_timestamp
    newest = saved(storage, 8).backup_timestamp
    for number in range(1, 6):
        assert create(storage, claim(number))
    kept = {one.timestamp: one.reason for one in prune(storage.location, Rules(last=1)).snapshots if one.keep}
    assert kept == {newest: "last 1", fourth: "in no later guard's", second[2]: "in no later guard's"}
    assert {first, third, second[0], *stamps}.isdisjoint(
        info.timestamp for info in list_snapshots(storage.location).snapshots
    )
    assert sorted(claims_in(storage.files())) == [1, 2, 3, 4, 5], "they are too young to go"


def test_outlived_numbers_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    for number in range(1, 7):
        assert create(storage, claim(number, source="other" if number == 2 else "prod"))
    stamps = [saved(storage, day, epoch=3).backup_timestamp for day in range(2)]
    later = time.time() + 2 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert prune(tmp_path, Rules(last=9), like=stamps[0]).leftovers == tuple(map(name_of, (1, 4, 5)))
    assert prune(tmp_path, Rules(last=9)).leftovers == (name_of(2),)
    assert sorted(claims_in(storage.files())) == [3, 6], "one that a snapshot has, and the highest"


def test_the_last_guard_is_gone_on_from(storage: Storage, tmp_path: Path) -> None:
    """Else the newest; what no guard saved counts by its time."""
    first = saved(storage, 1, epoch=1)
    second = saved(storage, 2, epoch=2, includes={1: first.backup_timestamp})
    late = saved(storage, 3, epoch=1)
    found = open_snapshot(storage.location, last_guard=True)
    assert found.summary == second
    assert late.backup_timestamp in found.notes[0]
    assert open_snapshot(storage.location).summary == late
    assert open_snapshot(storage.location, "latest~1", last_guard=True).summary == second
    by_hand = saved(storage, 4)
    assert open_snapshot(storage.location, last_guard=True).summary == by_hand
    assert create(storage, claim(2))
    assert verify((), storage.location, every=True).exit_code == 0
    copy((), storage.location, tmp_path / "copy", missing=True)
    copied = LocalStorage(tmp_path / "copy")
    assert {*names(copied)} == {*names(storage)} - {name_of(2)}
    guard = epochs(copied, origin=Origin(until=EVERYTHING))
    guard.claim()
    assert guard.lineage == Lineage(3, {1: late.backup_timestamp, 2: second.backup_timestamp})


def test_what_is_late(storage: Storage, databases: Databases) -> None:
    """What earlier guards saved after that from which this one went on."""
    first = [saved(storage, day, epoch=1) for day in (1, 2)]
    saved(storage, 3, epoch=1, label="another source")
    by_hand = saved(storage, 4)
    for origin, wanted in ((Origin.of(first[0]), first[1:]), (Origin(), first[1:]), (Origin.of(by_hand), [])):
        guard = epochs(storage, origin=origin, uri=databases.uri("empty"))
        guard.claim()
        late, problems = guard.look()
        assert [one.snapshot.summary for one in late] == wanted
        assert not problems
        for one in late:
            assert (one.base.summary if one.base else None) == (None if origin == Origin() else first[0])
            guard.is_in(one)
        assert guard.look() == ([], [])
