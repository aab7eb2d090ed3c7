"""Snapshots that go because a person says so: named, asked about, and never the only good one by accident."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mlmeta import copy, forget, list_snapshots
from mlmeta.commands.forget import ForgetResult
from mlmeta.commands.prune import prune
from mlmeta.commands.removal import STAYS
from mlmeta.commands.verify import verify
from mlmeta.errors import AmbiguousSelectorError, SnapshotNotFoundError, StorageError, UsageError
from mlmeta.schema import Skipped
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import LocalStorage, Storage, open_storage
from tests.builders.snapshots import NOW, commit
from tests.support.cli import Cli
from tests.support.stored import names


def snapshot(folder: Path, day: int, **more: object) -> str:
    at = NOW + timedelta(days=day)
    return commit(LocalStorage(folder), at=at, **more).summary.backup_timestamp


def left(folder: Path) -> set[str]:
    """The days of which anything is left."""
    return {name.partition("_2025")[2][2:4] for name in names(LocalStorage(folder))}


def test_one_goes_with_all_its_files(tmp_path: Path) -> None:
    stamps = [snapshot(tmp_path, day) for day in range(3)]
    plans: list[ForgetResult] = []
    done = forget(stamps[1], str(tmp_path), confirm=plans.append)
    assert left(tmp_path) == {"15", "17"}
    assert ([one.timestamp for one in done.snapshots], done.freed > 0) == ([stamps[1]], True)
    assert (plans[0].snapshots, plans[0].snapshots[0].is_last) == (done.snapshots, False)
    with pytest.raises(SnapshotNotFoundError):
        forget(stamps[1], str(tmp_path))
    with pytest.raises(AmbiguousSelectorError):
        forget("202508", str(tmp_path))
    (newest,) = forget("latest", str(tmp_path), dry_run=True).snapshots
    assert (newest.timestamp, newest.instead) == (stamps[2], stamps[0])
    assert left(tmp_path) == {"15", "17"}


def test_the_only_good_one_stays_unless_that_is_said(tmp_path: Path) -> None:
    """Of its source and limits; what is shrunken or damaged does not stand for it, and may go."""
    good = snapshot(tmp_path, 0, label="prod")
    shrunken = snapshot(tmp_path, 1, label="prod", shrunken="0 runs where 2025 has 5")
    damaged = snapshot(tmp_path, 2, label="prod")
    (tmp_path / f"runs_{damaged}.json").unlink()
    snapshot(tmp_path, 3, label="other")
    snapshot(tmp_path, 4, label="prod", experiments=("churn",))
    partial = Skipped(kind="run", id="r9", reason="it could not be read")
    for day in (5, 6):
        snapshot(tmp_path, day, label="gaps", skipped=() if day == 5 else (partial,))
    with pytest.raises(UsageError, match="is the only snapshot of gaps without gaps"):
        forget("20250820", str(tmp_path))
    with pytest.raises(
        UsageError, match="20250821_232928, 20250820_232928 are together the only good snapshot of gaps"
    ):
        forget(["20250820", "20250821"], str(tmp_path))
    forget(["20250820", "20250821"], str(tmp_path), even_last=True)
    for selectors in ([good], [good, shrunken], [damaged, good]):
        with pytest.raises(
            UsageError, match=f"{good} (is|are together) the only good snapshot of prod in .*nothing was removed"
        ):
            forget(selectors, str(tmp_path))
    assert left(tmp_path) == {"15", "16", "17", "18", "19"}
    forget([shrunken, damaged], str(tmp_path))
    assert left(tmp_path) == {"15", "18", "19"}
    assert forget(good, str(tmp_path), even_last=True).snapshots[0].is_last
    assert left(tmp_path) == {"18", "19"}


def test_copies_go_together(tmp_path: Path) -> None:
    """From each storage that has one; not where another snapshot has the same name."""
    here, there, elsewhere = (str(tmp_path / name) for name in ("here", "there", "elsewhere"))
    stamps = [snapshot(tmp_path / "here", day) for day in range(2)]
    copy(stamps[0], here, there)
    snapshot(tmp_path / "there", 5)
    snapshot(tmp_path / "elsewhere", 0, label="another")
    snapshot(tmp_path / "elsewhere", 1, label="another")
    with pytest.raises(UsageError, match="have different snapshots"):
        forget(stamps[0], [here, elsewhere])
    with pytest.raises(StorageError):
        forget(stamps[0], [here, str(tmp_path / "nowhere")])
    shutil.copytree(tmp_path / "here", tmp_path / "third")
    done = forget([stamps[0]], [here, there, str(tmp_path / "third"), f"{here}/../here"])
    assert [one.storage for one in done.snapshots] == [f"{here}/", f"{there}/", f"{tmp_path / 'third'}/"]
    (tmp_path / "there" / "notes.txt").touch()
    done = forget([stamps[1]], [there, here], even_last=True)
    assert (done.lacking, [one.storage for one in done.snapshots]) == ({f"{there}/": (stamps[1],)}, [f"{here}/"])


def test_a_storage_that_changes_while_somebody_thinks(tmp_path: Path) -> None:
    first, second = snapshot(tmp_path, 0), snapshot(tmp_path, 1)

    def think(_: ForgetResult) -> None:
        forget(second, str(tmp_path))

    with pytest.raises(UsageError, match="has changed"):
        forget(first, str(tmp_path), confirm=think)
    assert left(tmp_path) == {"15"}


@pytest.mark.parametrize("how", ["forget", "prune"])
def test_two_at_the_same_moment_leave_one(storage: Storage, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Each has seen the other's snapshot; the second one puts its own back, all of it."""
    older, newer, place = *(commit(storage, at=NOW + timedelta(days=day)).summary for day in range(2)), storage.location
    before, others = names(storage), [newer.backup_timestamp]
    remove: Callable[[Storage, str], bool] = type(storage).remove

    def meanwhile(self: Storage, name: str) -> bool:
        if others:
            assert len(forget(others.pop(), place).snapshots) == 1
        return remove(self, name)

    monkeypatch.setattr(type(storage), "remove", meanwhile)
    if how == "forget":
        done = forget(older.backup_timestamp, place)
        assert (done.snapshots, done.exit_code, [*done.kept.values()]) == ((), 3, [STAYS])
    else:
        pruned = prune(place, Rules(last=1))
        assert [(one.keep, one.reason) for one in pruned.snapshots] == [(True, "last 1"), (True, STAYS)]
        assert pruned.freed == 0
    assert sorted(names(storage)) == sorted(name for name in before if newer.backup_timestamp not in name)
    assert verify((), place, every=True).exit_code == 0
    (info,) = list_snapshots(place).snapshots
    assert (info.timestamp, info.state.value) == (older.backup_timestamp, "complete")
    assert forget(older.backup_timestamp, place, even_last=True).exit_code == 0
    assert not names(storage)


def test_what_can_not_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = [snapshot(tmp_path, day) for day in range(3)]
    remove: Callable[[LocalStorage, str], bool] = LocalStorage.remove

    def stubborn(self: LocalStorage, name: str) -> bool:
        if name == f"backup_summary_{stamps[0]}.json":
            raise StorageError("no permission")
        return remove(self, name)

    monkeypatch.setattr(type(open_storage(str(tmp_path))), "remove", stubborn)
    done = forget(stamps[:2], str(tmp_path))
    assert ([one.timestamp for one in done.snapshots], done.exit_code) == ([stamps[1]], 3)
    assert [issue.message for issue in done.issues] == [f"{tmp_path}/ {stamps[0]}: no permission"]
    assert left(tmp_path) == {"15", "17"}


def test_the_command_asks(cli: Cli) -> None:
    stamps = [snapshot(cli.folder / "backups", day, label="prod", tags={"release": "1"}) for day in range(2)]
    done = cli("forget", stamps[0]).ended(2)
    assert "there is no terminal to ask on" in done.err
    assert f"{stamps[0]} has the tags release=1." in done.err
    assert left(cli.folder / "backups") == {"15", "16"}
    assert "Would remove 1 snapshot" in cli("forget", "latest", "--dry-run").ok().out
    assert cli("forget", stamps[0], "--yes", "--json").ok().data["snapshots"][0]["label"] == "prod"
    assert "--even-last" in cli("forget", "latest", "--yes").ended(2).err
    assert cli("forget", "--json").ended(2).document["errors"][0]["code"] == "usage"
    assert cli("forget", "19990101_000000", "--json").ended(5).document["errors"][0]["code"] == "snapshot_not_found"
