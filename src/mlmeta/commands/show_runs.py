"""What `mlmeta show` tells of runs: a table, everything of one, a metric over runs or steps."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.show import Shown, experiment_names, experiment_of, nested, where
from mlmeta.errors import UsageError
from mlmeta.schema import LOGGED_MODELS, METRICS, MODELS, RUNS, Experiment, Run, model_title, several
from mlmeta.schema.runs import PARENT_RUN_ID
from mlmeta.schema.words import closest
from mlmeta.snapshot.by_kind import require_metric
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import open_snapshot

_ATTRIBUTES = ("run_id", "run_name", "status", "user_id", "start_time", "end_time", "lifecycle_stage", "artifact_uri")
_COLUMN = re.compile(r"(params|metrics|tags|attributes)\.(.+)")
_SORT = re.compile(r"(\S.*?)(?:\s+(asc|desc))?", re.IGNORECASE)
_SHOWN_METRICS = 3
_SHOWN_PARAMS = 3


class RunTable(Shown):
    """Runs of an experiment.

    Args:
        columns: in MLflow's names: ``attributes.…``, ``params.…``, ``metrics.…``, ``tags.…``.
        depths: of each row: 0, or 1 for a run within a run, and so on; all 0 where rows are sorted by a column.
        rows: a value for each column, None where the run has none.
        total: number of runs before the limit.
        further: the params and metrics of these runs that are no column, those of most runs first.
        sorted_by: the column that they are sorted by; empty: by none.
    """

    experiment: Experiment
    columns: tuple[str, ...]
    run_ids: tuple[str, ...]
    depths: tuple[int, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    total: int
    further: tuple[str, ...]
    sorted_by: str = ""


class ModelOfRun(BaseModel):
    """A logged model that a run made or used; `step`: at which it was made, as far as MLflow knows."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    name: str
    step: int | None = None


class VersionOfRun(BaseModel):
    """A version of a registered model that came from a run."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: int
    stage: str | None
    aliases: tuple[str, ...]


class RunDetail(Shown):
    """Everything of a run.

    Args:
        points: the number of points of each metric's history.
        parent: the name of the run that it is within; empty: of none, or of one without a name.
        nested: number of the runs that are directly within it.
        models_made: logged models of it.
        models_used: logged models that were its inputs.
        versions: of registered models, that came from it.
    """

    model_config = ConfigDict(protected_namespaces=())

    run: Run
    experiment: str
    points: dict[str, int]
    parent: str
    nested: int
    models_made: tuple[ModelOfRun, ...]
    models_used: tuple[ModelOfRun, ...]
    versions: tuple[VersionOfRun, ...]


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
        columns: in MLflow's names, such as ``params.lr`` and ``metrics.loss``; none: a few that most runs have, and the
            one that they are sorted by.
        sort: a column, and ``ASC`` or ``DESC``; runs without a value come last. Empty: the newest run first, each
            followed by those within it.
        limit: most rows; None: all.
        workspaces: where to look for the experiment; none: in all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

    Raises:
        UsageError: no such experiment, or none of its runs has such a column.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    found = experiment_of(snapshot, experiment, workspaces)
    runs = [run for run in snapshot.records(RUNS) if run.experiment_id == found.experiment_id]
    by = _sort_column(sort, runs)
    shown = tuple(_column(c, runs) for c in several(columns)) or _usual(runs, by)
    placed = _in_order(runs, by, descending=_is_descending(sort)) if by else _as_nested(runs)
    return RunTable(
        **where(snapshot),
        experiment=found,
        columns=shown,
        run_ids=tuple(run.run_id for _, run in placed[:limit]),
        depths=tuple(depth for depth, _ in placed[:limit]),
        rows=tuple(tuple(_value(run, c) for c in shown) for _, run in placed[:limit]),
        total=len(runs),
        further=tuple(name for name in _counted(runs) if name not in shown),
        sorted_by=by,
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
    names, models = experiment_names(snapshot), _models_of(snapshot, run)
    return RunDetail(
        **where(snapshot),
        run=run,
        experiment=names.get(run.experiment_id, ""),
        points={key: count or 1 for key, count in points.items()},
        **_family(snapshot, run),
        **models,
    )


def _family(snapshot: Snapshot, run: Run) -> dict[str, Any]:
    """The name of the run that a run is within, and how many are within it."""
    parent, nested = "", 0
    for other in snapshot.records(RUNS):
        nested += other.tags.get(PARENT_RUN_ID) == run.run_id
        if other.run_id == run.tags.get(PARENT_RUN_ID):
            parent = other.run_name or ""
    return {"parent": parent, "nested": nested}


def _models_of(snapshot: Snapshot, run: Run) -> dict[str, Any]:
    """The models that a run made and used."""
    steps: dict[str, int | None] = {output.model_id: output.step for output in run.model_outputs}
    used = [model.model_id for model in run.model_inputs]
    names = {}
    for model in snapshot.records(LOGGED_MODELS):
        if model.source_run_id == run.run_id:
            steps.setdefault(model.model_id, None)
        if model.model_id in steps or model.model_id in used:
            names[model.model_id] = model.name
    return {
        "models_made": tuple(ModelOfRun(model_id=m, name=names.get(m, ""), step=step) for m, step in steps.items()),
        "models_used": tuple(ModelOfRun(model_id=m, name=names.get(m, "")) for m in used),
        "versions": tuple(_versions_of(snapshot, run)),
    }


def _versions_of(snapshot: Snapshot, run: Run) -> Iterator[VersionOfRun]:
    for model in snapshot.records(MODELS):
        for version in model.versions:
            if version.run_id == run.run_id:
                yield VersionOfRun(
                    model=model_title(model.name, model.workspace),
                    version=version.version,
                    stage=version.current_stage,
                    aliases=tuple(alias for alias, number in model.aliases.items() if number == version.version),
                )


def metric_over_runs(
    selector: str,
    storage: str,
    experiment: str,
    key: str,
    *,
    limit: int | None = None,
    workspaces: str | Sequence[str] = (),
    of_source: str = "",
) -> MetricOverRuns:
    """The performance history of an experiment: a metric's latest value, run after run.

    Args:
        selector: which snapshot.
        storage: where it is.
        experiment: name or id.
        key: of the metric.
        limit: only so many runs, the newest; None: all.
        workspaces: where to look for the experiment; none: in all.
        of_source: label or tracking URI of the source that is meant, where the storage has several.

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
    return MetricOverRuns(**where(snapshot), experiment=found.name, key=key, runs=runs[-limit:] if limit else runs)


def metric_over_steps(selector: str, storage: str, run_id: str, key: str, *, of_source: str = "") -> MetricOverSteps:
    """The whole history of a metric of a run.

    Raises:
        UsageError: no such run, or it has no such metric.
    """
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    run = snapshot.run(run_id)
    require_metric(run, key)
    latest = run.metrics[key]
    history = snapshot.longer_history(run.run_id, key)
    step, timestamp, value = (
        (history.step, history.timestamp, history.value)
        if history is not None
        else ((latest.step,), (latest.timestamp,), (latest.value,))
    )
    return MetricOverSteps(
        **where(snapshot), run_id=run.run_id, key=key, step=step, timestamp_ms=timestamp, value=value
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


def _usual(runs: Sequence[Run], first: str) -> tuple[str, ...]:
    """A few columns that most of the runs have; of params or metrics, `first` goes before the others."""
    counted = _counted(runs)
    params = [name for name in counted if name.startswith("params.") and name != first]
    metrics = [name for name in counted if name.startswith("metrics.") and name != first]
    usual = (
        *("attributes.run_name", "attributes.status", "attributes.start_time"),
        *[first] * bool(first and first != "attributes.run_id"),
        *params[:_SHOWN_PARAMS],
        *metrics[:_SHOWN_METRICS],
    )
    return tuple(dict.fromkeys(usual))


def _counted(runs: Sequence[Run]) -> tuple[str, ...]:
    """Their params and metrics as columns, those of most runs first; before them, params that tell runs apart."""
    params = Counter(f"params.{key}" for run in runs for key in run.params)
    metrics = Counter(f"metrics.{key}" for run in runs for key in run.metrics)
    values: defaultdict[str, set[str]] = defaultdict(set)
    for run in runs:
        for key, value in run.params.items():
            values[f"params.{key}"].add(value)
    alike = sorted(params, key=lambda name: (len(values[name]) == 1, -params[name]))
    return (*alike, *(name for name, _ in metrics.most_common()))


def _as_nested(runs: Sequence[Run]) -> list[tuple[int, Run]]:
    """The newest run first; each is followed by those within it, the oldest first."""
    known = {run.run_id for run in runs}
    tops = [run for run in runs if run.tags.get(PARENT_RUN_ID) not in known]
    below = [run for run in runs if run.tags.get(PARENT_RUN_ID) in known]
    return list(nested([*reversed(tops), *below], attrgetter("run_id"), lambda run: run.tags.get(PARENT_RUN_ID)))


def _sort_column(sort: str, runs: Sequence[Run]) -> str:
    """The full name of the column that runs are sorted by (``metrics.loss DESC``); empty: by none.

    Raises:
        UsageError: no run has it.
    """
    match = _SORT.fullmatch(sort.strip())
    return _column(match[1] if match else sort, runs) if sort else ""


def _is_descending(sort: str) -> bool:
    match = _SORT.fullmatch(sort.strip())
    return bool(match and match[2] and match[2].lower() == "desc")


def _in_order(runs: Sequence[Run], name: str, *, descending: bool) -> list[tuple[int, Run]]:
    """Runs by a column, all of depth 0; those without a value last.

    Params are sorted as numbers where all of them are.
    """
    values = [(run, value) for run in runs if _is_value(value := _value(run, name))]
    without = [run for run in runs if not _is_value(_value(run, name))]
    as_numbers = [_number(value) for _, value in values]
    keys: list[Any] = [value for _, value in values] if None in as_numbers else as_numbers
    order = sorted(range(len(values)), key=keys.__getitem__, reverse=descending)
    return [(0, run) for run in (*(values[i][0] for i in order), *without)]


def _number(value: str | float | int | None) -> float | None:
    """A value, such as a param's text, as a number to sort by; None: it is not a number."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return found if _is_value(found) else None


def _is_value(found: object) -> bool:
    return found is not None and found == found  # noqa: PLR0124 - NaN is not a value to sort by
