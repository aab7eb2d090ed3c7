"""`mlmeta prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import Watched, execute
from mlmeta.cli.text import Styled, Table

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.prune import PruneResult
    from mlmeta.progress import Progress

DryRun = Annotated[bool, options.option("--dry-run", "Show what would be removed, and remove nothing.")]


def command(
    keep_last: options.KeepLast = 0,
    keep_hourly: options.KeepHourly = 0,
    keep_daily: options.KeepDaily = 0,
    keep_weekly: options.KeepWeekly = 0,
    keep_monthly: options.KeepMonthly = 0,
    keep_yearly: options.KeepYearly = 0,
    keep_within: options.KeepWithin = "",
    keep_tag: options.KeepTags = None,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.OnlySource = "",
    metrics_file: options.MetricsFile = "",
    ping: options.PingUrl = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Remove old snapshots; what any rule keeps stays.

    Rules count for each source by itself; with --source, only snapshots of that one may go. The newest complete
    snapshot always stays; leftovers of interrupted backups go once they are a day old.
    """
    output = Output("prune", json, quiet, verbose, not no_progress, wide)

    def call(_: Progress) -> PruneResult:
        from mlmeta.commands.prune import prune

        rules = options.retention(
            last=keep_last,
            hourly=keep_hourly,
            daily=keep_daily,
            weekly=keep_weekly,
            monthly=keep_monthly,
            yearly=keep_yearly,
            within=keep_within,
            tags=keep_tag,
        )
        confirm = None if yes else lambda plan: _confirm(output, plan)
        return prune(storage, rules, of_source=source, dry_run=dry_run, confirm=confirm)

    execute(output, call, view, None if dry_run else Watched(metrics_file, ping, [storage]))


def _confirm(output: Output, plan: PruneResult) -> None:
    output.confirm(
        plan,
        _decisions,
        question="Remove them?",
        unasked=f"snapshots in {plan.storage} would be removed, and there is no terminal to ask on",
        hint="look at the plan above; to go ahead add --yes",
    )


def view(result: PruneResult) -> list[Block]:
    """The plan, and what came of it."""
    going = sum(not decision.keep for decision in result.snapshots)
    verb = "Would remove" if result.dry_run else "Removed"
    freed = f", {text.size(result.freed)}" if result.freed else ""
    others = [Styled(f"{text.plural(result.others, 'other snapshot')}: left alone", "dim")] if result.others else []
    return [*_decisions(result), *others, f"{verb} {text.plural(going, 'snapshot')} from {result.storage}{freed}."]


def _decisions(plan: PruneResult) -> list[Block]:
    """Each snapshot, and why it stays or goes."""
    verdicts = {True: Styled("keep", "green"), False: Styled("remove", "red")}
    rows = [
        (one.timestamp, verdicts[one.keep], source or "-", text.size(one.size), one.reason)
        for one, source in zip(plan.snapshots, text.sources(plan.snapshots), strict=True)
    ]
    left = [Styled(f"leftover of an interrupted backup: {name}", "yellow") for name in plan.leftovers]
    columns = ("TIMESTAMP", "", "SOURCE", "SIZE", "WHY")
    return [*([Table(columns, rows, right=("SIZE",), whole=("TIMESTAMP", ""))] if rows else []), *left]
