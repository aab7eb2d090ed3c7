"""Killed or interrupted at any change of the storage, a backup leaves old snapshots intact and no half one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mlmeta import list_snapshots, verify
from mlmeta.snapshot.catalog import SnapshotState
from tests.support.cli import Cli
from tests.support.databases import Databases
from tests.support.examples import some
from tests.support.interference import environment, install, limit_file_size
from tests.support.server import Server

OLD = "20200101_000000"


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> str:
    return databases.copy("filled", tmp_path / "source.db")


@pytest.fixture
def old(snapshot_folder: Path, cli: Cli, store: str) -> dict[str, bytes]:
    """A folder that has a snapshot; its files."""
    cli("backup", "--tracking-uri", store, "--experiment", "churn").ok()
    return _files(cli.folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "backups").iterdir()}


def _count(cli: Cli, store: str, *more: str) -> int:
    cli("backup", "--tracking-uri", store, *more, env=environment(cli.folder, 0, 0), before=install).ok()
    changes = (cli.folder / ".changes").read_text().splitlines()
    (cli.folder / ".changes").unlink()
    return len(changes)


def _assert_sound(folder: Path, old: dict[str, bytes]) -> set[SnapshotState]:
    """Old files as they were, the list works, and what it calls complete is complete."""
    found = _files(folder)
    assert {name: found.get(name) for name in old} == old
    rows = list_snapshots(str(folder / "backups")).snapshots
    assert verify(storage=str(folder / "backups"), every=True).exit_code == 0
    return {row.state for row in rows}


@pytest.mark.parametrize("more", [(), ("--compress",)])
def test_killed_at_every_change(cli: Cli, store: str, old: dict[str, bytes], more: tuple[str, ...]) -> None:
    changes = _count(cli, store, *more)
    assert changes > 10
    for at in range(1, changes + 1, 4 if more else 1):
        done = cli(
            "backup", "--tracking-uri", store, *more, env=environment(cli.folder, at, signal.SIGKILL), before=install
        )
        assert done.code == -signal.SIGKILL
        assert _assert_sound(cli.folder, old) <= {SnapshotState.COMPLETE, SnapshotState.INCOMPLETE}
    before = len(list_snapshots(str(cli.folder / "backups")).snapshots)
    again = cli("backup", "--tracking-uri", store, "--json").ok().data["timestamp"]
    rows = list_snapshots(str(cli.folder / "backups")).snapshots
    assert len(rows) == before + 1
    assert [row.state for row in rows if row.timestamp == again] == [SnapshotState.COMPLETE]


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_at_every_change(
    cli: Cli, store: str, old: dict[str, bytes], by: signal.Signals, code: int
) -> None:
    changes = _count(cli, store)
    old = _files(cli.folder)
    finished = 0
    for at in range(1, changes + 1):
        done = cli("backup", "--tracking-uri", store, env=environment(cli.folder, at, by), before=install)
        assert done.code in {code, 0}, (at, done)
        assert "Traceback" not in done.err
        assert _assert_sound(cli.folder, old) == {SnapshotState.COMPLETE}, at
        found = _files(cli.folder)
        assert not [name for name in found if name.startswith(".")], at  # cleaned up: no staged files
        if found != old:
            finished += 1  # too late: the summary was there, and only staged names were left to remove
            assert len(found) == len(old) + 5, at
        else:
            assert done.code == code, at
        old = found
    assert finished <= 6


@pytest.mark.parametrize("limit", some([0, 100, 700, 2000, 3000, 4500], 4))
def test_a_full_disk(cli: Cli, filled: Server, old: dict[str, bytes], limit: int) -> None:
    """From a server: a SQLite source would be copied first, into a file that is too big as well."""
    store = filled.uri
    done = cli(
        "backup", "--tracking-uri", store, "--quiet", env={"FILE_SIZE_LIMIT": str(limit)}, before=limit_file_size
    )
    assert done.code == 1
    assert _files(cli.folder) == old
    if limit > 1000:  # the message itself needs a little space
        assert "no space left" in done.err
        assert str(cli.folder / "backups") in done.err or "backups" in done.err
    cli("backup", "--tracking-uri", store).ok()
    _assert_sound(cli.folder, old)


def test_two_backups_in_one_second_and_many_at_once(cli: Cli, store: str) -> None:
    running = [cli.start("backup", "--tracking-uri", store, "--json") for _ in range(6)]
    timestamps = [process.wait().ok().data["timestamp"] for process in running]
    assert len(set(timestamps)) == 6
    rows = list_snapshots(str(cli.folder / "backups")).snapshots
    assert [row.state for row in rows] == [SnapshotState.COMPLETE] * 6
    assert verify(storage=str(cli.folder / "backups"), every=True).exit_code == 0
    assert len(_files(cli.folder)) == 6 * 5
