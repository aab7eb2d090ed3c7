"""Whatever happens to a file of a snapshot, verify finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import open_snapshot, verify
from mlmeta.errors import MlmetaError
from mlmeta.operations.listing import list_snapshots
from mlmeta.snapshot.catalog import State
from tests.support import damage

KINDS = ("experiments", "runs", "metrics", "models", "backup_summary")


def _file(folder: Path, kind: str) -> Path:
    (found,) = folder.glob(f"{kind}_2*.json")
    return found


def _problems(folder: Path) -> list[str]:
    return [problem.message for found in verify(storage=str(folder)).snapshots for problem in found.problems]


def test_a_sound_snapshot_has_no_problem(snapshots: Path) -> None:
    result = verify(storage=str(snapshots))
    assert _problems(snapshots) == []
    assert result.exit_code == 0
    assert result.snapshots[0].records > 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_flip_anywhere_is_found(snapshots: Path, kind: str) -> None:
    path = _file(snapshots, kind)
    content = path.read_bytes()
    for position in damage.positions(len(content), 60):
        damage.flip(position)(path)
        assert _problems(snapshots), position
        path.write_bytes(content)
    assert _problems(snapshots) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_anywhere_is_found(snapshots: Path, kind: str) -> None:
    path = _file(snapshots, kind)
    content = path.read_bytes()
    for position in damage.positions(len(content), 40):
        path.write_bytes(content[:position])
        assert _problems(snapshots), position


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("how", damage.NAMED)
def test_a_damaged_file_is_found_and_named(snapshots: Path, kind: str, how: str) -> None:
    path = _file(snapshots, kind)
    damage.NAMED[how](path)
    (problem, *_) = _problems(snapshots)
    assert path.name in problem


def test_two_swapped_files_are_found(snapshots: Path) -> None:
    damage.swapped_with(lambda _: _file(snapshots, "models"))(_file(snapshots, "experiments"))
    assert len(_problems(snapshots)) == 2


def test_quick_finds_what_sizes_tell(snapshots: Path) -> None:
    assert verify(storage=str(snapshots), quick=True).exit_code == 0
    damage.cut(-1)(_file(snapshots, "runs"))
    assert verify(storage=str(snapshots), quick=True).exit_code == 4


def test_verify_all_goes_on_after_a_bad_one(snapshots: Path, databases: object) -> None:
    damage.flip(50)(_file(snapshots, "runs"))
    good = "20200101_000000"
    sound = open_snapshot(str(snapshots))
    for path in list(snapshots.glob("*_2*.json")):
        path.with_name(path.name.replace(sound.timestamp, good)).write_bytes(path.read_bytes())
    result = verify(storage=str(snapshots), every=True)
    assert len(result.snapshots) == 2
    assert all(found.problems for found in result.snapshots)  # a renamed copy is no snapshot either


@pytest.mark.parametrize("how", damage.NAMED)
def test_a_damaged_summary_is_found_by_all_who_read_it(snapshots: Path, how: str) -> None:
    path = _file(snapshots, "backup_summary")
    timestamp = path.stem[-15:]
    damage.NAMED[how](path)
    (row,) = list_snapshots(str(snapshots)).snapshots
    assert row.timestamp == timestamp
    assert row.state in {State.DAMAGED, State.INCOMPLETE}
    assert row.problem
    with pytest.raises(MlmetaError) as caught:
        open_snapshot(str(snapshots), timestamp)
    assert caught.value.exit_code in {4, 5}
    assert caught.value.hint
