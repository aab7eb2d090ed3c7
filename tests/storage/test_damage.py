"""Every byte of a snapshot counts: whatever is altered, cut, missing, swapped or added is found."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mlmeta import open_snapshot, verify
from mlmeta.errors import SnapshotError, SnapshotNotFoundError
from mlmeta.schema import Experiment, Record, Run
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.storage import LocalStorage
from tests.builders.snapshots import STAMP, commit
from tests.support.stored import listed

KINDS = ("experiments", "runs", "metrics", "models", "backup_summary")
DATA = KINDS[:-1]
EXPERIMENT = Experiment(experiment_id="0", name="Default")
RUN = Run(run_id="r1", experiment_id="0", status="FINISHED", start_time=1)


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a snapshot."""
    commit(LocalStorage(tmp_path), compress=request.param)
    return tmp_path


def file(folder: Path, kind: str) -> Path:
    (found,) = folder.glob(f"{kind}_2*")
    return found


def trusted(folder: Path) -> bool:
    """Whether what a restore asks before its first write would let the snapshot pass."""
    try:
        return not verify_snapshot(open_snapshot(str(folder)))
    except (SnapshotError, SnapshotNotFoundError):
        return False


def damages(content: bytes) -> list[tuple[str, bytes]]:
    """One byte altered, each in two ways, and every length that it can be cut to."""
    altered = [
        (f"byte {at} ^ {mask}", content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
        for at in range(len(content))
        for mask in (1, 1 << (1 + at % 7))
    ]
    return altered + [(f"cut to {size}", content[:size]) for size in range(len(content))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_and_every_length(folder: Path, kind: str) -> None:
    path = file(folder, kind)
    content = path.read_bytes()
    for what, bad in damages(content):
        path.write_bytes(bad)
        assert not trusted(folder), what
    path.write_bytes(content)
    assert trusted(folder)


def test_a_summary_is_not_taken_for_one_of_the_older_script(folder: Path) -> None:
    """Such snapshots have no checksums and no histories: taken for one, it would be restored without its own."""
    path = file(folder, "backup_summary")
    path.write_bytes(path.read_bytes().replace(b'"schema_version"', b'"schema_versioN"'))
    assert [info.state for info in listed(LocalStorage(folder))] == [SnapshotState.DAMAGED]
    assert verify(storage=str(folder)).exit_code == 4


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(DATA, 2)])
def test_any_two_files_swapped(folder: Path, one: str, other: str) -> None:
    first, second = file(folder, one), file(folder, other)
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    assert {problem.file for problem in verify_snapshot(open_snapshot(str(folder)))} == {first.name, second.name}


@pytest.mark.parametrize("kind", DATA)
def test_a_missing_file_is_named(folder: Path, kind: str) -> None:
    path = file(folder, kind)
    path.unlink()
    assert [problem.file for problem in verify_snapshot(open_snapshot(str(folder)))] == [path.name]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ((RUN,), "run r1 is in experiment 0, which is missing"),
        ((EXPERIMENT, RUN.model_copy(update={"experiment_id": "7"})), "experiment 7, which is missing"),
    ],
)
def test_a_run_without_its_experiment(tmp_path: Path, records: tuple[Record, ...], expected: str) -> None:
    commit(LocalStorage(tmp_path), records)
    (problem,) = verify_snapshot(open_snapshot(str(tmp_path)))
    assert problem.file == f"runs_{STAMP}.json"
    assert expected in problem.message


@pytest.mark.parametrize("name", [f"traces_{STAMP}.json", f"traces_{STAMP}.json.gz"])
def test_a_file_of_an_unnamed_kind_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    messages = [issue.message for issue in verify(storage=str(folder)).issues]
    assert messages == [f"{name} is not named in the snapshot's summary"]
