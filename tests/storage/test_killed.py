"""Killed at any moment: what was there stays, and nothing half-done is called a snapshot."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlmeta.commands.copy import copy
from mlmeta.commands.prune import prune
from mlmeta.commands.verify import verify
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.retention import Rules
from mlmeta.storage import Storage, open_storage
from tests.builders.snapshots import commit
from tests.support import killed
from tests.support.stored import assert_whole, listed

_KILLED = -signal.SIGKILL


def until_it_survives(folder: Path, *words: str) -> Iterator[int]:
    """Kill the script at its 1st, 2nd, … write event, until it has no more of them."""
    for number in range(1, 200):
        if killed.run(number, folder, *words) != _KILLED:
            assert number > 3, "it was killed at least a few times"
            return
        yield number
    raise AssertionError("it never came to an end")


def whole(folder: Path) -> list[str]:
    """The snapshots that `list` calls complete; each of them is."""
    storage = open_storage(str(folder))
    found = [info.timestamp for info in listed(storage) if info.state is SnapshotState.COMPLETE]
    for timestamp in found:
        assert_whole(storage, timestamp)
    return found


def test_a_backup(tmp_path: Path) -> None:
    assert killed.run(0, tmp_path, "backup", "0") == 0
    first = whole(tmp_path)
    assert len(first) == 1
    done = 0
    for number in until_it_survives(tmp_path, "backup", "1"):
        assert set(first) <= set(whole(tmp_path)), f"killed at write {number}"
        done = number
    assert done > 8
    last = whole(tmp_path)
    assert len(last) >= 2
    assert all(
        info.state in {SnapshotState.COMPLETE, SnapshotState.INCOMPLETE} for info in listed(open_storage(str(tmp_path)))
    )


def test_prune(tmp_path: Path) -> None:
    for day in range(4):
        killed.run(0, tmp_path, "backup", str(day))
    newest = whole(tmp_path)[0]
    for _ in until_it_survives(tmp_path, "prune"):
        states = {info.timestamp: info.state for info in listed(open_storage(str(tmp_path)))}
        assert states[newest] is SnapshotState.COMPLETE
        assert SnapshotState.DAMAGED not in states.values(), "the summary goes first"
        whole(tmp_path)
    assert whole(tmp_path) == [newest]


def test_copy(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    for day in range(2):
        killed.run(0, here, "backup", str(day))
    for _ in until_it_survives(here, "copy", str(there)):
        whole(there)
        assert all(
            info.state in {SnapshotState.COMPLETE, SnapshotState.INCOMPLETE}
            for info in listed(open_storage(str(there)))
        )
    assert whole(there) == whole(here)
    assert verify([], str(there), every=True).issues == ()


def test_sixteen_backups_at_once(storage: Storage) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: commit(open_storage(storage.location)), range(16)))
    stamps = {committed.summary.backup_timestamp for committed in made}
    assert len(stamps) == 16
    assert {info.timestamp for info in listed(storage) if info.state is SnapshotState.COMPLETE} == stamps
    for stamp in stamps:
        assert_whole(storage, stamp)


@pytest.mark.parametrize("compress", [False, True])
def test_plain_and_compressed_backups_at_once(tmp_path: Path, compress: bool) -> None:
    location = str(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: commit(open_storage(location), compress=n % 2 == compress), range(8)))
    assert len({committed.summary.backup_timestamp for committed in made}) == 8
    assert len(whole(tmp_path)) == 8


def test_backups_beside_prune(tmp_path: Path) -> None:
    location = str(tmp_path)
    with ThreadPoolExecutor(6) as pool:
        pruning = [pool.submit(prune, location, Rules(last=100)) for _ in range(1)]
        made = [pool.submit(commit, open_storage(location)) for _ in range(12)]
        pruning += [pool.submit(prune, location, Rules(last=100)) for _ in range(8)]
        stamps = {future.result().summary.backup_timestamp for future in made}
        for future in pruning:
            future.exception()
    assert set(whole(tmp_path)) == stamps
    assert copy(["latest"], location, str(tmp_path / "there")).snapshots[0].size > 0
