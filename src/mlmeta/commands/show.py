"""`mlmeta show`: what is in a snapshot. No server is needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.absent import lacks
from mlmeta.commands.result import Result
from mlmeta.errors import UsageError
from mlmeta.schema import (
    DEFAULT_WORKSPACE,
    EXPERIMENTS,
    METRICS,
    MODELS,
    RUNS,
    Experiment,
    Kind,
    LatestMetric,
    RegisteredModel,
    Run,
    Selection,
    Skipped,
    several,
)
from mlmeta.schema.words import closest
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.opening import open_snapshot

_ATTRIBUTES = ("run_id", "run_name", "status", "user_id", "start_time", "end_time", "lifecycle_stage", "artifact_uri")
_COLUMN = re.compile(r"(params|metrics|tags|attributes)\.(.+)")
_SORT = re.compile(r"(\S.*?)(?:\s+(asc|desc))?", re.IGNORECASE)
_SHOWN_METRICS = 3
_SHOWN_PARAMS = 3


class Shown(Result):
    """Base: it is what was asked for."""

    timestamp: str
    storage: str

    is_report: ClassVar[bool] = False

    @property
    def headline(self) -> str:
        """Which snapshot."""
        return f"{self.timestamp} in {self.storage}"


class ExperimentRow(BaseModel):
    """An experiment and the number of its runs; `latest` is its newest run's start, milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    experiment: Experiment
    runs: int
    deleted_runs: int
    latest: int | None


class Overview(Shown):
    """A snapshot as a whole.

    Args:
        tables: how many rows of each table that no other kind models.
        experiments: of the snapshot, with what it has of them.
        limited_to: the names of experiments that the backup was limited to; empty: none.
        workspaces: likewise of workspaces.
        without: the kinds and groups that the backup left out on request.
        tags: that a person gave the snapshot.
        auth: the database that users and permissions of basic-auth came from; empty: it has none.
    """

    source: str
    source_id: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    source_kind: str
    date: str
    schema_version: str
    mlflow_server_version: str | None
    point_in_time: bool
    stats: dict[str, int]
    tables: dict[str, int] = {}
    size: int
    limited_to: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    auth: str = ""
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


def overview(
    selector: str = "latest", storage: str = "backups", *, workspaces: str | Sequence[str] = (), of_source: str = ""
) -> Overview:
    """A snapshot as a whole: where it is from, and its experiments.

    Args:
        selector: which snapshot: see `snapshot.selector.select`.
        storage: where it is.
        workspaces: whose experiments are listed; none: all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
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
        if selection.has_workspace(e.workspace)
    )
    summary, shown = snapshot.summary, where(snapshot)
    return Overview(
        **{**shown, "warnings": (*shown["warnings"], *summary.warnings)},
        source=summary.mlflow_uri,
        source_id=summary.source_id,
        label=summary.label,
        tags=summary.tags,
        source_kind=summary.source_kind,
        date=summary.backup_date,
        schema_version=summary.schema_version,
        mlflow_server_version=summary.mlflow_server_version,
        point_in_time=summary.point_in_time,
        stats=summary.stats,
        tables=summary.tables,
        limited_to=summary.experiments,
        workspaces=summary.workspaces,
        without=summary.without,
        auth=summary.auth_uri,
        size=sum(entry.bytes for entry in summary.files.values()),
        experiments=rows,
        skipped=summary.skipped,
        note=summary.note,
    )


def models(
    selector: str = "latest", storage: str = "backups", *, workspaces: str | Sequence[str] = (), of_source: str = ""
) -> ModelList:
    """The registered models with their versions, stages and aliases; `workspaces`: whose; none: of all."""
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    selection = within_workspaces(snapshot, workspaces)
    found = (model for model in snapshot.records(MODELS) if selection.has_workspace(model.workspace))
    return ModelList(**where(snapshot, MODELS), models=tuple(found))


def run_table(
    selector: str,
    storage: str,
    experiment: str,
    *,
    columns: str | Sequence[str] = (),
    sort: str = "",
    limit: int | None = None,
    workspaces: str | Sequence[str] = (),
    of_source: str = "",
) -> RunTable:
    """The runs of an experiment.

    Args:
        selector: which snapshot.
        storage: where it is.
        experiment: name or id.
        columns: in MLflow's names, such as ``params.lr`` and ``metrics.loss``; none: a few that most runs have.
        sort: a column, and ``ASC`` or ``DESC``; empty: by start time. Runs without a value come last.
        limit: most rows; None: all.
        workspaces: where to look for the experiment; none: in all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such experiment, or none of its runs has such a column.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    found = experiment_of(snapshot, experiment, workspaces)
    runs = [run for run in snapshot.records(RUNS) if run.experiment_id == found.experiment_id]
    shown = tuple(_column(c, runs) for c in several(columns)) or _usual(runs)
    runs = _in_order(runs, sort)
    return RunTable(
        **where(snapshot),
        experiment=found,
        columns=shown,
        run_ids=tuple(run.run_id for run in runs[:limit]),
        rows=tuple(tuple(_value(run, c) for c in shown) for run in runs[:limit]),
        total=len(runs),
    )


def run_detail(selector: str, storage: str, run_id: str, *, of_source: str = "") -> RunDetail:
    """Everything of a run.

    Args:
        selector: which snapshot.
        storage: where it is.
        run_id: or the beginning of one that no other run has.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such run, or several.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    run = snapshot.run(run_id)
    points = Counter(dict.fromkeys(run.metrics, 0))
    for history in snapshot.records(METRICS):
        if history.run_id == run.run_id:
            points[history.key] += len(history.step)
    names = experiment_names(snapshot)
    return RunDetail(
        **where(snapshot),
        run=run,
        experiment=names.get(run.experiment_id, ""),
        points={key: count or 1 for key, count in points.items()},
    )


def metric_over_runs(
    selector: str,
    storage: str,
    experiment: str,
    key: str,
    *,
    workspaces: str | Sequence[str] = (),
    of_source: str = "",
) -> MetricOverRuns:
    """The performance history of an experiment: a metric's latest value, run after run.

    Raises:
        UsageError: no such experiment, or none of its runs has the metric.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    found = experiment_of(snapshot, experiment, workspaces)
    all_runs = [r for r in snapshot.records(RUNS) if r.experiment_id == found.experiment_id]
    runs = tuple(r for r in all_runs if key in r.metrics)
    if not runs:
        known = {k for r in all_runs for k in r.metrics}
        raise UsageError(f"no run of {found.name!r} has a metric {key!r}", hint=f"they have: {closest(key, known)}")
    return MetricOverRuns(**where(snapshot), experiment=found.name, key=key, runs=runs)


def metric_over_steps(selector: str, storage: str, run_id: str, key: str, *, of_source: str = "") -> MetricOverSteps:
    """The whole history of a metric of a run.

    Raises:
        UsageError: no such run, or it has no such metric.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    run = snapshot.run(run_id)
    if key not in run.metrics:
        raise UsageError(f"run {run.run_id} has no metric {key!r}", hint=f"it has: {closest(key, run.metrics)}")
    points: list[tuple[int | None, int | None, float]] = []
    for history in snapshot.records(METRICS):
        if history.run_id == run.run_id and history.key == key:
            points += history.points()
    latest: LatestMetric = run.metrics[key]
    step, timestamp, value = zip(*(points or [(latest.step, latest.timestamp, latest.value)]), strict=True)
    return MetricOverSteps(
        **where(snapshot), run_id=run.run_id, key=key, step=step, timestamp_ms=timestamp, value=value
    )


def within_workspaces(snapshot: Snapshot, workspaces: str | Sequence[str]) -> Selection:
    """The selection of some workspaces; none: of all.

    Raises:
        UsageError: the snapshot has nothing in one of them.
    """
    return Selected(snapshot, Selection(workspaces=several(workspaces))).selection


def where(snapshot: Snapshot, *shown: Kind[Any]) -> dict[str, Any]:
    """What every result says: which snapshot, where it is, and what to know of the choice.

    Args:
        snapshot: that is shown.
        shown: kinds that it may lack, though the store had some.
    """
    shrunken = snapshot.summary.shrunken
    notes = [*snapshot.notes, *(f"{one.kind}: {one.reason}" for one in snapshot.unknown)]
    if shrunken:
        notes.append(f"this snapshot has {shrunken}: `mlmeta list` shows others")
    notes += (sentence for kind in shown for sentence in lacks(snapshot, kind))
    return {"timestamp": snapshot.timestamp, "storage": snapshot.storage.location, "warnings": tuple(notes)}


def experiment_names(snapshot: Snapshot) -> dict[str, str]:
    """The names of all experiments, by id."""
    return {one.experiment_id: one.name for one in snapshot.records(EXPERIMENTS)}


def experiment_of(snapshot: Snapshot, wanted: str, workspaces: str | Sequence[str] = ()) -> Experiment:
    """The experiment of a name, or of an id that is nobody's name.

    Args:
        snapshot: that has it.
        wanted: name or id.
        workspaces: where to look; none: in all.

    Raises:
        UsageError: there is none, or several workspaces have one of that name.
    """
    selection = within_workspaces(snapshot, workspaces)
    found = [one for one in snapshot.records(EXPERIMENTS) if selection.has_workspace(one.workspace)]
    named = [experiment for experiment in found if wanted == experiment.name]
    if len(named) > 1:
        places = ", ".join(f"{one.workspace or DEFAULT_WORKSPACE} (id {one.experiment_id})" for one in named)
        raise UsageError(
            f"several workspaces have an experiment {wanted!r}: {places}", hint="add --workspace NAME, or name its id"
        )
    for experiment in named:
        return experiment
    for experiment in found:
        if wanted == experiment.experiment_id:
            return experiment
    raise UsageError(
        f"snapshot {snapshot.timestamp} has no experiment {wanted!r}",
        hint=f"it has: {closest(wanted, (e.name for e in found))}",
    )


def _column(name: str, runs: Sequence[Run]) -> str:
    """A column's full name; a bare word is an attribute.

    Args:
        name: as the user wrote it.
        runs: whose column it is; where there are none, any will do.

    Raises:
        UsageError: no run has it.
    """
    full = name if _COLUMN.fullmatch(name) else f"attributes.{name}"
    kind, key = full.split(".", 1)
    is_there = key in _ATTRIBUTES if kind == "attributes" else not runs or any(key in _map(run, kind) for run in runs)
    if not is_there:
        raise UsageError(f"no run has a column {name!r}", hint=f"there are: {closest(name, _all(runs))}")
    return full


def _map(run: Run, kind: str) -> Mapping[str, object]:
    found: dict[str, Mapping[str, object]] = {"params": run.params, "metrics": run.metrics, "tags": run.tags}
    return found[kind]


def _all(runs: Sequence[Run]) -> Iterator[str]:
    yield from _ATTRIBUTES
    for kind in ("params", "metrics", "tags"):
        yield from {f"{kind}.{key}" for run in runs for key in _map(run, kind)}


def _value(run: Run, name: str) -> str | float | int | None:
    """A run's value in a column (its full name); None where it has none."""
    kind, key = name.split(".", 1)
    if kind == "metrics":
        metric = run.metrics.get(key)
        return metric.value if metric else None
    if kind == "attributes":
        attribute: str | int | None = getattr(run, key)
        return attribute
    return (run.params if kind == "params" else run.tags).get(key)


def _usual(runs: Sequence[Run]) -> tuple[str, ...]:
    """A few columns that most of the runs have."""
    params = Counter(key for run in runs for key in run.params)
    metrics = Counter(key for run in runs for key in run.metrics)
    return (
        *("attributes.run_name", "attributes.status", "attributes.start_time"),
        *(f"params.{key}" for key, _ in params.most_common(_SHOWN_PARAMS)),
        *(f"metrics.{key}" for key, _ in metrics.most_common(_SHOWN_METRICS)),
    )


def _in_order(runs: list[Run], sort: str) -> list[Run]:
    """Runs by a column (``metrics.loss DESC``); those without a value last.

    Raises:
        UsageError: no run has such a column.
    """
    if not sort:
        return runs
    match = _SORT.fullmatch(sort.strip())
    name = _column(match[1] if match else sort, runs)
    descending = bool(match and match[2] and match[2].lower() == "desc")
    having: Iterator[Run] = (run for run in runs if _is_value(_value(run, name)))
    without = [run for run in runs if not _is_value(_value(run, name))]
    return [*sorted(having, key=lambda run: _value(run, name), reverse=descending), *without]  # type: ignore[arg-type,return-value]


def _is_value(found: object) -> bool:
    return found is not None and found == found  # noqa: PLR0124 - NaN is not a value to sort by
