"""`mlmeta prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute

if TYPE_CHECKING:
    from mlmeta.commands.prune import PruneResult
    from mlmeta.commands.result import Result

DryRun = Annotated[bool, options.option("--dry-run", "Show what would be removed, and remove nothing.")]


def prune(
    keep_last: options.KeepLast = 0,
    keep_hourly: options.KeepHourly = 0,
    keep_daily: options.KeepDaily = 0,
    keep_weekly: options.KeepWeekly = 0,
    keep_monthly: options.KeepMonthly = 0,
    keep_yearly: options.KeepYearly = 0,
    keep_within: options.KeepWithin = "",
    dry_run: DryRun = False,
    yes: options.Yes = False,
    storage: options.Storage = options.DEFAULT_STORAGE,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Remove old snapshots; what any rule keeps stays.

    Rules count for each source by itself. The newest complete snapshot always stays; leftovers of interrupted
    backups go once they are a day old.
    """
    output = Output("prune", json, quiet, verbose, not no_progress)

    def call() -> Result:
        from mlmeta.commands.prune import prune as operation

        rules = options.retention(
            last=keep_last,
            hourly=keep_hourly,
            daily=keep_daily,
            weekly=keep_weekly,
            monthly=keep_monthly,
            yearly=keep_yearly,
            within=keep_within,
        )
        return operation(storage, rules, dry_run=dry_run, confirm=None if yes else lambda plan: _confirm(output, plan))

    execute(output, lambda _: call())


def _confirm(output: Output, plan: PruneResult) -> None:
    from mlmeta.cli.views.prune import plan as shown

    output.confirm(
        plan,
        shown,
        question="Remove them?",
        unasked=f"snapshots in {plan.storage} would be removed, and there is no terminal to ask on",
        hint="look at the plan above; to go ahead add --yes",
    )
