"""What `mlmeta prune` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.prune import PruneResult


def plan(result: PruneResult) -> RenderableType:
    """Each snapshot, and why it stays or goes."""
    table = text.table("TIMESTAMP", "", "SIZE", "WHY", right=("SIZE",))
    for decision in result.snapshots:
        verdict = Text("keep", style="green") if decision.keep else Text("remove", style="red")
        table.add_row(decision.timestamp, verdict, text.size(decision.size), decision.reason)
    left = [Text(f"leftover of an interrupted backup: {name}", style="yellow") for name in result.leftovers]
    return Group(table, *left)


def view(result: PruneResult, *, verbose: bool) -> RenderableType:
    """The plan, and what came of it."""
    going = sum(not decision.keep for decision in result.snapshots)
    verb = "Would remove" if result.dry_run else "Removed"
    freed = f", {text.size(result.freed)}" if result.freed else ""
    return Group(plan(result), Text(f"{verb} {text.plural(going, 'snapshot')} from {result.storage}{freed}."))
