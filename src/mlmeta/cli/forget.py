"""`mlmeta forget`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import completion, options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlmeta.cli.text import Block
    from mlmeta.commands.forget import ForgetResult
    from mlmeta.progress import Progress

Selectors = Annotated[
    list[str],
    typer.Argument(
        metavar="SELECTOR...", help=f"Which snapshots: each a {options.SELECTORS}", autocompletion=completion.snapshots
    ),
]
Storages = Annotated[
    list[str],
    options.option(
        "--storage",
        "Where it goes from: a folder, or gs://bucket/prefix. Repeatable, for copies of the same snapshot.",
        metavar="LOCATION",
        callback=options.one_a_line,
    ),
]
EvenLast = Annotated[bool, options.option("--even-last", "Also the only good snapshot that a storage has of a source.")]
DryRun = Annotated[bool, options.option("--dry-run", "Show what would be removed, and remove nothing.")]


def command(
    selectors: Selectors,
    storage: Storages = [options.DEFAULT_STORAGE],  # noqa: B006 - Typer copies it
    source: options.Source = "",
    even_last: EvenLast = False,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Remove single snapshots on purpose.

    Damaged ones, too, which `mlmeta prune` leaves alone. No other snapshot needs them, incremental ones included.
    """
    output = Output("forget", json, quiet, verbose, not no_progress, wide)

    def call(_: Progress) -> ForgetResult:
        from mlmeta.commands.forget import forget

        return forget(
            selectors,
            storage,
            of_source=source,
            even_last=even_last,
            dry_run=dry_run,
            confirm=None if yes else lambda plan: _confirm(output, plan),
        )

    execute(output, call, view)


def _confirm(output: Output, plan: ForgetResult) -> None:
    output.confirm(
        plan,
        lambda plan: list(_plan(plan)),
        question=f"Remove {text.plural(len(plan.snapshots), 'snapshot')} for good?",
        unasked="snapshots would be removed for good, and there is no terminal to ask on",
        hint="look at the plan above; to go ahead add --yes",
    )


def view(result: ForgetResult) -> list[Block]:
    """What went, and what that means."""
    verb = "Would remove" if result.dry_run else "Removed"
    count = text.plural(len(result.snapshots), "snapshot")
    return [*_plan(result), f"{verb} {count}, {text.size(result.freed)}."]


def _plan(plan: ForgetResult) -> Iterator[Block]:
    rows = [
        (one.timestamp, one.storage, source or "-", text.size(one.size), one.state)
        for one, source in zip(plan.snapshots, text.sources(plan.snapshots), strict=True)
    ]
    yield Table(
        ("TIMESTAMP", "STORAGE", "SOURCE", "SIZE", "STATE"), rows, right=("SIZE",), whole=("TIMESTAMP", "STORAGE")
    )
    for one in plan.snapshots:
        if one.is_last:
            yield Styled(f"{one.timestamp}: then {one.storage} has no {one.good} of its source anymore.", "bold red")
        if one.instead:
            yield f"{one.timestamp} is the newest one of its source; then {one.instead} is."
        if one.tags:
            yield f"{one.timestamp} has the tags {text.tags(one.tags)}."
    for storage, timestamps in plan.lacking.items():
        yield Styled(f"{storage} does not have {', '.join(timestamps)}.", "dim")
