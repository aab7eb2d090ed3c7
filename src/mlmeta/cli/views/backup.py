"""What `mlmeta backup` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.backup import BackupResult


def view(result: BackupResult, *, verbose: bool) -> RenderableType:
    """The closing summary: counts, size, seconds, where it is, and the command that restores it."""
    verb = "Would save" if result.dry_run else "Saved"
    lines = [Text(f"{verb} {text.counts(result.stats)} from {result.source} in {result.seconds:.1f} s")]
    if result.unchanged_since:
        return Text(f"Nothing has changed since snapshot {result.unchanged_since}: no new one was written.")
    if not result.dry_run:
        place = ", ".join(result.storages)
        lines.append(
            Text.assemble("Snapshot ", (result.timestamp, "bold green"), f", {text.size(result.size)}, in {place}")
        )
        lines.append(Text(f"Bring it back with: {_restore(result)}"))
    if result.incremental_base:
        lines.append(Text(f"Metric histories that can't have changed came from snapshot {result.incremental_base}"))
    if result.drill is not None and result.drill.is_equal:
        lines.append(Text("A trial restore into a throwaway store brought everything back."))
    for storage, gone in result.pruned.items():
        if gone:
            lines.append(Text(f"Removed {text.plural(len(gone), 'older snapshot')} from {storage}"))
    if verbose:
        lines += [Text(f"  {f.name}: {f.records:,} records, {text.size(f.bytes)}") for f in result.files.values()]
    return Group(*lines)


def _restore(result: BackupResult) -> str:
    words = ["mlmeta", "restore", "--timestamp", result.timestamp]
    if result.storages[0] != "backups/":
        words += ["--storage", result.storages[0]]
    return f"{text.command(*words)} --tracking-uri URI"
