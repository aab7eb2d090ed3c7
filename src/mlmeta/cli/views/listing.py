"""What `mlmeta list` shows."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli.views import text
from mlmeta.operations.listing import ListResult
from mlmeta.snapshot.catalog import SnapshotInfo, State

_STYLES = {
    State.COMPLETE: "green",
    State.LEGACY: "cyan",
    State.PARTIAL: "yellow",
    State.INCOMPLETE: "yellow",
    State.DAMAGED: "bold red",
    State.UNSUPPORTED: "red",
}


def view(result: ListResult, *, verbose: bool) -> RenderableType:
    """A table, newest first; below it, why a snapshot is not complete."""
    if not result.snapshots:
        return Text(f"No snapshots in {result.storage}: make one with `mlmeta backup`.")
    table = text.table(
        *("TIMESTAMP", "AGE", "SOURCE", "EXPERIMENTS", "RUNS", "MODELS", "SIZE", "STATE"),
        right=("AGE", "EXPERIMENTS", "RUNS", "MODELS", "SIZE"),
    )
    for info in result.snapshots:
        table.add_row(*_row(info))
    problems = [Text(f"{i.timestamp}: {i.problem}", style="dim") for i in result.snapshots if i.problem]
    return Group(table, *([Text(), *problems] if problems else ()))


def _row(info: SnapshotInfo) -> list[str | Text]:
    counts = [f"{info.stats[k]:,}" if k in info.stats else "-" for k in ("experiments", "runs", "models")]
    return [
        info.timestamp,
        text.age(info.age),
        Text(info.source or "-"),
        *counts,
        text.size(info.size),
        Text(info.state.value, style=_STYLES[info.state]),
    ]
