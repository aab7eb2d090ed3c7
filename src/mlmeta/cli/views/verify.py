"""What `mlmeta verify` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli.views import text
from mlmeta.operations.verify import Verified, VerifyResult


def view(result: VerifyResult, *, verbose: bool) -> RenderableType:
    """A line for each snapshot."""
    return Group(*(_line(found, quick=result.quick) for found in result.snapshots))


def _line(found: Verified, *, quick: bool) -> Text:
    if found.problems:
        verdict = Text(f"{text.plural(len(found.problems), 'problem')}", style="bold red")
    elif found.legacy:
        verdict = Text("readable; an older script wrote it, without checksums", style="cyan")
    elif quick:
        verdict = Text("all files are there, in their sizes (--quick)", style="green")
    else:
        verdict = Text(f"ok: {text.plural(found.records, 'record')}, checksums, schema and references", style="green")
    return Text.assemble((found.timestamp, "bold"), "  ", verdict)
