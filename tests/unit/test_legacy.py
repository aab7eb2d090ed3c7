"""Snapshots of the older script are read as they are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mlmeta import list_snapshots, open_snapshot, verify
from mlmeta.errors import DamagedSnapshotError
from mlmeta.schema import EXPERIMENTS, METRICS, MODELS, RUNS
from mlmeta.snapshot.catalog import SnapshotState
from tests.builders import legacy
from tests.support import damage


@pytest.mark.parametrize("nested", [False, True])
def test_it_is_listed_as_legacy(tmp_path: Path, nested: bool) -> None:
    legacy.write(tmp_path, nested=nested)
    (row,) = list_snapshots(str(tmp_path)).snapshots
    assert (row.timestamp, row.state, row.source) == (legacy.TIMESTAMP, SnapshotState.LEGACY, "http://old-server:5000")
    assert row.stats == {"experiments": 2, "runs": 2, "models": 1}


@pytest.mark.parametrize("nested", [False, True])
def test_its_records_are_todays(tmp_path: Path, nested: bool) -> None:
    legacy.write(tmp_path, nested=nested)
    snapshot = open_snapshot(str(tmp_path))
    assert [e.name for e in snapshot.records(EXPERIMENTS)] == ["old-empty", "old-churn"]
    first, second = snapshot.records(RUNS)
    assert (first.run_name, second.run_name, second.user_id) == ("first", "second", "ada")
    assert math.isnan(second.metrics["loss"].value)
    assert second.metrics["big"].value == math.inf
    assert second.metrics["auc"].step is None
    assert list(snapshot.records(METRICS)) == []
    (model,) = snapshot.records(MODELS)
    assert [(v.version, v.current_stage) for v in model.versions] == [(1, "None"), (3, "Production")]
    assert verify(storage=str(tmp_path)).exit_code == 0


@pytest.mark.parametrize("kind", ["experiments", "runs", "models"])
@pytest.mark.parametrize("how", ["deleted", "cut to nothing", "cut in the middle", "not JSON", "a folder"])
def test_what_is_wrong_with_it_is_found(tmp_path: Path, kind: str, how: str) -> None:
    place = legacy.write(tmp_path)
    damage.NAMED[how](place / f"{kind}_{legacy.TIMESTAMP}.json")
    assert verify(storage=str(tmp_path)).exit_code == 4


@pytest.mark.parametrize(
    ("kind", "changed", "named"),
    [
        ("runs", [{"run_id": "x"}], "experiment_id"),
        ("runs", [{**legacy.RUNS[0], "metrics": {"auc": "high"}}], "auc"),
        ("models", [{**legacy.MODELS[0], "versions": [{"version": "one"}]}], "version"),
        ("experiments", {"not": "an array"}, "array"),
        ("experiments", ["not an object"], "array of objects"),
        ("runs", [{**legacy.RUNS[0], "experiment_id": "404"}], "404"),
        ("runs", [{**legacy.RUNS[0], "metrics": ["no", "map"]}], "metrics"),
        ("runs", [{**legacy.RUNS[0], "tags": ["no", "map"]}], "tags"),
        ("models", [{**legacy.MODELS[0], "versions": {"no": "array"}}], "versions"),
        ("models", [{**legacy.MODELS[0], "versions": ["no object"]}], "versions"),
    ],
)
def test_records_that_are_none_are_named(tmp_path: Path, kind: str, changed: object, named: str) -> None:
    legacy.write(tmp_path, **{kind: changed})
    (found,) = verify(storage=str(tmp_path)).snapshots
    assert named in found.problems[0].message


def test_a_summary_that_is_no_object_is_damaged(tmp_path: Path) -> None:
    place = legacy.write(tmp_path)
    (place / f"backup_summary_{legacy.TIMESTAMP}.json").write_text("[]")
    with pytest.raises(DamagedSnapshotError):
        open_snapshot(str(tmp_path))
    assert list_snapshots(str(tmp_path)).snapshots[0].state is SnapshotState.DAMAGED
