"""What `mlmeta copy` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.copy import CopyResult


def view(result: CopyResult, *, verbose: bool) -> RenderableType:
    """A line for each snapshot."""
    lines = [
        Text(f"{copied.timestamp}  {text.size(copied.size) if copied.size else 'was there already'}")
        for copied in result.snapshots
    ]
    count = sum(copied.size > 0 for copied in result.snapshots)
    return Group(*lines, Text(f"Copied {text.plural(count, 'snapshot')} from {result.source} to {result.target}."))
