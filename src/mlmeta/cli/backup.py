"""`mlmeta backup`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlmeta.cli import options
from mlmeta.cli.render import Output
from mlmeta.cli.run import execute

Storages = Annotated[
    list[str],
    typer.Option(
        "--storage",
        metavar="LOCATION",
        envvar="MLMETA_STORAGE",
        help="Where the snapshot goes: a folder, or gs://bucket/prefix. Repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", envvar="MLMETA_DRY_RUN", help="Read everything, write nothing.")]


def backup(
    tracking_uri: options.TrackingUri = "",
    storage: Storages = [options.DEFAULT_STORAGE],  # noqa: B006 - Typer copies it
    experiment: options.Experiments = None,
    dry_run: DryRun = False,
    registry_uri: options.RegistryUri = None,
    jobs: options.Jobs = options.DEFAULT_JOBS,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Save an MLflow store's metadata as a snapshot.

    Experiments, runs, params, tags, the full history of every metric, and the model registry, deleted ones
    included. Exit code 3: saved, but something could not be read; it is named.
    """
    from mlmeta.operations import backup as operation

    execute(
        Output("backup", json, quiet, verbose, not no_progress),
        lambda progress: operation.backup(
            tracking_uri,
            storage,
            experiments=experiment or (),
            registry_uri=registry_uri,
            jobs=jobs,
            dry_run=dry_run,
            progress=progress,
        ),
    )
