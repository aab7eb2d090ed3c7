"""Several storages at once: one that fails is named, and the others still get the whole snapshot."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlmeta import backup
from mlmeta.errors import BucketMissingError, ExitCode, StorageError
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.writer import SnapshotWriter
from mlmeta.storage import LocalStorage, Storage, open_storage
from tests.builders.snapshots import NOW, RECORDS, STAMP, commit, summary
from tests.storage.conftest import Ground
from tests.storage.faulty import Direct, New, every, hasty
from tests.support import fault_proxy as fault
from tests.support.fault_proxy import Fault, Plan
from tests.support.gcs import Emulator
from tests.support.stored import assert_whole, listed, names, publish, read

BREAKS = {"drops": fault.drop_before, "drops after": fault.drop_after, "denies": fault.status(403)}


@pytest.mark.parametrize("order", [1, -1], ids=["bad last", "bad first"])
@pytest.mark.parametrize("name", BREAKS)
def test_a_bucket_that_fails_costs_the_folder_nothing(
    faults: Plan, new: New, direct: Direct, tmp_path: Path, name: str, order: int
) -> None:
    breaks: Fault = BREAKS[name]
    numbers = every(faults, lambda: commit(hasty(new())))
    for number in numbers:
        good, location = LocalStorage(tmp_path / str(number)), new()
        faults.break_at(number, breaks, then=fault.drop_before if breaks is fault.drop_after else breaks)
        done = commit([good, hasty(location, patience=0.1)][::order])
        assert_whole(good)
        assert len(names(good)) == 5, f"request {number}"
        assert done.storages == (good.location,)
        assert list(done.failures) == [location]
        assert done.failures[location].hint
        states = [info.state for info in listed(direct(location))]
        if number == numbers[-1] and breaks is fault.drop_after:  # nobody can know that the summary arrived
            assert states == [SnapshotState.COMPLETE]
        else:
            assert SnapshotState.COMPLETE not in states, f"request {number}"


def test_none_is_left(new: New, faults: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    faults.break_at(1, fault.status(403), then=fault.status(403))
    with pytest.raises(StorageError, match="no permission"):
        commit([LocalStorage(tmp_path / "file"), hasty(new())])
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_folder_that_is_a_file(ground: Ground, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    bad = LocalStorage(tmp_path / "file" / below)
    done = commit([bad, ground.open()])
    assert_whole(ground.open())
    assert list(done.failures) == [bad.location]
    assert "file" in str(done.failures[bad.location])
    assert done.failures[bad.location].hint


def test_a_bucket_that_does_not_exist(gcs: Emulator, tmp_path: Path) -> None:
    good, bad = LocalStorage(tmp_path / "good"), open_storage("gs://no-such-bucket/p")
    done = commit([bad, good])
    assert_whole(good)
    assert isinstance(done.failures[bad.location], BucketMissingError)


def test_a_folder_that_goes_while_records_come(ground: Ground, tmp_path: Path) -> None:
    bad, good = LocalStorage(tmp_path / "bad"), ground.open()
    with SnapshotWriter([bad, good], NOW) as writer:
        for record in RECORDS:
            writer.add(record)
        shutil.rmtree(tmp_path / "bad")
        done = writer.commit(summary())
    assert list(done.failures) == [bad.location]
    assert_whole(good)
    assert len(ground.names()) == 5
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_taken_after_the_timestamp_was_claimed(
    faults: Plan, new: New, direct: Direct, tmp_path: Path, order: int
) -> None:
    """That is no other backup, which would have claimed the timestamp first."""
    good, location, name = LocalStorage(tmp_path), new(), f"runs_{STAMP}.json"

    def takes(request: fault.Request) -> Fault:
        if request.method == "POST" and name.encode() in request.body and name not in names(direct(location)):
            publish(direct(location), name, b"theirs")
        return fault.none

    faults.fault_for = takes
    done = commit([good, hasty(location)][::order])
    assert_whole(good, STAMP)
    assert name in str(done.failures[location])
    assert names(direct(location)) == [name]
    assert read(direct(location), name) == b"theirs"


def test_what_is_altered_before_the_summary_is_written(
    faults: Plan, new: New, direct: Direct, emulator: Emulator, tmp_path: Path
) -> None:
    good, location, name = LocalStorage(tmp_path), new(), f"runs_{STAMP}.json"
    _, _, bucket, prefix, _ = location.split("/")

    def alters(request: fault.Request) -> Fault:
        if request.method == "GET" and name in request.path:
            emulator.put(bucket, {f"{prefix}/{name}": b"altered"})
        return fault.none

    faults.fault_for = alters
    done = commit([good, hasty(location)])
    assert_whole(good, STAMP)
    assert "does not hold what was written" in str(done.failures[location])
    assert SnapshotState.COMPLETE not in [info.state for info in listed(direct(location))]
    assert f"backup_summary_{STAMP}.json" not in names(direct(location))


class TestOneTimestampEverywhere:
    @pytest.mark.parametrize("order", [1, -1])
    def test_taken_in_one_of_them(self, ground: Ground, tmp_path: Path, order: int) -> None:
        free = LocalStorage(tmp_path / "free")
        commit(ground.open())
        done = commit([ground.open(), free][::order])
        assert done.summary.backup_timestamp == "20250815_232929"
        assert not [name for name in names(free) if STAMP in name]
        for storage in (free, ground.open()):
            assert_whole(storage, "20250815_232929")

    @pytest.mark.parametrize("order", [1, -1])
    def test_taken_at_the_last_moment(self, faults: Plan, new: New, direct: Direct, tmp_path: Path, order: int) -> None:
        """Somebody claims the timestamp after this backup has looked, and before it claims it too."""
        folder, location = LocalStorage(tmp_path), new()

        def claims(request: fault.Request) -> Fault:
            if request.method == "POST" and not listed(direct(location)):
                publish(direct(location), f"experiments_{STAMP}.json", b"theirs")
            return fault.none

        faults.fault_for = claims
        done = commit([folder, hasty(location)][::order])
        assert (done.summary.backup_timestamp, done.failures) == ("20250815_232929", {})
        assert not [name for name in names(folder) if STAMP in name]
        assert [name for name in names(direct(location)) if STAMP in name] == [f"experiments_{STAMP}.json"]
        assert_whole(direct(location))

    def test_many_at_once_into_two(self, local_ground: Ground, gcs_ground: Ground) -> None:
        start = threading.Barrier(8)

        def back_up(number: int) -> str:
            places: Sequence[Storage] = [local_ground.open(), gcs_ground.open()]
            start.wait(30)
            return commit(places[:: (-1) ** number]).summary.backup_timestamp

        with ThreadPoolExecutor(8) as pool:
            stamps = set(pool.map(back_up, range(8)))
        assert len(stamps) == 8
        for ground in (local_ground, gcs_ground):
            assert {info.timestamp for info in listed(ground.open())} == stamps
            assert [info.state for info in listed(ground.open())] == [SnapshotState.COMPLETE] * 8
            for stamp in stamps:
                assert_whole(ground.open(), stamp)


@pytest.mark.parametrize("if_changed", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_the_command_says_so(
    databases_uri: Callable[[], str], ground: Ground, tmp_path: Path, order: int, if_changed: bool
) -> None:
    """It ends with a snapshot, the failure, and the exit code for what is incomplete."""
    (tmp_path / "file").touch()
    bad = str(tmp_path / "file" / "sub")
    result = backup(databases_uri(), [ground.location, bad][::order], if_changed=if_changed)
    assert result.exit_code == ExitCode.INCOMPLETE
    assert len(result.failures) == len(result.storages) == 1
    assert bad in next(iter(result.failures))


class _Listening:
    """Not `Silent`: then a backup looks at the newest snapshot, for what to expect."""

    def phase(self, name: str) -> None: ...

    def expect(self, unit: str, total: int) -> None: ...

    def advance(self, unit: str, amount: int = 1) -> None: ...


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("if_changed", [False, True])
def test_the_command_says_so_where_not_even_a_list_is_given(
    databases_uri: Callable[[], str], faults: Plan, new: New, tmp_path: Path, order: int, if_changed: bool
) -> None:
    faults.break_at(1, fault.status(403), then=fault.status(403))
    places = [new(), str(tmp_path)][::order]
    result = backup(databases_uri(), places, if_changed=if_changed, progress=_Listening())
    assert result.exit_code == ExitCode.INCOMPLETE
    assert result.storages == (f"{tmp_path}/",)
    (issue,) = result.failures.values()
    assert "no permission" in issue.message
    assert issue.hint
