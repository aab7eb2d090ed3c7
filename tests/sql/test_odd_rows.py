"""Every odd value that a database may hold, through the whole loop: backup, verify, restore, and a backup of that."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param

import mlmeta
from mlmeta.errors import ExitCode
from tests.support.examples import some

T = 1_700_000_000_000
BAD = "CAST(x'63616666e9' AS TEXT)"
"""A text that is no UTF-8."""

SAVED, NAMED, SILENT = ExitCode.DONE, ExitCode.INCOMPLETE, None
"""Saved in another form with a warning; named as not saved; nothing to say."""


@dataclass(frozen=True)
class Odd:
    """An odd value.

    Args:
        change: what makes it, in SQL; ``:run`` is a run's id, ``:model`` a logged model's.
        code: the exit code of the backup; None: 0, and without a warning.
        told: what the notice, or the reason, says.
        other: the files that are not the same after a restore. MLflow can't show a run without a start time, or a model
            version without a creation time: they get 0, as a run without a location gets one, and a history its latest
            point. It keeps no infinity.
    """

    change: str
    code: ExitCode | None
    told: str = ""
    other: str = ""


RUN = "UPDATE runs SET {} WHERE run_uuid = :run"
POINT = "UPDATE metrics SET {} WHERE run_uuid = :run AND key = 'loss' AND step = 1"
LATEST = "UPDATE latest_metrics SET {} WHERE run_uuid = :run AND key = 'loss'"
EXPERIMENT = "UPDATE experiments SET {} WHERE experiment_id = 1"
LOGGED = "UPDATE logged_models SET {} WHERE model_id = :model"
ALIAS = "UPDATE registered_model_aliases SET {}"
VERSION = "UPDATE model_versions SET {} WHERE version = 1"

ODD_NUMBERS = {
    "fraction": (f"{T}.25", SAVED, f"{T}.25 was saved as {T}"),
    "date": ("'2024-01-01 10:00:00'", NAMED, "is '2024-01-01 10:00:00', and was "),
    "blob": ("x'fffe'", NAMED, ", and was "),
    "no UTF-8": (BAD, NAMED, r"is 'caff\\xe9' (not UTF-8), and was "),
    "beyond 64 bits": ("1e20", NAMED, "is 1e+20, and was "),
    "infinite": ("9e999", NAMED, "is inf, and was "),
}
NUMBERS = {
    "runs.start_time": RUN,
    "runs.end_time": RUN,
    "runs.deleted_time": RUN,
    "experiments.creation_time": EXPERIMENT,
    "experiments.last_update_time": EXPERIMENT,
    "latest_metrics.timestamp": LATEST,
    "latest_metrics.step": LATEST,
    "logged_models.creation_timestamp_ms": LOGGED,
    "logged_models.last_updated_timestamp_ms": LOGGED,
    "logged_model_metrics.metric_step": "UPDATE logged_model_metrics SET {}",
    "logged_model_metrics.metric_timestamp_ms": "UPDATE logged_model_metrics SET {}",
    "registered_models.creation_time": "UPDATE registered_models SET {}",
    "registered_models.last_updated_time": "UPDATE registered_models SET {}",
    "model_versions.creation_time": VERSION,
    "model_versions.last_updated_time": VERSION,
    "inputs.step": "UPDATE inputs SET {} WHERE source_type = 'RUN_OUTPUT'",
}
ODD_TEXTS = {
    "no UTF-8": (BAD, NAMED, r"caff\\xe9' (not UTF-8), and was "),
    "blob": ("x'616263'", SILENT, ""),  # MLflow gives it as text
    "blob that is no text": ("x'fffe'", NAMED, "(not UTF-8), and was "),
    "long": ("printf('%.*c', 300000, 'x')", SILENT, ""),
}
TEXTS = {
    "runs.name": RUN,
    "runs.user_id": RUN,
    "runs.artifact_uri": RUN,
    "params.value": "UPDATE params SET {} WHERE run_uuid = :run",
    "params.key": "UPDATE params SET {} WHERE run_uuid = :run",
    "tags.value": "UPDATE tags SET {} WHERE run_uuid = :run AND key = 'team'",
    "tags.key": "UPDATE tags SET {} WHERE run_uuid = :run AND key = 'team'",
    "experiments.name": EXPERIMENT,
    "experiments.artifact_location": EXPERIMENT,
    "experiment_tags.value": "UPDATE experiment_tags SET {}",
    "experiment_tags.key": "UPDATE experiment_tags SET {}",
    "datasets.dataset_source": "UPDATE datasets SET {}",
    "datasets.dataset_schema": "UPDATE datasets SET {}",
    "input_tags.value": "UPDATE input_tags SET {}",
    "logged_models.name": LOGGED,
    "logged_models.artifact_location": LOGGED,
    "logged_models.model_type": LOGGED,
    "logged_model_params.param_value": "UPDATE logged_model_params SET {}",
    "logged_model_tags.tag_value": "UPDATE logged_model_tags SET {}",
    "registered_models.description": "UPDATE registered_models SET {}",
    "registered_model_tags.value": "UPDATE registered_model_tags SET {}",
    "model_versions.source": VERSION,
    "model_versions.description": VERSION,
    "model_versions.user_id": VERSION,
    "model_version_tags.value": "UPDATE model_version_tags SET {}",
}
STATES = {
    "runs.status": RUN,
    "runs.lifecycle_stage": RUN,
    "experiments.lifecycle_stage": EXPERIMENT,
}
ODD_STATES = {
    "NULL": ("NULL", NAMED, "is NULL, which MLflow does not know; saved as"),
    "unknown": ("'zombie'", NAMED, "is 'zombie', which MLflow does not know; saved as"),
    "blob": ("x'ff'", NAMED, "which MLflow does not know; saved as"),
}
CUT = "fractions of steps or milliseconds were cut off in 1 of its points"
OTHERS = {
    "metrics.timestamp fraction": Odd(POINT.format(f"timestamp = {T}.5"), SAVED, CUT),
    "metrics.step fraction": Odd(POINT.format("step = 1.5"), SAVED, CUT),
    "metrics.step negative fraction": Odd(POINT.format("step = -1.5"), SAVED, CUT),
    "metrics.timestamp date": Odd(POINT.format("timestamp = '2024-01-01'"), NAMED, "1 of its points lack a number"),
    "metrics.step text": Odd(POINT.format("step = 'x'"), NAMED, "1 of its points lack a number"),
    "metrics.step blob": Odd(POINT.format("step = x'01'"), NAMED, "1 of its points lack a number"),
    "metrics.step beyond 64 bits": Odd(POINT.format("step = 1e20"), NAMED, "1 of its points lack a number"),
    "metrics.value text": Odd(POINT.format("value = 'x'"), NAMED, "1 of its points lack a number"),
    "metrics.value no UTF-8": Odd(POINT.format(f"value = {BAD}"), NAMED, "1 of its points lack a number"),
    "metrics.value nan as text": Odd(POINT.format("value = 'nan'"), SILENT),
    "metrics.value infinite": Odd(POINT.format("value = 9e999"), SILENT, other="metrics"),
    "metrics.is_nan 2": Odd(POINT.format("is_nan = 2"), SILENT),
    "metrics.is_nan text": Odd(POINT.format("is_nan = 'yes'"), SILENT),
    "metrics.key no UTF-8": Odd(POINT.format(f"key = {BAD}"), NAMED, "its name is not text, and it was not saved"),
    "metrics.key blob": Odd(POINT.format("key = x'616263'"), SILENT, other="metrics runs"),
    "latest_metrics.value text": Odd(LATEST.format("value = 'x'"), NAMED, "latest metric 'loss' value is 'x'"),
    "latest_metrics.key no UTF-8": Odd(LATEST.format(f"key = {BAD}"), NAMED, "and was not saved", "runs"),
    "no latest metric": Odd("DELETE FROM latest_metrics WHERE run_uuid = :run", SILENT, other="metrics runs"),
    "alias of a fraction": Odd(ALIAS.format("version = 1.5"), SAVED, "its alias 'champion' 1.5 was saved as 1"),
    "alias of a text": Odd(ALIAS.format("version = 'one'"), NAMED, "its alias 'champion' is 'one', and was not saved"),
    "alias of no UTF-8": Odd(ALIAS.format(f"alias = {BAD}"), NAMED, "the name of one of its aliases is"),
    "datasets.name no UTF-8": Odd(f"UPDATE datasets SET name = {BAD}", NAMED, "it is meaningless without that"),
    "runs.start_time NULL": Odd(RUN.format("start_time = NULL"), SILENT, other="metrics runs"),
    "runs.user_id NULL": Odd(RUN.format("user_id = NULL"), SILENT),
    "logged_models.status unknown": Odd(LOGGED.format("status = 9"), NAMED, "its status is 9, which MLflow does not"),
    "logged_models.status negative": Odd(LOGGED.format("status = -1"), NAMED, "its status is -1, which MLflow"),
    "logged_models.status text": Odd(LOGGED.format("status = 'READY'"), NAMED, "its status is 'READY', which MLflow"),
    "model_versions.current_stage NULL": Odd(VERSION.format("current_stage = NULL"), SAVED, "it has no stage"),
    "model_versions.version text": Odd(VERSION.format("version = 'one'"), NAMED, "its version is 'one'"),
    "model_versions.version fraction": Odd(VERSION.format("version = 1.5"), SAVED, "its version 1.5 was saved as 1"),
}

GROUPS = {
    f"{what} in {len(columns)} columns": [
        Odd(change.format(f"{column.split('.')[1]} = {value}"), code, told, other if code is NAMED else "")
        for column, change in columns.items()
    ]
    for columns, values, other in (
        (NUMBERS, ODD_NUMBERS, "metrics models runs"),
        (TEXTS, ODD_TEXTS, ""),
        (STATES, ODD_STATES, ""),
    )
    for what, (value, code, told) in values.items()
}
"""One value in every column of its kind: in one store, for each goes its own way."""

CASES = {**GROUPS, **{what: [odd] for what, odd in OTHERS.items()}}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, blank: Path) -> tuple[Path, dict[str, str]]:
    """A store with a row in every table that is saved, and the ids to change them by."""
    path = Path(shutil.copy(blank, tmp_path_factory.mktemp("good") / "good.db"))
    client = MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}")
    experiment = client.create_experiment("e", artifact_location="s3://b/e", tags={"owner": "ann"})
    runs = [client.create_run(experiment, start_time=T + n, tags={"team": "a"}).info.run_id for n in range(3)]
    for run in runs:
        points = [Metric("loss", 1 / (1 + n), T + n, n) for n in range(4)]
        client.log_batch(run, [*points, Metric("once", 0.5, T, 0)], [Param("lr", "0.1")])
    (run,) = runs[1:2]
    client.log_inputs(run, [DatasetInput(Dataset("d", "abc", "local", "{}"), [InputTag("context", "train")])])
    model = client.create_logged_model(experiment, "m", run, {"t": "v"}, {"p": "v"}, "agent").model_id
    client.log_outputs(run, [LoggedModelOutput(model, 1)])
    client.log_metric(run, "acc", 0.5, timestamp=T, step=1, model_id=model)
    client.create_registered_model("churn", tags={"k": "v"}, description="what it is")
    client.create_model_version("churn", "s3://b/m", run, tags={"k": "v"}, description="first")
    client.set_registered_model_alias("churn", "champion", "1")
    return path, {"run": run, "model": model}


def spoil(path: Path, odds: list[Odd], ids: dict[str, str]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for odd in odds:
            used = {name: value for name, value in ids.items() if f":{name}" in odd.change}
            assert db.execute(odd.change, used).rowcount > 0


def test_nothing_is_missing_here() -> None:
    assert sum(map(len, CASES.values())) == 235


@pytest.mark.parametrize("case", some(CASES, 24))
def test_an_odd_value_goes_through_the_whole_loop(
    case: str, good: tuple[Path, dict[str, str]], blank: Path, tmp_path: Path
) -> None:
    target = shutil.copy(blank, tmp_path / "t.db")
    goes_through_the_loop(CASES[case], good, f"sqlite:///{target}", tmp_path)


@pytest.mark.parametrize("case", some([case for case in GROUPS if not case.startswith("long")], 5))
def test_an_odd_value_goes_through_a_loop_that_ends_in_postgresql(
    case: str, good: tuple[Path, dict[str, str]], postgres: Callable[[], str], tmp_path: Path
) -> None:
    goes_through_the_loop(GROUPS[case], good, postgres(), tmp_path)


def goes_through_the_loop(odds: list[Odd], good: tuple[Path, dict[str, str]], target: str, folder: Path) -> None:
    path, ids = good
    source = Path(shutil.copy(path, folder / "s.db"))
    spoil(source, odds, ids)

    saved = mlmeta.backup(f"sqlite:///{source}", [str(folder / "b")])
    told = [f"{one.kind} {one.id}: {one.reason}" for one in saved.skipped] + list(saved.warnings)
    assert saved.exit_code == (odds[0].code or ExitCode.DONE), told
    assert sum(odds[0].told in one for one in told) == (0 if odds[0].code is None else len(odds)), told
    assert (saved.stats["runs"], saved.stats["experiments"]) == (3, 2)

    assert mlmeta.verify(storage=str(folder / "b")).exit_code == ExitCode.DONE
    restored = mlmeta.restore(target, storage=str(folder / "b"))
    assert restored.exit_code == ExitCode.DONE, restored.issues
    assert restored.comparison is not None
    assert restored.comparison.is_equal
    again = mlmeta.backup(target, [str(folder / "c")])
    assert (again.exit_code, again.warnings) == (ExitCode.DONE, ())
    changed = {kind for kind, entry in again.files.items() if entry.sha256 != saved.files[kind].sha256}
    assert changed == set(odds[0].other.split())
