"""What `mlmeta demo` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.cli.views import backup, listing, restore
from mlmeta.commands.demo import DemoResult


def view(result: DemoResult, *, verbose: bool) -> RenderableType:
    """The commands a person would have typed, and what they say."""
    command = result.restore
    return Group(
        _prompt("mlmeta", "backup"),
        backup.view(result.backup, verbose=verbose),
        _prompt("rm", "mlflow.db"),
        _prompt("mlmeta", "list"),
        listing.view(result.snapshots, verbose=verbose),
        _prompt("mlmeta", "restore", "--timestamp", "latest", "--tracking-uri", command.target),
        restore.view(command, verbose=verbose),
        Text(f"\nThe whole loop took {result.seconds:.0f} s.", style="dim"),
    )


def _prompt(*words: str) -> Text:
    return Text(f"\n$ {text.command(*words)}", style="bold cyan")
