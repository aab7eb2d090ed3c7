"""What a database takes of odd records, and what not, is in the plan already: also in that for an empty database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.errors import MlmetaError
from mlmeta.schema import Dataset, DatasetInput, LoggedModel, LoggedModelMetric, Record
from tests.builders import snapshots as made

GOOD, ODD = "a" * 32, "b" * 32


def _foreseen(uri: str, folder: Path, **ways: Any) -> RestoreResult:
    """What came of a restore; of its plan, where it wrote nothing. The plan must have foreseen it."""
    planned = restore(uri, "latest", str(folder), dry_run=True, **ways)
    try:
        done = restore(uri, "latest", str(folder), **ways)
    except MlmetaError as error:
        stopped = error
    else:
        assert planned.plan is not None
        assert (planned.exit_code, planned.plan.create) == (done.exit_code, done.created)
        assert [issue.message for issue in planned.issues] == [issue.message for issue in done.issues]
        assert done.unexplained == ()
        return done
    assert planned.exit_code == stopped.exit_code
    assert planned.issues[0].message in str(stopped)
    return planned


def _logged_model(**fields: Any) -> LoggedModel:
    values = {"model_id": "m-1", "experiment_id": "1", "name": "clf", "status": "READY"}
    return LoggedModel.model_validate({**values, "creation_timestamp": 1, "last_updated_timestamp": 1, **fields})


def _metric(run_id: str) -> LoggedModelMetric:
    return LoggedModelMetric(key="auc", value=0.5, timestamp=1, step=0, run_id=run_id)


def _with_dataset(run_id: str, profile: str) -> Record:
    used = DatasetInput(dataset=Dataset(name="train", digest="d1", source_type="s", source="x", profile=profile))
    return made.run(run_id, dataset_inputs=[used])


def _write(folder: Path, *records: Record) -> Path:
    made.write(folder, [made.experiment(), made.run(GOOD), *records])
    return folder


def test_a_metric_of_a_run_that_the_snapshot_lacks(tmp_path: Path) -> None:
    folder = _write(tmp_path / "backups", _logged_model(metrics=[_metric(GOOD), _metric(ODD)]))
    result = _foreseen(f"sqlite:///{tmp_path}/new.db", folder)
    assert result.exit_code == 3
    assert [(refusal.id, refusal.field) for refusal in result.refused] == [("m-1", "metrics")]
    assert result.created == {"experiments": 1, "runs": 1, "logged models": 1}


STATES: dict[str, tuple[Record, str]] = {
    "a run's status": (made.run(ODD, status="LOST"), f"run {ODD}: it has the status 'LOST'"),
    "a run's stage": (made.run(ODD, lifecycle_stage="gone"), f"run {ODD}: it has the lifecycle stage 'gone'"),
    "an experiment's stage": (
        made.experiment("2", "odd", lifecycle_stage="gone"),
        "experiment odd: it has the lifecycle stage 'gone'",
    ),
    "a logged model's status": (_logged_model(status="LOST"), "logged model m-1: it has the status 'LOST'"),
    "a logged model's stage": (
        _logged_model(lifecycle_stage="gone"),
        "logged model m-1: it has the lifecycle stage 'gone'",
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_states_that_mlflow_does_not_know(tmp_path: Path, case: str) -> None:
    record, message = STATES[case]
    folder, uri = _write(tmp_path / "backups", record), f"sqlite:///{tmp_path}/new.db"
    stopped = _foreseen(uri, folder)
    assert (stopped.exit_code, len(stopped.issues)) == (1, 1)
    assert stopped.issues[0].message.startswith(message)
    skipped = _foreseen(uri, folder, on_conflict="skip")
    assert (skipped.exit_code, skipped.created) == (3, {"experiments": 1, "runs": 1})


@pytest.mark.parametrize("number", ["01", "x", "٣"])
def test_ids_of_experiments_that_no_database_has(tmp_path: Path, number: str) -> None:
    odd = [made.experiment(number, "odd"), made.run(ODD, number)]
    result = _foreseen(f"sqlite:///{tmp_path}/new.db", _write(tmp_path / "backups", *odd), on_conflict="skip")
    assert (result.exit_code, result.created) == (3, {"experiments": 1, "runs": 1})


def test_a_run_whose_name_is_in_its_tag_alone(tmp_path: Path) -> None:
    """As servers before MLflow 1.30 tell it."""
    folder = _write(tmp_path / "backups", made.run(ODD, run_name=None, tags={"mlflow.runName": "fold-1"}))
    for created in ({"experiments": 1, "runs": 2}, {}):
        result = _foreseen(f"sqlite:///{tmp_path}/new.db", folder)
        assert (result.exit_code, result.created) == (0, created)


@pytest.mark.parametrize("left_by_gc", [False, True])
def test_one_dataset_with_two_contents(tmp_path: Path, left_by_gc: bool) -> None:
    """MLflow keeps one row for a name and digest: the other content is a conflict, and nothing is said to be equal."""
    uri, folder = f"sqlite:///{tmp_path}/new.db", tmp_path / "backups"
    if left_by_gc:
        first = _write(tmp_path / "first", _with_dataset(ODD, "old"))
        assert restore(uri, "latest", str(first)).exit_code == 0
        with closing(sqlite3.connect(tmp_path / "new.db")) as db, db:
            for table in ("tags", "runs"):
                db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (ODD,))
        _write(folder, _with_dataset(ODD, "new"))
    else:
        _write(folder, _with_dataset(ODD, "old"), _with_dataset("c" * 32, "new"))
    stopped = _foreseen(uri, folder)
    assert (stopped.exit_code, len(stopped.issues)) == (1, 1)
    assert "has its dataset 'train' (d1) with other content" in stopped.issues[0].message
    assert _foreseen(uri, folder, on_conflict="skip").exit_code == 3
    assert _foreseen(uri, folder, on_conflict="skip").created == {}
