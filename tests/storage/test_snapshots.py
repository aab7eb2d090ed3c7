"""Snapshots in every storage: written whole, read back, never mixed up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlmeta import copy, list_snapshots, prune, verify
from mlmeta.errors import SnapshotNotFoundError
from mlmeta.schema import KINDS, Experiment, Record
from mlmeta.snapshot.catalog import ABOUT, SnapshotState
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.retention import Rules
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.snapshot.writer import SnapshotWriter
from tests.builders import legacy
from tests.builders.snapshots import NOW, RECORDS, STAMP, commit
from tests.storage.conftest import Ground
from tests.support.stored import assert_whole, listed, names, publish, read

WRITERS = 16


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_written_is_read_back(ground: Ground, compress: bool) -> None:
    commit(ground.open(), compress=compress)
    assert_whole(ground.open())
    assert_whole(ground.open(), STAMP)
    ending = ".json.gz" if compress else ".json"
    data = {f"{kind.name}_{STAMP}{ending}" for kind in KINDS.values() if kind.always}
    assert ground.names() == {*data, f"backup_summary_{STAMP}.json"}


def test_left_without_a_commit_nothing_stays(ground: Ground) -> None:
    with SnapshotWriter([ground.open()], NOW) as writer:
        for record in RECORDS:
            writer.add(record)
        assert names(ground.open()) == []
    assert ground.names() == set()


def test_the_same_second_is_given_out_once(ground: Ground) -> None:
    stamps = [commit(ground.open()).summary.backup_timestamp for _ in range(3)]
    assert stamps == ["20250815_232928", "20250815_232929", "20250815_232930"]
    for stamp in stamps:
        assert_whole(ground.open(), stamp)


@pytest.mark.parametrize("mixed", [False, True], ids=["alike", "compressed and not"])
def test_many_backups_at_once(ground: Ground, mixed: bool) -> None:
    start = threading.Barrier(WRITERS)

    def back_up(number: int) -> tuple[str, list[Record]]:
        records: list[Record] = [Experiment(experiment_id=str(number), name=f"of {number}")]
        start.wait(30)
        done = commit(ground.open(), records, compress=mixed and number % 2 == 0)
        return done.summary.backup_timestamp, records

    with ThreadPoolExecutor(WRITERS) as pool:
        done = dict(pool.map(back_up, range(WRITERS)))
    assert len(done) == WRITERS
    for stamp, records in done.items():
        assert_whole(ground.open(), stamp, records)
    assert [info.state for info in listed(ground.open())] == [SnapshotState.COMPLETE] * WRITERS
    assert len(ground.names()) == WRITERS * 5


def test_leftovers_are_no_snapshot(ground: Ground) -> None:
    commit(ground.open())
    publish(ground.open(), "runs_20260101_000000.json", b"[")
    (leftover, whole) = listed(ground.open())
    assert (leftover.state, whole.state) == (SnapshotState.INCOMPLETE, SnapshotState.COMPLETE)
    assert open_snapshot(ground.open()).timestamp == STAMP
    with pytest.raises(SnapshotNotFoundError):
        open_snapshot(ground.open(), "20260101_000000")


def test_what_is_missing_or_short_is_seen_in_the_list(ground: Ground) -> None:
    commit(ground.open())
    ground.open().remove(f"runs_{STAMP}.json")
    assert [info.state for info in listed(ground.open())] == [SnapshotState.DAMAGED]
    publish(ground.open(), f"runs_{STAMP}.json", b"[\n]\n")
    assert [info.state for info in listed(ground.open())] == [SnapshotState.DAMAGED]


def test_what_is_altered_is_found(ground: Ground) -> None:
    commit(ground.open())
    name = f"runs_{STAMP}.json"
    content = bytearray(read(ground.open(), name))
    content[len(content) // 2] ^= 1
    ground.put({name: bytes(content)})
    problems = verify_snapshot(open_snapshot(ground.open()))
    assert {problem.file for problem in problems} == {name}


def test_a_snapshot_of_a_newer_major_version(gcs_ground: Ground) -> None:
    """The copy of the summary that rides on the object's metadata is of that version, too."""
    storage = gcs_ground.open()
    commit(storage)
    name = f"backup_summary_{STAMP}.json"
    (summary,) = (file for file in storage.files() if file.name == name)
    content = read(storage, name)
    storage.remove(name)
    newer = {ABOUT: summary.about[ABOUT].replace('"schema_version":"1.', '"schema_version":"9.')}
    assert newer[ABOUT] != summary.about[ABOUT]
    publish(storage, name, content.replace(b'"schema_version": "1.', b'"schema_version": "9.'), newer)
    assert [info.state for info in listed(storage)] == [SnapshotState.UNSUPPORTED]


def test_the_older_script_put_its_files_into_folders(ground: Ground, tmp_path: Path) -> None:
    old = legacy.write(tmp_path / "old", nested=True)
    ground.put({f"{old.name}/{path.name}": path.read_bytes() for path in old.iterdir()})
    assert [info.state for info in listed(ground.open())] == [SnapshotState.LEGACY]
    assert verify_snapshot(open_snapshot(ground.open())) == []


def test_the_commands_take_both_kinds(gcs_ground: Ground, local_ground: Ground) -> None:
    local, gcs = local_ground.location, gcs_ground.location
    for _ in range(3):
        commit(local_ground.open())
    copied = copy([], local, gcs, missing=True)
    assert [snapshot.timestamp for snapshot in copied.snapshots] == [STAMP, "20250815_232929", "20250815_232930"]
    assert copy([], local, gcs, missing=True).snapshots == ()
    assert copy(["latest"], local, gcs).snapshots[0].size == 0
    assert verify(storage=gcs).exit_code == 0
    assert len(list_snapshots(gcs).snapshots) == 3
    prune(gcs, Rules(last=1))
    assert [snapshot.timestamp for snapshot in list_snapshots(gcs).snapshots] == ["20250815_232930"]
    assert len(gcs_ground.names()) == 5
    back = copy(["latest"], gcs, str(local_ground.location) + "-again")
    assert_whole(local_ground.open())
    assert back.snapshots[0].size > 0
