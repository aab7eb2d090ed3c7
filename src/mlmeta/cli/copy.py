"""`mlmeta copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.copy import CopyResult
    from mlmeta.progress import Progress

From = Annotated[str, options.option("--from", "Storage to copy from.", metavar="LOCATION")]
To = Annotated[str, options.option("--to", "Storage to copy to.", metavar="LOCATION")]
Missing = Annotated[bool, options.option("--missing", "All snapshots that the other storage lacks.")]


def command(
    to: To,
    selectors: options.Selectors = None,
    from_: From = options.DEFAULT_STORAGE,
    missing: Missing = False,
    source: options.Source = "",
    include_password_hashes: options.IncludePasswordHashes = False,
    umask: options.Umask = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Copy snapshots from one storage to another, verified on both ends.

    Interrupted and run again, it finishes.
    """

    def call(progress: Progress) -> CopyResult:
        from mlmeta.commands.copy import copy

        if missing and selectors:
            raise UsageError(
                "--missing already copies all that the other storage lacks",
                hint="leave out the selectors, or --missing",
            )
        return copy(
            selectors or ["latest"],
            from_,
            to,
            of_source=source,
            missing=missing,
            include_password_hashes=include_password_hashes,
            progress=progress,
        )

    execute(Output("copy", json, quiet, verbose, not no_progress), call, view)


def view(result: CopyResult) -> list[Block]:
    """A line for each snapshot."""
    copied = sum(one.size > 0 for one in result.snapshots)
    return [
        *(f"{one.timestamp}  {text.size(one.size) if one.size else 'was there already'}" for one in result.snapshots),
        f"Copied {text.plural(copied, 'snapshot')} from {result.source} to {result.target}.",
    ]
