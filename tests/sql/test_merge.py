"""Two stores become one: what both have is the union, what differs is named, and a second time changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.errors import ExitCode
from mlmeta.schema import EXPERIMENTS, RUNS
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup

KINDS = ["sqlite", "postgresql", "mysql"]
NAME = "Träume/夢 🚀"


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, filled: Path, tmp_path: Path, emptied: Callable[[str], str]) -> str:
    """A database with the content of the filled store."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(filled, tmp_path / 'target.db')}"
    found = emptied(request.param)
    SqlTarget(found).restore(backup(f"sqlite:///{filled}", tmp_path / "base"), ALL, QUIET)
    return found


@pytest.fixture
def other(filled: Path, tmp_path: Path) -> str:
    """Another one."""
    return f"sqlite:///{shutil.copy(filled, tmp_path / 'other.db')}"


def merge(uri: str, snapshot: Snapshot, **ways: Any) -> RestoreResult:
    """The result of a merge; its plan must have foreseen it, and another one must find nothing to do."""
    storage = snapshot.storage.location
    planned, result, again = (
        restore(uri, snapshot.timestamp, storage, on_conflict="merge", dry_run=is_plan, **ways)
        for is_plan in (True, False, False)
    )
    assert planned.plan is not None
    assert (planned.plan.create, planned.plan.merged) == (result.created, result.merged)
    assert planned.plan.experiment_ids == result.experiment_ids == again.experiment_ids
    assert (again.created, again.merged, again.undeleted) == ({}, {}, {})
    told = [[issue.message for issue in one.issues] for one in (planned, result, again)]
    assert told[0] == told[1] == told[2]
    return result


def runs_of(uri: str, folder: Path) -> dict[str, Any]:
    """All that a store has of its runs, but which experiment has which number."""
    snapshot = backup(uri, folder)
    names = {one.experiment_id: one.name for one in snapshot.records(EXPERIMENTS)}
    return {
        item.record.run_id: (
            item.record.model_copy(update={"experiment_id": names[item.record.experiment_id]}).to_line(),
            [line.line for line in item.lines],
        )
        for item in snapshot.led(RUNS)
    }


def test_a_run_of_both_sides_becomes_the_union(target: str, other: str, tmp_path: Path) -> None:
    here, there = MlflowClient(target, target), MlflowClient(other, other)
    experiment = here.get_experiment_by_name(NAME).experiment_id
    run_id = here.search_runs([experiment], "attributes.run_name = 'parent'")[0].info.run_id
    both = [Metric("curve", 1.0, 1, 0), Metric("curve", 0.5, 2, 1)]
    here.log_batch(
        run_id,
        [*both, Metric("curve", 0.25, 3, 2), Metric("here", 1.0, 1, 0)],
        [Param("same", "1"), Param("here", "1"), Param("differs", "here")],
        [RunTag("here", "1"), RunTag("differs", "here")],
    )
    there.log_batch(
        run_id,
        [*both, Metric("curve", 9.0, 9, -3), Metric("curve", float("nan"), 3, 2), Metric("there", 2.0, 2, 2)],
        [Param("same", "1"), Param("there", "1"), Param("differs", "there")],
        [RunTag("there", "1"), RunTag("differs", "there")],
    )
    there.log_inputs(run_id, [DatasetInput(Dataset("d", "abc", "local", "{}", '{"a": 1}'), [InputTag("k", "v")])])
    there.set_terminated(run_id, "FINISHED", 5_000)
    result = merge(target, backup(other, tmp_path / "snapshot"))
    assert result.exit_code is ExitCode.INCOMPLETE
    assert [(issue.code, issue.message) for issue in result.issues] == [
        ("kept", f"run {run_id}: the target keeps its params[differs], which is 'here' instead of 'there'")
    ]
    assert (result.created, result.merged) == ({"metric points": 3}, {"runs": 1})
    assert result.comparison is not None
    assert result.comparison.is_equal
    run = here.get_run(run_id)
    assert run.data.params.items() >= {"same": "1", "here": "1", "there": "1", "differs": "here"}.items()
    # It ended there: tags follow the side where the run lived on for longer, as its status does
    assert run.data.tags.items() >= {"here": "1", "there": "1", "differs": "there"}.items()
    assert (run.info.status, run.info.end_time) == ("FINISHED", 5_000)
    assert any("tags[differs] was 'here'" in warning for warning in result.warnings)
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["d"]
    points = [(one.step, one.value) for one in here.get_metric_history(run_id, "curve")]
    assert sorted(map(repr, points)) == ["(-3, 9.0)", "(0, 1.0)", "(1, 0.5)", "(2, 0.25)", "(2, nan)"]
    assert repr(run.data.metrics["curve"]) == "nan"
