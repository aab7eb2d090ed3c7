"""Copies: what is refused changes nothing, what can't be copied is named, and a full disk is survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import copy, verify
from mlmeta.errors import (
    DamagedSnapshotError,
    ExitCode,
    ObjectMissingError,
    StorageError,
    StorageFullError,
)
from mlmeta.schema import Experiment, Record
from mlmeta.snapshot import copying
from mlmeta.snapshot.catalog import SnapshotState, file_sets
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.storage import LocalStorage, Storage
from tests.builders import legacy
from tests.builders.snapshots import RECORDS, STAMP, commit
from tests.storage.conftest import Ground
from tests.storage.faulty import Direct, New, failure
from tests.storage.test_errors import no_file_beyond
from tests.support.cli import Cli
from tests.support.fault_proxy import Plan
from tests.support.stored import assert_whole, listed, names, publish, read

OTHER: tuple[Record, ...] = (Experiment(experiment_id="0", name="other"),)


def contents(storage: Storage) -> dict[str, bytes]:
    return {name: read(storage, name) for name in names(storage)}


@pytest.mark.parametrize("records", [RECORDS, OTHER], ids=["same metadata", "other metadata"])
@pytest.mark.parametrize("here", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("there", [False, True], ids=["to plain", "to compressed"])
def test_a_refused_copy_changes_nothing(
    ground: Ground, tmp_path: Path, records: tuple[Record, ...], here: bool, there: bool
) -> None:
    origin, target = LocalStorage(tmp_path / "origin"), ground.open()
    commit(origin, compress=here)
    commit(target, records, compress=there)
    before = contents(target)
    if (here, records) == (there, RECORDS):
        assert copy([STAMP], origin.location, target.location).snapshots[0].size == 0
    else:
        with pytest.raises(StorageError, match="share a timestamp"):
            copy([STAMP], origin.location, target.location)
    assert contents(target) == before
    assert [info.state for info in listed(target)] == [SnapshotState.COMPLETE]
    assert_whole(target, STAMP, records)


@pytest.mark.parametrize("theirs", ["experiments_{}.json.gz", "runs_{}.json.gz"])
def test_a_backup_that_still_runs_has_its_timestamp(ground: Ground, tmp_path: Path, theirs: str) -> None:
    commit(LocalStorage(tmp_path))
    publish(ground.open(), theirs.format(STAMP), b"half")
    with pytest.raises(StorageError, match="share a timestamp"):
        copy([STAMP], str(tmp_path), ground.location)
    assert ground.names() == {theirs.format(STAMP)}


def test_a_copy_heals_the_other_one(ground: Ground, tmp_path: Path) -> None:
    origin, target = LocalStorage(tmp_path / "origin"), ground.open()
    commit(origin)
    copy([STAMP], origin.location, target.location)
    target.remove(f"runs_{STAMP}.json")
    assert copy([STAMP], origin.location, target.location).snapshots[0].size > 0
    assert contents(target) == contents(origin)


@pytest.mark.parametrize("kind", ["experiments", "runs", "metrics", "models"])
def test_what_lacks_a_file_is_not_copied(ground: Ground, tmp_path: Path, kind: str) -> None:
    commit(ground.open())
    ground.open().remove(f"{kind}_{STAMP}.json")
    with pytest.raises(ObjectMissingError) as caught:
        copy([STAMP], ground.location, str(tmp_path / "there"))
    assert caught.value.name == f"{kind}_{STAMP}.json"
    assert f"backup_summary_{STAMP}.json" not in names(LocalStorage(tmp_path / "there"))


def test_a_summary_that_changes_on_the_way_is_not_copied(tmp_path: Path) -> None:
    origin, target = LocalStorage(tmp_path / "here"), LocalStorage(tmp_path / "there")
    commit(origin)
    snapshot, (files,) = open_snapshot(origin), file_sets(origin)
    path = origin.folder / f"backup_summary_{STAMP}.json"
    path.write_bytes(path.read_bytes().replace(b"http://a", b"http://b"))
    with pytest.raises(DamagedSnapshotError):
        copying.copy(snapshot, files, target)
    assert not target.folder.exists()


class TestMissing:
    def test_what_can_not_be_copied_is_named(self, ground: Ground, tmp_path: Path) -> None:
        for _ in range(3):
            commit(ground.open())
        ground.open().remove("runs_20250815_232929.json")
        result = copy([], ground.location, str(tmp_path), missing=True)
        assert [copied.timestamp for copied in result.snapshots] == [STAMP, "20250815_232930"]
        (issue,) = result.issues
        assert issue.code == "not_copied"
        assert "20250815_232929" in issue.message
        assert "runs_20250815_232929.json is missing" in issue.message
        assert result.exit_code == ExitCode.INCOMPLETE

    def test_leftovers_are_nothing_that_is_missing(self, ground: Ground, tmp_path: Path) -> None:
        commit(ground.open())
        publish(ground.open(), "runs_20250303_000000.json", b"[\n]\n")
        result = copy([], ground.location, str(tmp_path), missing=True)
        assert (len(result.snapshots), result.issues, result.exit_code) == (1, (), ExitCode.DONE)

    def test_many_snapshots_take_two_lists(self, faults: Plan, new: New, direct: Direct) -> None:
        here, there = new(), new()
        for _ in range(5):
            commit(direct(here))
        faults.heal()
        assert len(copy([], here, there, missing=True).snapshots) == 5
        assert len([r for r in faults.requests if r.method == "GET" and "/o?" in r.path]) == 2

    def test_on_the_command_line(self, cli: Cli) -> None:
        origin = LocalStorage(cli.folder / "backups")
        for _ in range(2):
            commit(origin)
        origin.remove(f"models_{STAMP}.json")
        done = cli("copy", "--missing", "--to", "there", "--json").ended(3).document
        assert done["status"] == "partial"
        assert [error["code"] for error in done["errors"]] == ["not_copied"]
        assert [copied["timestamp"] for copied in done["data"]["snapshots"]] == ["20250815_232929"]
        assert STAMP in cli("copy", "--missing", "--to", "there").ended(3).err
        cli("copy", "--missing", "latest", "--to", "there").ended(2)


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "in a folder"])
def test_snapshots_of_the_older_script(ground: Ground, tmp_path: Path, nested: bool) -> None:
    old = legacy.write(tmp_path / "old", nested=nested)
    for _ in range(2):
        copy([legacy.TIMESTAMP], str(tmp_path / "old"), ground.location)
    assert ground.names() == {path.name for path in old.iterdir()}
    assert {name: read(ground.open(), name) for name in ground.names()} == {
        p.name: p.read_bytes() for p in old.iterdir()
    }
    assert [info.state for info in listed(ground.open())] == [SnapshotState.LEGACY]
    assert verify([legacy.TIMESTAMP], ground.location).issues == ()
    back = str(tmp_path / "back")
    assert [copied.timestamp for copied in copy([], ground.location, back, missing=True).snapshots] == [
        legacy.TIMESTAMP
    ]


def test_a_full_disk_at_every_size(ground: Ground, tmp_path: Path) -> None:
    """A snapshot's files have 14 to some 1600 bytes. With a bucket, the folder for temporary files is what is full."""
    origin = LocalStorage(tmp_path / "origin")
    commit(origin)
    failed = 0
    for size in (*range(0, 400, 40), *range(400, 2000, 200)):
        with no_file_beyond(size):
            error = failure(lambda: copy([STAMP], origin.location, ground.location))
        if error is not None:
            failed += 1
            assert isinstance(error, StorageFullError)
            assert error.hint
        if failed and f"backup_summary_{STAMP}.json" not in ground.names():
            assert {info.state for info in listed(ground.open())} <= {SnapshotState.INCOMPLETE}
    assert 5 < failed < 18
    copy([STAMP], origin.location, ground.location)
    assert contents(ground.open()) == contents(origin)
    assert len(ground.names()) == 5
