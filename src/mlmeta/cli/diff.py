"""`mlmeta diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.commands.result import Result
    from mlmeta.progress import Progress

Before = Annotated[str, typer.Argument(metavar="[BEFORE]", help=f"A snapshot: a {options.SELECTORS}")]
After = Annotated[
    str | None, typer.Argument(metavar="[AFTER]", help="Another one. Without it: the store at --tracking-uri.")
]
Incremental = Annotated[
    bool,
    options.option(
        "--incremental",
        "Don't ask the store for histories that can't have changed since the snapshot.",
        env="MLMETA_DIFF_INCREMENTAL",
    ),
]


def diff(
    before: Before = "latest",
    after: After = None,
    tracking_uri: options.TrackingUri = "",
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    experiment: options.Experiments = None,
    incremental: Incremental = False,
    registry_uri: options.RegistryUri = None,
    jobs: options.Jobs = options.DEFAULT_JOBS,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """What changed between two snapshots, or between a snapshot and the store as it is now.

    Down to single params, tags and metric points. Exit code 0: nothing; 4: something changed.
    """

    def call(progress: Progress) -> Result:
        if after is None and not tracking_uri:
            raise UsageError(
                "there is nothing to compare with",
                hint="name another snapshot (mlmeta diff latest~1 latest), or the store with --tracking-uri",
            )
        from mlmeta.commands.diff import diff as operation

        return operation(
            before,
            after,
            storage,
            of_source=source,
            tracking_uri=tracking_uri,
            registry_uri=registry_uri,
            experiments=experiment or (),
            incremental=incremental,
            jobs=jobs,
            progress=progress,
        )

    execute(Output("diff", json, quiet, verbose, not no_progress), call)
