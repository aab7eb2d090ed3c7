"""`mlmeta show`: runs and their metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mlmeta.commands import columns as columns_of
from mlmeta.commands.closest import closest
from mlmeta.commands.shown import MetricOverRuns, MetricOverSteps, RunDetail, RunTable, where
from mlmeta.errors import UsageError
from mlmeta.schema import EXPERIMENTS, METRICS, RUNS, Experiment, LatestMetric, Run, several
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import open_snapshot


def run_table(
    selector: str,
    storage: str,
    experiment: str,
    *,
    columns: str | Sequence[str] = (),
    sort: str = "",
    limit: int | None = None,
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
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such experiment, or none of its runs has such a column.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    found = _experiment(snapshot, experiment)
    runs = [run for run in snapshot.records(RUNS) if run.experiment_id == found.experiment_id]
    shown = tuple(columns_of.column(c, runs) for c in several(columns)) or columns_of.usual(runs)
    runs = columns_of.in_order(runs, sort)
    return RunTable(
        **where(snapshot),
        experiment=found,
        columns=shown,
        run_ids=tuple(run.run_id for run in runs[:limit]),
        rows=tuple(tuple(columns_of.value(run, c) for c in shown) for run in runs[:limit]),
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
    run = _run(snapshot, run_id)
    points = Counter(dict.fromkeys(run.metrics, 0))
    for history in snapshot.records(METRICS):
        if history.run_id == run.run_id:
            points[history.key] += len(history.step)
    names = {e.experiment_id: e.name for e in snapshot.records(EXPERIMENTS)}
    return RunDetail(
        **where(snapshot),
        run=run,
        experiment=names.get(run.experiment_id, ""),
        points={key: count or 1 for key, count in points.items()},
    )


def metric_over_runs(selector: str, storage: str, experiment: str, key: str, *, of_source: str = "") -> MetricOverRuns:
    """The performance history of an experiment: a metric's latest value, run after run.

    Raises:
        UsageError: no such experiment, or none of its runs has the metric.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    found = _experiment(snapshot, experiment)
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
    run = _run(snapshot, run_id)
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


def _experiment(snapshot: Snapshot, wanted: str) -> Experiment:
    found = list(snapshot.records(EXPERIMENTS))
    for experiment in found:
        if wanted == experiment.name:
            return experiment
    for experiment in found:
        if wanted == experiment.experiment_id:
            return experiment
    raise UsageError(
        f"snapshot {snapshot.timestamp} has no experiment {wanted!r}",
        hint=f"it has: {closest(wanted, (e.name for e in found))}",
    )


def _run(snapshot: Snapshot, wanted: str) -> Run:
    found = [run for run in snapshot.records(RUNS) if run.run_id.startswith(wanted)]
    exact = [run for run in found if run.run_id == wanted]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise UsageError(
            f"snapshot {snapshot.timestamp} has no run {wanted!r}",
            hint="`mlmeta show --experiment NAME` lists the runs of an experiment",
        )
    raise UsageError(f"{len(found)} run ids begin with {wanted!r}", hint="write more of the id")
