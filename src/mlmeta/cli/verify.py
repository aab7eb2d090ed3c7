"""`mlmeta verify`."""

from __future__ import annotations

from typing import Annotated

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute

All = Annotated[bool, options.option("--all", "Every snapshot of the storage.")]
Quick = Annotated[bool, options.option("--quick", "Only presence and sizes.")]

Drill = Annotated[bool, options.option("--drill", "Also restore each into a throwaway store, and compare.")]


def verify(
    selectors: options.Selectors = None,
    every: All = False,
    quick: Quick = False,
    drill: Drill = False,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Check snapshots: sizes, SHA-256, record counts, schema, references.

    Exit code 4 where anything is wrong; it is named.
    """
    from mlmeta.commands import verify as operation

    execute(
        Output("verify", json, quiet, verbose, not no_progress),
        lambda progress: operation.verify(
            selectors or ["latest"],
            storage,
            of_source=source,
            every=every,
            quick=quick,
            with_drill=drill,
            progress=progress,
        ),
    )
