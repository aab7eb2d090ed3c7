"""`mlmeta show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.several import one_a_line
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.commands.result import Result

Experiment = Annotated[
    str | None,
    typer.Option("--experiment", metavar="NAME", envvar="MLMETA_SHOW_EXPERIMENT", help="The runs of this experiment."),
]
Run = Annotated[
    str | None,
    typer.Option("--run", metavar="ID", envvar="MLMETA_RUN", help="Everything of this run (the id may be cut short)."),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="KEY",
        envvar="MLMETA_METRIC",
        help="This metric over the runs of --experiment, or over the steps of --run.",
    ),
]
Models = Annotated[bool, typer.Option("--models", envvar="MLMETA_MODELS", help="Models, versions, stages, aliases.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="COLUMN",
        envvar="MLMETA_COLUMN",
        callback=one_a_line,
        help="With --experiment: params.X, metrics.X, tags.X, or an attribute such as status. Repeatable.",
    ),
]
Sort = Annotated[
    str,
    typer.Option("--sort", metavar="COLUMN [DESC]", envvar="MLMETA_SORT", help='Such as "metrics.loss DESC".'),
]
Limit = Annotated[int, typer.Option("--limit", min=1, envvar="MLMETA_LIMIT", help="The most runs to show.")]


def show(
    selector: options.Selector = "latest",
    experiment: Experiment = None,
    run: Run = None,
    metric: Metric = None,
    models: Models = False,
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
    history; with --models the model registry.
    """

    def call() -> Result:
        from mlmeta.commands import show as operation
        from mlmeta.commands import show_runs

        if models:
            return operation.models(selector, storage, of_source=source)
        if metric and run:
            return show_runs.metric_over_steps(selector, storage, run, metric, of_source=source)
        if metric and experiment:
            return show_runs.metric_over_runs(selector, storage, experiment, metric, of_source=source)
        if metric:
            raise UsageError("--metric needs an experiment or a run", hint="add --experiment NAME, or --run ID")
        if run:
            return show_runs.run_detail(selector, storage, run, of_source=source)
        if experiment:
            return show_runs.run_table(
                selector,
                storage,
                experiment,
                columns=column or (),
                sort=sort,
                limit=None if json else limit,
                of_source=source,
            )
        return operation.overview(selector, storage, of_source=source)

    execute(Output("show", json, quiet, verbose, not no_progress), lambda _: call())
