"""What `mlmeta verify` says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.verify import Verified, VerifyResult
from mlmeta.stores.verification import Comparison


def view(result: VerifyResult, *, verbose: bool) -> RenderableType:
    """A line for each snapshot."""
    return Group(*(_line(found, quick=result.quick) for found in result.snapshots))


def _line(found: Verified, *, quick: bool) -> Text:
    if found.drill is not None:
        return _drill(found, found.drill)
    if found.problems:
        verdict = Text(f"{text.plural(len(found.problems), 'problem')}", style="bold red")
    elif found.legacy:
        verdict = Text("readable; an older script wrote it, without checksums", style="cyan")
    elif quick:
        verdict = Text("all files are there, with the right sizes (--quick)", style="green")
    else:
        verdict = Text(f"ok: {text.plural(found.records, 'record')}, checksums, schema and references", style="green")
    return Text.assemble((found.timestamp, "bold"), "  ", verdict)


def _drill(found: Verified, drill: Comparison) -> Text:
    if not drill.is_equal:
        verdict = Text(f"{text.plural(drill.total, 'difference')} after a trial restore", style="bold red")
    else:
        matching = ", ".join(text.plural(count, kind) for kind, count in drill.matching.items())
        verdict = Text(f"ok, and restores: {matching} came back equal", style="green")
    return Text.assemble((found.timestamp, "bold"), "  ", verdict)
