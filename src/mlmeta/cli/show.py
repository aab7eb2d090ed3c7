"""`mlmeta show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.commands.result import Result

Experiment = Annotated[
    str | None,
    options.option("--experiment", "The runs of this experiment.", env="MLMETA_SHOW_EXPERIMENT", metavar="NAME"),
]
Run = Annotated[str | None, options.option("--run", "Everything of this run (the id may be cut short).", metavar="ID")]
Metric = Annotated[
    str | None,
    options.option("--metric", "This metric over the runs of --experiment, or over the steps of --run.", metavar="KEY"),
]
Models = Annotated[bool, options.option("--models", "Models, versions, stages, aliases.")]
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
Limit = Annotated[int, options.option("--limit", "The most runs to show.", min=1)]


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
