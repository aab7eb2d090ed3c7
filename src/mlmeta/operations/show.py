"""`mlmeta show`: what is in a snapshot. No server is needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import UsageError
from mlmeta.operations.result import Result
from mlmeta.operations.stores import open_snapshot
from mlmeta.schema import EXPERIMENTS, METRICS, MODELS, RUNS, Experiment, LatestMetric, RegisteredModel, Run, Skipped
from mlmeta.snapshot.reader import Snapshot

_COLUMN = re.compile(r"(params|metrics|tags|attributes)\.(.+)")
_SORT = re.compile(r"(\S.*?)(?:\s+(asc|desc))?", re.IGNORECASE)
_SHOWN_METRICS = 3
_SHOWN_PARAMS = 3


class _Shown(Result):
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


class Overview(_Shown):
    """A snapshot as a whole."""

    source: str
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


class RunTable(_Shown):
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


class RunDetail(_Shown):
    """Everything of a run; `points` is the number of points of each metric's history."""

    run: Run
    experiment: str
    points: dict[str, int]


class MetricOverRuns(_Shown):
    """The latest value of a metric over the runs of an experiment, by start time."""

    experiment: str
    key: str
    runs: tuple[Run, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """Of each run."""
        return tuple(run.metrics[self.key].value for run in self.runs)


class MetricOverSteps(_Shown):
    """The history of a metric of a run, in columns."""

    run_id: str
    key: str
    step: tuple[int | None, ...]
    timestamp_ms: tuple[int | None, ...]
    value: tuple[float, ...]


class ModelList(_Shown):
    """The model registry."""

    models: tuple[RegisteredModel, ...]


def overview(selector: str = "latest", storage: str = "backups") -> Overview:
    """A snapshot as a whole: where it is from, and its experiments.

    Args:
        selector: which snapshot: see `snapshot.selector.select`.
        storage: where it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
    """
    snapshot = open_snapshot(storage, selector)
    runs: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for run in snapshot.records(RUNS):
        runs[run.experiment_id] += 1
        deleted[run.experiment_id] += run.lifecycle_stage == "deleted"
        if run.start_time is not None:
            latest[run.experiment_id] = max(run.start_time, latest.get(run.experiment_id, run.start_time))
    rows = tuple(
        ExperimentRow(
            experiment=e,
            runs=runs[e.experiment_id],
            deleted_runs=deleted[e.experiment_id],
            latest=latest.get(e.experiment_id),
        )
        for e in snapshot.records(EXPERIMENTS)
    )
    summary = snapshot.summary
    return Overview(
        **_where(snapshot),
        source=summary.mlflow_uri,
        source_kind=summary.source_kind,
        date=summary.backup_date,
        schema_version=summary.schema_version,
        mlflow_server_version=summary.mlflow_server_version,
        point_in_time=summary.point_in_time,
        stats=summary.stats,
        size=sum(entry.bytes for entry in summary.files.values()),
        experiments=rows,
        skipped=summary.skipped,
        note=summary.note,
        warnings=summary.warnings,
    )


def run_table(
    selector: str,
    storage: str,
    experiment: str,
    *,
    columns: Sequence[str] = (),
    sort: str = "",
    limit: int | None = None,
) -> RunTable:
    """The runs of an experiment.

    Args:
        selector: which snapshot.
        storage: where it is.
        experiment: name or id.
        columns: in MLflow's names, such as ``params.lr`` and ``metrics.loss``; none: a few that most runs have.
        sort: a column, and ``ASC`` or ``DESC``; empty: by start time. Runs without a value come last.
        limit: most rows; None: all.

    Raises:
        UsageError: no such experiment, or no such column.
    """
    snapshot = open_snapshot(storage, selector)
    found = _experiment(snapshot, experiment)
    runs = [run for run in snapshot.records(RUNS) if run.experiment_id == found.experiment_id]
    shown = tuple(_column(c) for c in columns) or _usual_columns(runs)
    runs = _sorted(runs, sort)
    return RunTable(
        **_where(snapshot),
        experiment=found,
        columns=shown,
        run_ids=tuple(run.run_id for run in runs[:limit]),
        rows=tuple(tuple(_value(run, c) for c in shown) for run in runs[:limit]),
        total=len(runs),
    )


def run_detail(selector: str, storage: str, run_id: str) -> RunDetail:
    """Everything of a run.

    Args:
        selector: which snapshot.
        storage: where it is.
        run_id: or the beginning of one that no other run has.

    Raises:
        UsageError: no such run, or several.
    """
    snapshot = open_snapshot(storage, selector)
    run = _run(snapshot, run_id)
    points = Counter(dict.fromkeys(run.metrics, 0))
    for history in snapshot.records(METRICS):
        if history.run_id == run.run_id:
            points[history.key] += len(history.step)
    names = {e.experiment_id: e.name for e in snapshot.records(EXPERIMENTS)}
    return RunDetail(
        **_where(snapshot),
        run=run,
        experiment=names.get(run.experiment_id, ""),
        points={key: count or 1 for key, count in points.items()},
    )


def metric_over_runs(selector: str, storage: str, experiment: str, key: str) -> MetricOverRuns:
    """The performance history of an experiment: a metric's latest value, run after run.

    Raises:
        UsageError: no such experiment, or none of its runs has the metric.
    """
    snapshot = open_snapshot(storage, selector)
    found = _experiment(snapshot, experiment)
    all_runs = [r for r in snapshot.records(RUNS) if r.experiment_id == found.experiment_id]
    runs = tuple(r for r in all_runs if key in r.metrics)
    if not runs:
        known = sorted({k for r in all_runs for k in r.metrics})
        raise UsageError(f"no run of {found.name!r} has a metric {key!r}", hint=f"they have: {_some(known)}")
    return MetricOverRuns(**_where(snapshot), experiment=found.name, key=key, runs=runs)


def metric_over_steps(selector: str, storage: str, run_id: str, key: str) -> MetricOverSteps:
    """The whole history of a metric of a run.

    Raises:
        UsageError: no such run, or it has no such metric.
    """
    snapshot = open_snapshot(storage, selector)
    run = _run(snapshot, run_id)
    if key not in run.metrics:
        raise UsageError(f"run {run.run_id} has no metric {key!r}", hint=f"it has: {_some(sorted(run.metrics))}")
    points: list[tuple[int | None, int | None, float]] = []
    for history in snapshot.records(METRICS):
        if history.run_id == run.run_id and history.key == key:
            points += history.points()
    latest: LatestMetric = run.metrics[key]
    step, timestamp, value = zip(*(points or [(latest.step, latest.timestamp, latest.value)]), strict=True)
    return MetricOverSteps(
        **_where(snapshot), run_id=run.run_id, key=key, step=step, timestamp_ms=timestamp, value=value
    )


def models(selector: str = "latest", storage: str = "backups") -> ModelList:
    """The registered models with their versions, stages and aliases."""
    snapshot = open_snapshot(storage, selector)
    return ModelList(**_where(snapshot), models=tuple(snapshot.records(MODELS)))


def _where(snapshot: Snapshot) -> dict[str, str]:
    return {"timestamp": snapshot.timestamp, "storage": snapshot.storage.location}


def _experiment(snapshot: Snapshot, wanted: str) -> Experiment:
    found = list(snapshot.records(EXPERIMENTS))
    for experiment in found:
        if wanted == experiment.name:
            return experiment
    for experiment in found:
        if wanted == experiment.experiment_id:
            return experiment
    raise UsageError(
        f"snapshot {snapshot.timestamp} has no experiment {wanted!r}", hint=f"it has: {_some([e.name for e in found])}"
    )


def _run(snapshot: Snapshot, wanted: str) -> Run:
    found = [run for run in snapshot.records(RUNS) if run.run_id.startswith(wanted)]
    exact = [run for run in found if run.run_id == wanted]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise UsageError(f"snapshot {snapshot.timestamp} has no run {wanted!r}", hint="`--experiment NAME` lists runs")
    raise UsageError(f"{wanted!r} begins {len(found)} run ids", hint="write more of the id")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "") if names else "none"


def _column(name: str) -> str:
    """A column's full name; a bare word is an attribute.

    Raises:
        UsageError: it is neither.
    """
    full = name if _COLUMN.fullmatch(name) else f"attributes.{name}"
    if full.startswith("attributes.") and full.removeprefix("attributes.") not in _ATTRIBUTES:
        raise UsageError(
            f"there is no column {name!r}",
            hint=f"write params.X, metrics.X, tags.X, or one of {', '.join(_ATTRIBUTES)}",
        )
    return full


_ATTRIBUTES = ("run_id", "run_name", "status", "user_id", "start_time", "end_time", "lifecycle_stage", "artifact_uri")


def _value(run: Run, column: str) -> str | float | int | None:
    kind, name = column.split(".", 1)
    if kind == "metrics":
        metric = run.metrics.get(name)
        return metric.value if metric else None
    if kind == "attributes":
        value: str | int | None = getattr(run, name)
        return value
    return (run.params if kind == "params" else run.tags).get(name)


def _usual_columns(runs: Sequence[Run]) -> tuple[str, ...]:
    params = Counter(key for run in runs for key in run.params)
    metrics = Counter(key for run in runs for key in run.metrics)
    return (
        *("attributes.run_name", "attributes.status", "attributes.start_time"),
        *(f"params.{key}" for key, _ in params.most_common(_SHOWN_PARAMS)),
        *(f"metrics.{key}" for key, _ in metrics.most_common(_SHOWN_METRICS)),
    )


def _sorted(runs: list[Run], sort: str) -> list[Run]:
    if not sort:
        return runs
    match = _SORT.fullmatch(sort.strip())
    column = _column(match[1] if match else sort)
    descending = bool(match and match[2] and match[2].lower() == "desc")
    having: Iterator[Run] = (run for run in runs if _is_value(_value(run, column)))
    without = [run for run in runs if not _is_value(_value(run, column))]
    return [*sorted(having, key=lambda run: _value(run, column), reverse=descending), *without]  # type: ignore[arg-type,return-value]


def _is_value(value: object) -> bool:
    return value is not None and value == value  # noqa: PLR0124 - NaN is no value to sort by
