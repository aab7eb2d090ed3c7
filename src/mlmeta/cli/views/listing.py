"""What `mlmeta list` shows."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.list import ListResult
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState

_STYLES = {
    SnapshotState.COMPLETE: "green",
    SnapshotState.LEGACY: "cyan",
    SnapshotState.PARTIAL: "yellow",
    SnapshotState.SHRUNKEN: "bold yellow",
    SnapshotState.FUTURE: "magenta",
    SnapshotState.INCOMPLETE: "yellow",
    SnapshotState.DAMAGED: "bold red",
    SnapshotState.UNREADABLE: "bold red",
    SnapshotState.UNSUPPORTED: "red",
}

_COLUMNS = ("TIMESTAMP", "AGE", "SOURCE", "EXPERIMENTS", "RUNS", "MODELS", "SIZE", "STATE")
_RIGHT = ("AGE", "EXPERIMENTS", "RUNS", "MODELS", "SIZE")
_MANY = 100
"""From so many snapshots on, the list has fewer colours, and is there at once."""


def view(result: ListResult, *, verbose: bool) -> RenderableType:
    """A table, newest first; below it, why a snapshot is not complete."""
    if not result.snapshots:
        return Text(f"No snapshots in {result.storage}: create one with `mlmeta backup`.")
    named = {(info.source, info.identity) for info in result.snapshots}
    texts = Counter(source for source, _ in named)
    rows = [_row(info, _source(info, is_unique=texts[info.source] == 1)) for info in result.snapshots]
    table = _table(rows) if len(rows) <= _MANY else text.long_table(_COLUMNS, map(_plain, rows), _RIGHT)
    problems = [Text(f"{i.timestamp}: {i.problem}", style="dim") for i in result.snapshots if i.problem]
    return Group(table, *([Text(), *problems] if problems else ()))


def _table(rows: list[list[str | Text]]) -> RenderableType:
    table = text.table(*_COLUMNS, right=_RIGHT)
    table.columns[0].no_wrap = True  # a timestamp in two pieces can't be copied
    for row in rows:
        table.add_row(*row)
    return table


def _plain(row: list[str | Text]) -> list[str]:
    return [str(cell) for cell in row]


def _source(info: SnapshotInfo, *, is_unique: bool) -> str:
    """As it was named; with its label, and in full where the same text names several."""
    if info.label:
        return f"{info.label} ({info.source})"
    return info.source if is_unique else info.identity


def _row(info: SnapshotInfo, source: str = "") -> list[str | Text]:
    counts = [f"{info.stats[k]:,}" if k in info.stats else "-" for k in ("experiments", "runs", "models")]
    return [
        info.timestamp,
        text.age(info.age),
        Text(source or info.source or "-"),
        *counts,
        text.size(info.size),
        Text(info.state.value, style=_STYLES[info.state]),
    ]
