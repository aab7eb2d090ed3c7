"""`mlmeta list`."""

from __future__ import annotations

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute


def list_(
    storage: options.Storage = options.DEFAULT_STORAGE,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Show the snapshots of a storage, newest first.

    Half-written and damaged ones are shown too, with their state.
    """
    from mlmeta.commands.list import list_snapshots

    execute(Output("list", json, quiet, verbose, not no_progress), lambda _: list_snapshots(storage))
