"""`mlmeta verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import Watched, execute, name_of_store
from mlmeta.cli.text import Styled

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.verify import Verified, VerifyResult
    from mlmeta.progress import Progress
    from mlmeta.stores.proof import Comparison

All = Annotated[bool, options.option("--all", "Every snapshot of the storage.")]
Quick = Annotated[bool, options.option("--quick", "Only presence and sizes.")]

Drill = Annotated[bool, options.option("--drill", "Also restore each into a throwaway store, and compare.")]


def command(
    selectors: options.Selectors = None,
    every: All = False,
    quick: Quick = False,
    drill: Drill = False,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    metrics_file: options.MetricsFile = "",
    ping: options.PingUrl = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Check snapshots: sizes, SHA-256, record counts, schema, references.

    Exit code 4 where anything is wrong; it is named.
    """

    def call(progress: Progress) -> VerifyResult:
        from mlmeta.commands.verify import verify

        return verify(
            selectors or ["latest"],
            storage,
            of_source=source,
            every=every,
            quick=quick,
            with_drill=drill,
            progress=progress,
        )

    watched = Watched(metrics_file, ping, [storage], lambda: name_of_store(source))
    execute(Output("verify", json, quiet, verbose, not no_progress), call, view, watched)


def view(result: VerifyResult) -> list[Block]:
    """A line for each snapshot."""
    return [[Styled(one.timestamp, "bold"), "  ", _verdict(one, quick=result.quick)] for one in result.snapshots]


def _verdict(found: Verified, *, quick: bool) -> Styled:
    if found.drill is not None:
        return _drilled(found.drill)
    if found.problems:
        return Styled(text.plural(len(found.problems), "problem"), "bold red")
    if found.legacy:
        return Styled("readable; an older script wrote it, without checksums", "cyan")
    if quick:
        return Styled("all files are there, with the right sizes (--quick)", "green")
    return Styled(f"ok: {text.plural(found.records, 'record')}, checksums, schema and references", "green")


def _drilled(drill: Comparison) -> Styled:
    if not drill.is_equal:
        return Styled(f"{text.plural(drill.total, 'difference')} after a trial restore", "bold red")
    matching = ", ".join(text.plural(drill.matching[kind], kind) for kind in drill.compared)
    return Styled(f"ok, and restores: {matching} came back equal", "green")
