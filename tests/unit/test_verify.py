"""Whatever happens to a file of a snapshot, verify finds it."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from mlmeta import open_snapshot, verify
from mlmeta.commands.list import list_snapshots
from mlmeta.errors import MlmetaError
from mlmeta.schema import TRACES, Experiment, MetricHistory, ModelVersion, RegisteredModel, Run, Skipped, Summary
from mlmeta.snapshot import reader
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.snapshot.writer import SnapshotWriter
from mlmeta.storage import LocalStorage
from tests.builders.snapshots import NOW, commit, experiment, span, trace
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
    found = verify(storage=str(snapshots)).snapshots[0].problems
    assert {problem.file.partition("_")[0] for problem in found} == {"models", "experiments"}


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
    assert row.state in {SnapshotState.DAMAGED, SnapshotState.INCOMPLETE}
    assert row.problem
    with pytest.raises(MlmetaError) as caught:
        open_snapshot(str(snapshots), timestamp)
    assert caught.value.exit_code in {4, 5}
    assert caught.value.hint


def _records(kind: str, count: int) -> list[Run]:
    return [Run(run_id=f"{kind}{n:04}", experiment_id="1", status="FINISHED", start_time=n) for n in range(count)]


def _spoiled(folder: Path, lines: set[int]) -> Path:
    """A snapshot of many runs, some of whose lines are no records any more."""
    commit(LocalStorage(folder), [Experiment(experiment_id="1", name="a"), *_records("r", 3000)])
    path = _file(folder, "runs")
    content = path.read_bytes().split(b"\n")
    for number in lines:  # the first line is the bracket
        content[number - 1] = content[number - 1].replace(b'"status"', b'"stadus"')
    path.write_bytes(b"\n".join(content))
    return path


def test_every_bad_record_is_named(tmp_path: Path) -> None:
    path = _spoiled(tmp_path, {2, 17, 18, 3001})
    found = _problems(tmp_path)
    for number in (2, 17, 18, 3001):
        assert [message for message in found if f"{path.name}, line {number} " in message]
    assert len(found) == 5  # and the file as a whole: it is not what was written
    assert "SHA-256" in found[-1]


def test_of_very_many_bad_records_the_rest_is_counted(tmp_path: Path) -> None:
    _spoiled(tmp_path, set(range(2, 2502)))
    found = _problems(tmp_path)
    assert len(found) == 1002
    assert any("1,500 more bad records" in message for message in found)


def test_every_reference_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    columns = {"step": [1, 2], "timestamp": [1, 2], "value": [0.5, 1.5]}
    runs = _records("r", 4)
    lost = [run.model_copy(update={"experiment_id": "7"}) for run in _records("s", 2)]
    histories = [MetricHistory(run_id=run.run_id, key="loss", **columns) for run in runs]
    records = [Experiment(experiment_id="1", name="a"), Experiment(experiment_id="7", name="b")]
    records += [record for run, history in zip(runs, histories, strict=True) for record in (run, history)]
    commit(LocalStorage(tmp_path), [*records, *lost])
    _rewrite(tmp_path, "experiments", lambda lines: [line for line in lines if b'"7"' not in line])
    _rewrite(tmp_path, "runs", lambda lines: [line for line in lines if b"r0001" not in line and b"r0003" not in line])
    found = _problems(tmp_path)
    assert len(found) == 4
    for words in ("run s0000 is in experiment 7", "run s0001", "of run r0001", "of run r0003"):
        assert [message for message in found if words in message], words


def test_what_a_version_refers_to_may_be_gone_and_is_told(tmp_path: Path) -> None:
    versions = (ModelVersion(version=1, run_id="r0000"), ModelVersion(version=3, run_id="purged"))
    model = RegisteredModel(name="churn", versions=versions, aliases={"champion": 2, "best": 3})
    commit(LocalStorage(tmp_path), [Experiment(experiment_id="1", name="a"), *_records("r", 1), model])
    result = verify(storage=str(tmp_path))
    assert result.exit_code == 0
    assert len(result.warnings) == 2
    assert any("'churn' version 3 is from run purged" in warning for warning in result.warnings)
    assert any("'champion'" in warning and "version 2" in warning for warning in result.warnings)


def _rewrite(folder: Path, kind: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change a data file and all checksums with it: what is left to find are the references."""
    path, summary = _file(folder, kind), _file(folder, "backup_summary")
    lines = change(path.read_bytes().removeprefix(b"[\n").removesuffix(b"\n]\n").split(b",\n"))
    content = b"[\n" + b",\n".join(lines) + b"\n]\n"
    path.write_bytes(content)
    found = Summary.model_validate_json(summary.read_bytes())
    entry = found.files[kind].model_copy(
        update={"bytes": len(content), "records": len(lines), "sha256": hashlib.sha256(content).hexdigest()}
    )
    summary.write_bytes(found.model_copy(update={"files": {**found.files, kind: entry}}).to_bytes())


class _Counting(LocalStorage):
    """A folder that counts how often each kind of file is opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.opened: Counter[str] = Counter()

    def open(self, name: str, most: int | None = None) -> BinaryIO:
        self.opened[name.split("_", maxsplit=1)[0]] += 1
        return super().open(name, most)


def test_each_file_is_read_once(snapshots: Path) -> None:
    """From a bucket, each time is a download."""
    storage = _Counting(snapshots)
    snapshot = reader.open_snapshot(storage)
    storage.opened.clear()
    assert verify_snapshot(snapshot) == []
    assert set(storage.opened.values()) == {1}


SPANS = tuple(span(f"{n:016x}", start=n) for n in range(3))
WITH_TRACES = [experiment(), trace(), *SPANS, trace("tr-d"), span("0" * 16, "tr-d")]


def test_spans_are_checked_with_their_traces(tmp_path: Path) -> None:
    commit(LocalStorage(tmp_path), WITH_TRACES)
    assert _problems(tmp_path) == []
    for change, words in (
        (lambda lines: [*lines[:1], *lines], f"span tr-{'c' * 32}/{'0' * 16} is out of order, or there twice"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], f"span tr-{'c' * 32}/{'0' * 16} is out of order"),
        (lambda lines: [lines[0].replace(b'"name":', b'"name"'), *lines[1:]], "line 2 is damaged: Invalid JSON"),
        (lambda lines: [lines[0].replace(b'"span_id"', b'"id"', 1), *lines[1:]], "line 2 is damaged: span_id"),
        (
            lambda lines: [*lines, lines[-1].replace(b"tr-d", b"tr-e")],
            f"span tr-e/{'0' * 16} is of trace tr-e, which",
        ),
        (lambda lines: lines[::-1], "the spans of spans_20250815_232928.json are not in the order of their traces"),
    ):
        folder = tmp_path / "changed"
        shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("changed"))
        _rewrite(folder, "spans", change)
        assert any(words in message for message in _problems(folder)), (words, _problems(folder))
        shutil.rmtree(folder)


def test_a_trace_without_its_experiment_is_named(tmp_path: Path) -> None:
    commit(LocalStorage(tmp_path), [experiment("2"), trace(experiment_id="7")])
    assert _problems(tmp_path) == [f"trace tr-{'c' * 32} is in experiment 7, which is missing"]


def test_a_span_may_be_bigger_than_other_records(tmp_path: Path) -> None:
    big = span(attributes={"big": '"' + "ü" * (12 << 20) + '"'})
    commit(LocalStorage(tmp_path), [experiment(), trace(), big])
    assert _problems(tmp_path) == []
    (item,) = open_snapshot(str(tmp_path)).led(TRACES)
    assert item.lines == (big.as_line(),)
    too_big = span(attributes={"big": "x" * (64 << 20)})
    with SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer:
        assert [writer.add(record) for record in (experiment(), trace(), too_big)][-1] == Skipped(
            kind="span",
            id=f"tr-{'c' * 32}/{'1' * 16}",
            reason="it has more than 67,108,864 bytes: no snapshot can hold it",
        )
