"""A snapshot is written whole and in order, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmeta import open_snapshot, verify
from mlmeta.commands.list import list_snapshots
from mlmeta.errors import InternalError, StorageError
from mlmeta.schema import (
    EXPERIMENTS,
    KINDS,
    Experiment,
    Line,
    MetricHistory,
    Record,
    RegisteredModel,
    Run,
    Skipped,
    SpanLine,
    Trace,
    kind_of,
)
from mlmeta.snapshot import writer as writing
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.snapshot.order import OrderGuard
from mlmeta.snapshot.writer import SnapshotWriter
from mlmeta.storage import LocalStorage
from tests.builders.snapshots import NOW, commit, summary

SUMMARY = summary(note="see {timestamp}")


def _run(run_id: str, start: int | None = 1, experiment: str = "0") -> Run:
    return Run(run_id=run_id, experiment_id=experiment, status="FINISHED", start_time=start)


def _history(run_id: str, key: str, step: int = 0) -> MetricHistory:
    return MetricHistory(run_id=run_id, key=key, step=[step], timestamp=[1], value=[1.0])


GOOD: list[Record] = [
    Experiment(experiment_id="0", name="a"),
    Experiment(experiment_id="9", name="b"),
    Experiment(experiment_id="10", name="c"),
    _run("r2", 1),
    _history("r2", "a"),
    _history("r2", "b", 0),
    _history("r2", "b", 1),
    _run("r1", 2),
    _run("r0", None),
    _run("r3", 1, "10"),
    RegisteredModel(name="A"),
    RegisteredModel(name="a"),
]


def _write(folder: Path, records: Sequence[Record] = GOOD, *, compress: bool = False) -> str:
    committed = commit(LocalStorage(folder), records, compress=compress, note=SUMMARY.note)
    return committed.summary.backup_timestamp


@pytest.mark.parametrize("compress", [False, True])
def test_what_goes_in_comes_out(tmp_path: Path, compress: bool) -> None:
    timestamp = _write(tmp_path, compress=compress)
    assert timestamp == "20250815_232928"
    snapshot = open_snapshot(str(tmp_path))
    assert [record for kind in KINDS.values() for record in snapshot.records(kind)] == sorted(
        GOOD, key=lambda r: [Experiment, Run, MetricHistory, RegisteredModel].index(type(r))
    )
    assert snapshot.summary.note == f"see {timestamp}"
    assert verify(storage=str(tmp_path)).exit_code == 0


@pytest.mark.parametrize("compress", [False, True])
def test_the_same_records_give_the_same_bytes(tmp_path: Path, compress: bool) -> None:
    contents = []
    for name in ("a", "b"):
        timestamp = _write(tmp_path / name, compress=compress)
        files = sorted((tmp_path / name).glob(f"*_{timestamp}.json*"))
        contents.append({path.name: path.read_bytes() for path in files if "summary" not in path.name})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_snapshots_of_one_second_never_share_a_name(tmp_path: Path) -> None:
    assert [_write(tmp_path) for _ in range(3)] == ["20250815_232928", "20250815_232929", "20250815_232930"]
    assert verify(storage=str(tmp_path), every=True).exit_code == 0


def test_leftovers_of_another_backup_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "runs_20250815_232928.json").write_text("half")
    assert _write(tmp_path) == "20250815_232929"
    assert (tmp_path / "runs_20250815_232928.json").read_text() == "half"


_CONTENT = b'{"name": "%b", "start_time_unix_nano": %d}'
_SPANS = [SpanLine.of_content("t1", f"s{start}", _CONTENT % (b"x" * start, start)) for start in range(1, 30)]
_TRACES: list[Line] = [
    GOOD[0],
    Trace(trace_id="t1", experiment_id="0", timestamp=1, state="OK"),
    *_SPANS,
    Trace(trace_id="t2", experiment_id="0", timestamp=1, state="OK"),
]


@pytest.fixture(params=[1 << 20, 100])
def _together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many lines at once as they usually are, and a few."""
    monkeypatch.setattr(writing, "_MOST_WAITING", request.param)


@pytest.mark.usefixtures("_together")
def test_what_follows_a_record_is_taken_together_as_one_by_one(tmp_path: Path) -> None:
    with SnapshotWriter([LocalStorage(tmp_path / "a")], NOW) as writer:
        assert [writer.add(record) for record in _TRACES] == [None] * len(_TRACES)
        one = writer.commit(SUMMARY).summary
    unread = Skipped(kind="span", id="s", reason="why")
    with SnapshotWriter([LocalStorage(tmp_path / "b")], NOW) as writer:
        assert list(writer.add_all([*_TRACES[:9], unread, *_TRACES[9:]])) == [unread]
        assert writer.commit(SUMMARY).summary == one
    assert one.stats["spans"] == len(_SPANS)


@pytest.mark.usefixtures("_together")
@pytest.mark.parametrize("spans", [_SPANS[::-1], [*_SPANS, _SPANS[-1]], [SpanLine.of_content("t2", "s", _CONTENT)]])
def test_what_follows_a_record_is_in_order(tmp_path: Path, spans: list[SpanLine]) -> None:
    with (
        SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer,
        pytest.raises(InternalError, match="out of order"),
    ):
        list(writer.add_all([*_TRACES[:2], *spans]))


def test_what_follows_a_record_that_is_left_out_goes_with_it(tmp_path: Path) -> None:
    odd = Trace(trace_id="..\\t/1", experiment_id="0", timestamp=1, state="OK")
    lost = [SpanLine.of_content(odd.trace_id, f"s{start}", _CONTENT % (b"x", start)) for start in (1, 2)]
    with SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer:
        assert [one.id for one in writer.add_all([GOOD[0], odd, *lost, *_TRACES[1:]])] == [odd.trace_id]
        assert writer.stats["spans"] == len(_SPANS)


def test_without_commit_nothing_remains(tmp_path: Path) -> None:
    with SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer:
        writer.add(GOOD[0])
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_between_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with SnapshotWriter([LocalStorage(tmp_path)], NOW) as writer:
            writer.add(GOOD[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_several_storages_get_the_same_files(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    with SnapshotWriter([LocalStorage(folder) for folder in folders], NOW) as writer:
        for record in GOOD:
            writer.add(record)
        writer.commit(SUMMARY)
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == other
    assert len(one) == 5


def test_a_timestamp_taken_in_one_storage_is_used_in_none(tmp_path: Path) -> None:
    _write(tmp_path / "b")
    with SnapshotWriter([LocalStorage(tmp_path / "a"), LocalStorage(tmp_path / "b")], NOW) as writer:
        committed = writer.commit(SUMMARY)
    assert committed.summary.backup_timestamp == "20250815_232929"
    assert {path.name[-20:-5] for path in (tmp_path / "a").iterdir()} == {"20250815_232929"}


def test_a_storage_that_is_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(StorageError, match=str(path)) as caught:
        _write(path)
    assert "--storage" in caught.value.hint


def test_files_that_killed_processes_staged_are_no_snapshots(tmp_path: Path) -> None:
    writer = SnapshotWriter([LocalStorage(tmp_path)], NOW)
    writer.add(GOOD[0])
    assert len(list(tmp_path.iterdir())) == 4
    assert list_snapshots(str(tmp_path)).snapshots == ()


def test_data_files_without_a_summary_are_incomplete(tmp_path: Path) -> None:
    timestamp = _write(tmp_path)
    (tmp_path / f"backup_summary_{timestamp}.json").unlink()
    (row,) = list_snapshots(str(tmp_path)).snapshots
    assert row.state is SnapshotState.INCOMPLETE


@given(st.sampled_from(range(len(GOOD))), st.sampled_from(range(len(GOOD))))
def test_records_out_of_order_are_refused(first: int, second: int) -> None:
    """Two records swapped: accepted only where the format gives no order between them."""
    swapped = list(GOOD)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    if _is_in_order(swapped):
        _check(swapped)
    else:
        with pytest.raises(InternalError):
            _check(swapped)


def _check(records: list[Record]) -> None:
    guard = OrderGuard()
    for record in records:
        guard.check(kind_of(record), record)


def _is_in_order(records: list[Record]) -> bool:
    """By the positions in GOOD: each kind in its own order, each history behind its run."""
    places = [GOOD.index(record) for record in records]
    kinds: dict[type, list[int]] = {}
    current = ""
    for record, place in zip(records, places, strict=True):
        if isinstance(record, Run):
            current = record.run_id
        if isinstance(record, MetricHistory):
            if record.run_id != current:
                return False
            if record.key == "b":  # parts of one history are compared by their key alone
                place = GOOD.index(_history("r2", "b", 0))  # noqa: PLW2901
        kinds.setdefault(type(record), []).append(place)
    return all(a <= b for found in kinds.values() for a, b in itertools.pairwise(found))


def test_the_same_record_twice_is_refused() -> None:
    for record in (GOOD[0], GOOD[3], GOOD[-1]):
        guard = OrderGuard()
        guard.check(kind_of(record), record)
        with pytest.raises(InternalError):
            guard.check(kind_of(record), record)


def test_a_data_file_is_an_array_with_a_record_a_line(tmp_path: Path) -> None:
    timestamp = _write(tmp_path)
    lines = (tmp_path / f"{EXPERIMENTS.name}_{timestamp}.json").read_text().splitlines()
    assert lines[0] == "["
    assert lines[-1] == "]"
    assert [line.endswith("},") for line in lines[1:-1]] == [True, True, False]
