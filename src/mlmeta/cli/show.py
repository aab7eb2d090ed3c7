"""`mlmeta show`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from mlmeta.cli import completion, options, show_datasets, show_traces, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Bar, Pairs, Styled, Table
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Piece
    from mlmeta.commands.show import (
        ExperimentRow,
        MetricOverRuns,
        MetricOverSteps,
        ModelList,
        Overview,
        RunDetail,
        RunTable,
    )
    from mlmeta.commands.show_datasets import DatasetDetail, DatasetList
    from mlmeta.commands.show_traces import TraceDetail, TraceList
    from mlmeta.progress import Progress
    from mlmeta.schema import LatestMetric, ModelVersion, RegisteredModel

    OfRuns = RunTable | RunDetail | MetricOverRuns | MetricOverSteps
    Shown = Overview | OfRuns | ModelList | TraceList | TraceDetail | DatasetList | DatasetDetail

_MOST_ROWS = 60
_LONG = 200
_COUNTS = ("STAGE", "RUNS", "DELETED", "LATEST RUN (UTC)")
_DEFAULT = "default"
"""What MLflow calls the workspace that every store has."""

Experiment = Annotated[
    str | None,
    options.option(
        "--experiment",
        "The runs of this experiment.",
        env="MLMETA_SHOW_EXPERIMENT",
        metavar="NAME",
        autocompletion=completion.experiments,
    ),
]
Run = Annotated[str | None, options.option("--run", "Everything of this run (the id may be cut short).", metavar="ID")]
Metric = Annotated[
    str | None,
    options.option("--metric", "This metric over the runs of --experiment, or over the steps of --run.", metavar="KEY"),
]
Models = Annotated[bool, options.option("--models", "Models, versions, stages, aliases.")]
Traces = Annotated[bool, options.option("--traces", "The traces, or those of --experiment, the newest first.")]
Trace = Annotated[
    str | None,
    options.option("--trace", "Everything of this trace, with its spans (the id may be cut short).", metavar="ID"),
]
Datasets = Annotated[bool, options.option("--datasets", "The evaluation datasets, or those of --experiment.")]
Dataset = Annotated[
    str | None,
    options.option("--dataset", "The records of this evaluation dataset (its name or id).", metavar="NAME|ID"),
]
Columns = Annotated[
    list[str] | None,
    options.option(
        "--column",
        "With --experiment: params.X, metrics.X, tags.X, or an attribute such as status. Repeatable.",
        metavar="COLUMN",
        callback=options.one_a_line,
    ),
]
Sort = Annotated[str, options.option("--sort", 'Such as "metrics.loss DESC".', metavar="COLUMN [DESC]")]
Limit = Annotated[int, options.option("--limit", "The most runs, traces, datasets or records to show.", min=1)]


def command(
    selector: options.Selector = "latest",
    experiment: Experiment = None,
    run: Run = None,
    metric: Metric = None,
    models: Models = False,
    traces: Traces = False,
    trace: Trace = None,
    datasets: Datasets = False,
    dataset: Dataset = None,
    workspace: options.Workspaces = None,
    column: Columns = None,
    sort: Sort = "",
    limit: Limit = 100,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Look into a snapshot, without a server.

    Its experiments; with --experiment its runs; with --run everything of one; with --metric the performance
    history; with --models the model registry; with --traces the traces, and with --trace all of one; with
    --datasets the evaluation datasets, and with --dataset the records of one.
    """

    def call(_: Progress) -> Shown:
        from mlmeta.commands import show
        from mlmeta.commands import show_datasets as of_datasets
        from mlmeta.commands import show_traces as of_traces

        _require_one({"--traces": traces or trace, "--datasets": datasets or dataset, "--models": models, "--run": run})
        most = None if json else limit
        asked: tuple[tuple[object, Callable[[], Shown]], ...] = (
            (trace, lambda: of_traces.trace_detail(*where, trace or "", of_source=source)),
            (traces, lambda: of_traces.trace_list(*where, experiment, limit=most, **inside)),
            (dataset, lambda: of_datasets.dataset_detail(*where, dataset or "", limit=most, of_source=source)),
            (datasets, lambda: of_datasets.dataset_list(*where, experiment, limit=most, **inside)),
            (models, lambda: show.models(*where, **inside)),
            (metric, lambda: _metric_of(where, run, experiment, metric or "", inside)),
            (run, lambda: show.run_detail(*where, run or "", of_source=source)),
            (
                experiment,
                lambda: show.run_table(*where, experiment or "", columns=column or (), sort=sort, limit=most, **inside),
            ),
            (True, lambda: show.overview(*where, **inside)),
        )
        return next(answer for is_wanted, answer in asked if is_wanted)()

    where = (selector, storage)
    inside: dict[str, Any] = {"workspaces": workspace or (), "of_source": source}
    execute(Output("show", json, quiet, verbose, not no_progress), call, partial(view, verbose=verbose))


def _require_one(views: Mapping[str, object]) -> None:
    """See that there is one thing to show: the others would be passed over."""
    chosen = [name for name, is_wanted in views.items() if is_wanted]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are shown one at a time", hint="leave out all but one of them")


def _metric_of(
    where: tuple[str, str], run: str | None, experiment: str | None, metric: str, inside: dict[str, Any]
) -> Shown:
    from mlmeta.commands import show

    if run:
        return show.metric_over_steps(*where, run, metric, of_source=inside["of_source"])
    if experiment:
        return show.metric_over_runs(*where, experiment, metric, **inside)
    raise UsageError("--metric needs an experiment or a run", hint="add --experiment NAME, or --run ID")


def view(result: Shown, *, verbose: bool) -> list[Block]:
    """What there is to see of a part of a snapshot."""
    return _VIEWS[type(result).__name__](result, verbose=verbose)


def _overview(result: Overview, **_: bool) -> list[Block]:
    """Where it is from, and its experiments."""
    server = f" {result.mlflow_server_version}" if result.mlflow_server_version else ""
    has_workspaces = any(row.experiment.workspace for row in result.experiments)
    columns = ("ID", *(("WORKSPACE",) if has_workspaces else ()), "EXPERIMENT", *_COUNTS)
    rows = [_experiment(row, has_workspaces=has_workspaces) for row in result.experiments]
    return [
        ["Snapshot ", Styled(result.timestamp, "bold"), f" of {result.source or 'an unknown source'}"],
        f"{text.counts(result.stats)}; {text.size(result.size)}",
        Styled(f"taken {result.date} from {result.source_kind or 'MLflow'}{server}", "dim"),
        *(Styled(line, "dim") for line in _rows(result)),
        *(Styled(line, "yellow") for line in _limits(result)),
        "",
        Table(columns, rows, right=("RUNS", "DELETED")),
        *(Styled(f"not saved: {one.kind} {one.id}: {one.reason}", "yellow") for one in result.skipped),
    ]


def _rows(result: Overview) -> Iterator[str]:
    if result.tables:
        yield f"rows of {', '.join(f'{name} ({count:,})' for name, count in result.tables.items())}"


def _limits(result: Overview) -> Iterator[str]:
    if result.tags:
        yield f"tags: {text.tags(result.tags)}"
    if result.limited_to:
        yield f"limited to {text.plural(len(result.limited_to), 'experiment')}: {', '.join(result.limited_to)}"
    if result.workspaces:
        yield f"limited to {text.plural(len(result.workspaces), 'workspace')}: {', '.join(result.workspaces)}"
    if result.without:
        yield f"saved without {', '.join(result.without)}"
    if result.auth:
        yield f"with users, password hashes and permissions from {result.auth}"


def _experiment(row: ExperimentRow, *, has_workspaces: bool) -> list[Piece]:
    found, deleted = row.experiment, f"{row.deleted_runs:,}" if row.deleted_runs else "-"
    return [
        *(found.experiment_id, *((found.workspace or _DEFAULT,) if has_workspaces else ())),
        *(found.name, found.lifecycle_stage),
        *(f"{row.runs:,}", deleted, text.moment(row.latest)),
    ]


def _run_table(result: RunTable, *, verbose: bool) -> list[Block]:
    """Runs with chosen columns."""
    names = [column.removeprefix("attributes.") for column in result.columns]
    numeric = tuple(n for n, c in zip(names, result.columns, strict=True) if c.startswith("metrics."))
    rows = [
        [run_id if verbose else run_id[:8], *(_cell(c, v) for c, v in zip(result.columns, row, strict=True))]
        for run_id, row in zip(result.run_ids, result.rows, strict=True)
    ]
    return [
        Styled(f"{result.experiment.name}: {text.plural(result.total, 'run')}", "bold"),
        Table(("run_id", *names), rows, right=numeric),
        *text.more(result.total, len(result.rows)),
    ]


def _cell(column: str, value: str | float | int | None) -> Piece:
    if value is None:
        return Styled("-", "dim")
    if column in {"attributes.start_time", "attributes.end_time"} and isinstance(value, int):
        return text.moment(value)
    return text.number(value) if isinstance(value, float) else str(value)


def _run_detail(result: RunDetail, *, verbose: bool) -> list[Block]:
    """Everything of a run."""
    run = result.run
    rows = {
        "run id": run.run_id,
        "name": run.run_name or "-",
        "experiment": f"{result.experiment} ({run.experiment_id})",
        "status": f"{run.status}, {run.lifecycle_stage}",
        "user": run.user_id or "-",
        "started": text.moment(run.start_time),
        "ended": text.moment(run.end_time),
        "artifacts": run.artifact_uri or "-",
    }
    metrics = {key: _metric(metric, result.points[key]) for key, metric in run.metrics.items()}
    inputs = {
        i.dataset.name: f"{i.dataset.digest}  {i.tags.get('mlflow.data.context', '')}" for i in run.dataset_inputs
    }
    tags = run.tags if verbose else _shortened(run.tags)
    parts = {"": rows, "params": run.params, "metrics": metrics, "tags": tags, "datasets": inputs}
    return [Pairs(title, pairs) for title, pairs in parts.items() if pairs]


def _metric(latest: LatestMetric, points: int) -> str:
    step = "-" if latest.step is None else latest.step
    return f"{text.number(latest.value)}  (step {step}, {text.plural(points, 'point')})"


def _shortened(tags: dict[str, str]) -> dict[str, str]:
    return {key: text.short(value, _LONG) for key, value in tags.items()}


def _metric_over_runs(result: MetricOverRuns, **_: bool) -> list[Block]:
    """A bar for each run, oldest first."""
    shown = list(zip(result.runs, result.values, strict=True))[-_MOST_ROWS:]
    rows = [
        (text.moment(run.start_time), run.run_name or run.run_id[:8], text.number(value), bar)
        for (run, value), bar in zip(shown, _bars([value for _, value in shown]), strict=True)
    ]
    older = len(result.runs) - len(shown)
    return [
        Styled(f"{result.key} over the runs of {result.experiment}", "bold"),
        Table(("STARTED (UTC)", "RUN", result.key, ""), rows, right=(result.key,)),
        *([Styled(f"the latest {len(shown)}; {older:,} older ones: --json", "dim")] if older else []),
    ]


def _metric_over_steps(result: MetricOverSteps, **_: bool) -> list[Block]:
    """A bar for each point; of a long history for every n-th, and the last."""
    count, rows = len(result.value), []
    chosen = list(_sampled(count))
    for i, bar in zip(chosen, _bars([result.value[i] for i in chosen]), strict=True):
        step = "-" if result.step[i] is None else str(result.step[i])
        rows.append((step, text.moment(result.timestamp_ms[i]), text.number(result.value[i]), bar))
    return [
        Styled(f"{result.key} of run {result.run_id}", "bold"),
        Table(("STEP", "TIME (UTC)", result.key, ""), rows, right=("STEP", result.key)),
        *([Styled(f"{len(chosen)} of {count:,} points; all: --json", "dim")] if len(chosen) < count else []),
    ]


def _sampled(count: int) -> Iterator[int]:
    every = max(1, math.ceil(count / _MOST_ROWS))
    yield from range(0, count, every)
    if (count - 1) % every:
        yield count - 1


def _bars(values: Sequence[float]) -> list[Bar | str]:
    """Bars from the smallest to the largest value; from 0 where all are on one side of it and it is near."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if 0 <= low <= high / 2:
        low = 0.0
    span = high / 2 - low / 2  # halves: from -1.8e308 to 1.8e308 is more than a float holds
    return [Bar(max((v / 2 - low / 2) / span if span else 1, 0.01)) if math.isfinite(v) else "" for v in values]


def _models(result: ModelList, *, verbose: bool) -> list[Block]:
    """A row for each version."""
    if not result.models:
        return ["No registered models."]
    columns = ("MODEL", "VERSION", "STAGE", "ALIASES", "STATUS", "RUN", "CREATED (UTC)", "SOURCE")
    rows: list[tuple[str, ...]] = []
    for model in result.models:
        if not model.versions:
            rows.append((_title(model), "-", "-", "-", "-", "-", text.moment(model.creation_timestamp), "-"))
        rows += [_version(model, version, verbose=verbose) for version in model.versions]
    return [Table(columns, rows, right=("VERSION",))]


def _title(model: RegisteredModel) -> str:
    return f"{model.workspace}/{model.name}" if model.workspace else model.name


def _version(model: RegisteredModel, version: ModelVersion, *, verbose: bool) -> tuple[str, ...]:
    aliases = ", ".join(alias for alias, number in model.aliases.items() if number == version.version)
    return (
        *(_title(model), str(version.version), version.current_stage or "-", aliases or "-", version.status or "-"),
        *((version.run_id or "-")[: None if verbose else 8], text.moment(version.creation_timestamp)),
        version.source or "-",
    )


_VIEWS: dict[str, Callable[..., list[Block]]] = {
    "Overview": _overview,
    "RunTable": _run_table,
    "RunDetail": _run_detail,
    "MetricOverRuns": _metric_over_runs,
    "MetricOverSteps": _metric_over_steps,
    "ModelList": _models,
    "TraceList": show_traces.traces,
    "TraceDetail": show_traces.detail,
    "DatasetList": show_datasets.datasets,
    "DatasetDetail": show_datasets.detail,
}
"""By the class of the result, which is imported only when there is one."""
