"""`mlmeta show`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlmeta.cli import completion, options, show_genai, show_runs, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Elastic, Styled, Table
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Cell
    from mlmeta.commands.show import ExperimentRow, ModelList, Overview
    from mlmeta.commands.show_genai import DatasetDetail, DatasetList, TraceDetail, TraceList
    from mlmeta.commands.show_runs import MetricOverRuns, MetricOverSteps, RunDetail, RunTable
    from mlmeta.progress import Progress
    from mlmeta.schema import ModelVersion, RegisteredModel

    OfRuns = RunTable | RunDetail | MetricOverRuns | MetricOverSteps
    Shown = Overview | OfRuns | ModelList | TraceList | TraceDetail | DatasetList | DatasetDetail

_COUNTS = ("STAGE", "RUNS", "DELETED", "LATEST RUN (UTC)")
_LIMIT = 100
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
Limit = Annotated[
    int | None,
    options.option(
        "--limit",
        f"The most runs, traces, datasets or records to show. Default: {_LIMIT}, and all with --json.",
        metavar="N",
        min=1,
    ),
]


def command(
    context: typer.Context,
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
    limit: Limit = None,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Look into a snapshot, without a server.

    Its experiments; with --experiment its runs; with --run everything of one; with --metric how a metric went, in
    a run or from run to run; with --models the model registry; with --traces the traces, and with --trace all of
    one; with --datasets the evaluation datasets, and with --dataset the records of one.
    """

    def call(_: Progress) -> Shown:
        from mlmeta.commands import show
        from mlmeta.commands import show_genai as of_genai
        from mlmeta.commands import show_runs as of_runs

        others = {"--traces": traces or trace, "--datasets": datasets or dataset, "--models": models}
        _require_one({**others, **({"--run": run} if run else {"--metric": metric})})
        is_table = experiment and not (traces or trace or datasets or dataset or models or run or metric)
        _require_table(context, is_table=bool(is_table), has_models=models)
        most = limit if limit or json else _LIMIT
        asked: tuple[tuple[object, Callable[[], Shown]], ...] = (
            (trace, lambda: of_genai.trace_detail(*where, trace or "", of_source=source)),
            (traces, lambda: of_genai.trace_list(*where, experiment, limit=most, **inside)),
            (dataset, lambda: of_genai.dataset_detail(*where, dataset or "", limit=most, of_source=source)),
            (datasets, lambda: of_genai.dataset_list(*where, experiment, limit=most, **inside)),
            (models, lambda: show.models(*where, **inside)),
            (metric, lambda: _metric_of(where, run, experiment, metric or "", on_curve)),
            (run, lambda: of_runs.run_detail(*where, run or "", of_source=source)),
            (
                experiment,
                lambda: of_runs.run_table(
                    *where, experiment or "", columns=column or (), sort=sort, limit=most, **inside
                ),
            ),
            (True, lambda: show.overview(*where, **inside)),
        )
        return next(answer for is_wanted, answer in asked if is_wanted)()

    where = (selector, storage)
    inside: dict[str, Any] = {"workspaces": workspace or (), "of_source": source}
    on_curve = {**inside, "limit": limit if json else None}  # a curve is of all runs
    output = Output("show", json, quiet, verbose, not no_progress, wide)
    execute(output, call, partial(view, verbose=verbose, limit=limit or _LIMIT))


def _require_one(views: Mapping[str, object]) -> None:
    """See that there is one thing to show: the others would be passed over."""
    chosen = [name for name, is_wanted in views.items() if is_wanted]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are shown one at a time", hint="leave out all but one of them")


def _require_table(context: typer.Context, *, is_table: bool, has_models: bool) -> None:
    """See that options are not passed over that were given in this very call."""
    given = [
        f"--{name}"
        for name in ("column", "sort", "experiment")
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if not is_table and (words := [name for name in given if name != "--experiment"]):
        raise UsageError(
            f"{' and '.join(words)} {'is' if len(words) == 1 else 'are'} for the runs of an experiment",
            hint="add --experiment NAME, and nothing else that is to be shown",
        )
    if has_models and "--experiment" in given:
        raise UsageError("--models shows the models of all experiments", hint="leave out --experiment")


def _metric_of(
    where: tuple[str, str], run: str | None, experiment: str | None, metric: str, inside: dict[str, Any]
) -> Shown:
    from mlmeta.commands import show_runs

    if run:
        return show_runs.metric_over_steps(*where, run, metric, of_source=inside["of_source"])
    if experiment:
        return show_runs.metric_over_runs(*where, experiment, metric, **inside)
    raise UsageError("--metric needs an experiment or a run", hint="add --experiment NAME, or --run ID")


def view(result: Shown, *, verbose: bool, limit: int) -> list[Block]:
    """What there is to see of a part of a snapshot.

    Args:
        result: that part.
        verbose: in more detail.
        limit: the most runs that are listed below a curve.
    """
    return _VIEWS[type(result).__name__](result, verbose=verbose, limit=limit)


def _overview(result: Overview, **_: object) -> list[Block]:
    """Where it is from, and its experiments."""
    server = f" {result.mlflow_server_version}" if result.mlflow_server_version else ""
    has_workspaces = any(row.experiment.workspace for row in result.experiments)
    columns = ("ID", *(("WORKSPACE",) if has_workspaces else ()), "EXPERIMENT", *_COUNTS)
    rows = [_experiment(row, has_workspaces=has_workspaces) for row in result.experiments]
    return [
        ["Snapshot ", Styled(result.timestamp, "bold"), f" of {result.source or 'an unknown source'}"],
        f"{text.counts(result.stats)}; {text.size(result.size)}",
        Styled(f"taken {text.iso_moment(result.date)} from {result.source_kind or 'MLflow'}{server}", "dim"),
        *(Styled(line, "dim") for line in _rows(result)),
        *(Styled(line, "yellow") for line in _limits(result)),
        "",
        Table(columns, rows, right=("RUNS", "DELETED"), whole=("ID", "STAGE", _COUNTS[-1]), spare=("STAGE", "DELETED")),
        *(Styled(f"not saved: {one.kind} {one.id}: {one.reason}", "yellow") for one in result.gaps),
        *text.accepted(result.accepted, result.skipped, most=None),
    ]


def _rows(result: Overview) -> Iterator[str]:
    if result.epoch:
        yield f"saved by guard {result.epoch}"
    if result.tables:
        yield f"rows of {', '.join(f'{name} ({count:,})' for name, count in result.tables.items())}"


def _limits(result: Overview) -> Iterator[str]:
    from mlmeta.schema.words import limits

    if result.tags:
        yield f"tags: {text.tags(result.tags)}"
    yield from limits(result.limited_to, result.workspaces, result.without)
    if result.auth:
        yield f"with users, password hashes and permissions from {result.auth}"


def _experiment(row: ExperimentRow, *, has_workspaces: bool) -> list[Cell]:
    found, deleted = row.experiment, f"{row.deleted_runs:,}" if row.deleted_runs else "-"
    return [
        *(found.experiment_id, *((found.workspace or _DEFAULT,) if has_workspaces else ())),
        *(found.name, found.lifecycle_stage),
        *(f"{row.runs:,}", deleted, text.when(row.latest)),
    ]


def _models(result: ModelList, **_: object) -> list[Block]:
    """A row for each version."""
    if not result.models:
        return ["No registered models."]
    most = text.shortest([v.run_id for model in result.models for v in model.versions if v.run_id])
    rows: list[tuple[Cell, ...]] = []
    for model in result.models:
        if not model.versions:
            rows.append((_model_title(model), "-", "-", "-", "-", "-", text.when(model.creation_timestamp), "-"))
        rows += [_model_version(model, version, most) for version in model.versions]
    return [
        Table(
            ("MODEL", "VERSION", "STAGE", "ALIASES", "STATUS", "RUN", "CREATED (UTC)", "SOURCE"),
            rows,
            right=("VERSION",),
            whole=("STAGE", "STATUS", "RUN", "CREATED (UTC)"),
            spare=("STATUS", "SOURCE", "CREATED (UTC)", "STAGE"),
        )
    ]


def _model_title(model: RegisteredModel) -> str:
    from mlmeta.schema import model_title  # not at the top: `--help` does without

    return model_title(model.name, model.workspace)


def _model_version(model: RegisteredModel, version: ModelVersion, most: int) -> tuple[Cell, ...]:
    aliases = ", ".join(alias for alias, number in model.aliases.items() if number == version.version)
    run = Elastic(version.run_id, version.run_id[:most]) if version.run_id else "-"
    return (
        *(_model_title(model), f"{version.version}", version.current_stage or "-", aliases or "-"),
        *(version.status or "-", run, text.when(version.creation_timestamp), version.source or "-"),
    )


_VIEWS: dict[str, Callable[..., list[Block]]] = {
    "Overview": _overview,
    "RunTable": show_runs.table,
    "RunDetail": show_runs.detail,
    "MetricOverRuns": show_runs.over_runs,
    "MetricOverSteps": show_runs.over_steps,
    "ModelList": _models,
    "TraceList": show_genai.trace_list,
    "TraceDetail": show_genai.trace_detail,
    "DatasetList": show_genai.dataset_list,
    "DatasetDetail": show_genai.dataset_detail,
}
"""By the class of the result, which is imported only when there is one."""
