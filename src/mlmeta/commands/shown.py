"""What `mlmeta show` gives back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.result import Result
from mlmeta.schema import Experiment, RegisteredModel, Run, Skipped
from mlmeta.snapshot.reader import Snapshot


class Shown(Result):
    """Base: it is what was asked for."""

    timestamp: str
    storage: str

    @property
    def is_report(self) -> bool:
        """It is not."""
        return False


class ExperimentRow(BaseModel):
    """An experiment and the number of its runs; `latest` is its newest run's start, milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    experiment: Experiment
    runs: int
    deleted_runs: int
    latest: int | None


class Overview(Shown):
    """A snapshot as a whole."""

    source: str
    source_id: str = ""
    label: str = ""
    source_kind: str
    date: str
    schema_version: str
    mlflow_server_version: str | None
    point_in_time: bool
    stats: dict[str, int]
    size: int
    experiments: tuple[ExperimentRow, ...]
    skipped: tuple[Skipped, ...]
    note: str


class RunTable(Shown):
    """Runs of an experiment.

    Args:
        columns: in MLflow's names: ``attributes.…``, ``params.…``, ``metrics.…``, ``tags.…``.
        rows: a value for each column, None where the run has none.
        total: number of runs before the limit.
    """

    experiment: Experiment
    columns: tuple[str, ...]
    run_ids: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    total: int


class RunDetail(Shown):
    """Everything of a run; `points` is the number of points of each metric's history."""

    run: Run
    experiment: str
    points: dict[str, int]


class MetricOverRuns(Shown):
    """The latest value of a metric over the runs of an experiment, by start time."""

    experiment: str
    key: str
    runs: tuple[Run, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """Of each run."""
        return tuple(run.metrics[self.key].value for run in self.runs)


class MetricOverSteps(Shown):
    """The history of a metric of a run, in columns."""

    run_id: str
    key: str
    step: tuple[int | None, ...]
    timestamp_ms: tuple[int | None, ...]
    value: tuple[float, ...]


class ModelList(Shown):
    """The model registry."""

    models: tuple[RegisteredModel, ...]


def where(snapshot: Snapshot) -> dict[str, Any]:
    """What every result says: which snapshot, where it is, and what to know of the choice."""
    shrunken = snapshot.summary.shrunken
    notes = (*snapshot.notes, *([f"this snapshot has {shrunken}: `mlmeta list` shows others"] if shrunken else ()))
    return {"timestamp": snapshot.timestamp, "storage": snapshot.storage.location, "warnings": notes}
