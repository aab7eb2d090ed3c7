"""What `mlmeta browse` says at the end."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from mlmeta.commands.browse import BrowseResult


def view(result: BrowseResult, *, verbose: bool) -> RenderableType:
    """That nothing is left."""
    return Text(f"The throwaway store of snapshot {result.timestamp} is removed.")
