"""What `mlmeta diff` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.diff import DiffResult
from mlmeta.snapshot.diff import Change

_SHOWN = 50
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def view(result: DiffResult, *, verbose: bool) -> RenderableType:
    """How many of each kind changed, and the first changes."""
    limited = f" (experiments {', '.join(result.experiments)})" if result.experiments else ""
    title = Text.assemble((result.before, "bold"), " → ", (result.after, "bold"), limited)
    if result.comparison.is_equal:
        return Group(title, Text("Nothing changed.", style="green"))
    changes = result.comparison.changes if verbose else result.comparison.changes[:_SHOWN]
    lines: list[RenderableType] = [title, Text(), _counts(result), Text(), *map(_line, changes)]
    left = len(result.comparison.changes) - len(changes) + result.comparison.unnamed
    if left:
        lines.append(Text(f"… and {left:,} more" + ("" if verbose else ": --verbose shows up to a thousand")))
    return Group(*lines)


def _counts(result: DiffResult) -> RenderableType:
    columns = ("ADDED", "REMOVED", "CHANGED", "SAME")
    table = text.table("", *columns, right=columns)
    for kind, tally in result.comparison.records.items():
        counts = [(getattr(tally, what), style) for what, (_, style) in _SIGNS.items()]
        cells = [Text(f"{count:,}", style=style if count else "") for count, style in counts]
        table.add_row(f"{kind}s", *cells, f"{tally.same:,}")
    return table


def _line(change: Change) -> Text:
    sign, style = _SIGNS[change.what]
    name = f" ({change.name})" if change.name else ""
    shown = Text.assemble((f"{sign} ", style), f"{change.kind} {change.id}{name}")
    if change.field:
        shown.append(f": {change.field}: {change.before} → {change.after}")
    return shown
