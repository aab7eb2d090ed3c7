"""What `mlmeta restore` says."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from mlmeta.cli import text
from mlmeta.commands.restore import RestoreResult
from mlmeta.stores.target import Plan
from mlmeta.stores.verification import Comparison

_NAMED = 20


def plan(result: Plan, *, named: bool = True) -> RenderableType:
    """What a restore would do.

    Args:
        result: says it.
        named: whether conflicts are named; if not, something else does it.
    """
    ids = "ids and times are kept" if result.keeps_ids else "new ids; the original ones go into tags"
    lines = [Text(f"Restore into {result.target} ({ids}):"), Text(f"  to create: {_kinds(result.create)}")]
    if any(result.present.values()):
        lines.append(Text(f"  there already: {_kinds(result.present)}"))
    if any(result.changed.values()):
        lines.append(Text(f"  there with other content, and left as it is: {_kinds(result.changed)}"))
    if any(result.undelete.values()):
        lines.append(Text(f"  to make active again: {_kinds(result.undelete)}"))
    if named:
        told = [f"conflict: {c.kind} {c.id}: {c.reason}" for c in result.conflicts]
        told += [f"{r.code.replace('_', ' ')}: {r.kind} {r.id}: {r.reason}" for r in result.refused]
        lines += [Text(f"  {line}", style="yellow") for line in _first(told)]
    return Group(*lines)


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], f"… and {more:,} more"] if more > 0 else lines


def view(result: RestoreResult, *, verbose: bool) -> RenderableType:
    """What was done, and the proof."""
    if result.untouched:
        return Text(f"Nothing to do for {result.target}: {result.untouched}.")
    if result.dry_run and result.plan is not None:
        return Group(plan(result.plan, named=False), Text("Nothing was written (--dry-run)."))
    lines: list[RenderableType] = [
        Text.assemble(
            "Restored ", (result.timestamp, "bold green"), f" into {result.target} in {result.seconds:.1f} s"
        ),
        Text(f"  created: {_kinds(result.created)}"),
    ]
    if any(result.present.values()):
        lines.append(Text(f"  there already: {_kinds(result.present)}"))
    if any(result.undeleted.values()):
        lines.append(Text(f"  active again: {_kinds(result.undeleted)}"))
    if result.comparison is not None:
        lines.append(_proof(result.comparison, keeps_ids=result.keeps_ids, verbose=verbose))
    return Group(*lines)


def _proof(comparison: Comparison, *, keeps_ids: bool, verbose: bool) -> RenderableType:
    table = text.table("READ BACK", "IN SNAPSHOT", "MATCHING", right=("IN SNAPSHOT", "MATCHING"))
    for kind, count in comparison.compared.items():
        matching = comparison.matching.get(kind, 0)
        style = "green" if matching == count else "yellow" if comparison.is_equal else "bold red"
        table.add_row(f"{kind}s", f"{count:,}", Text(f"{matching:,}", style=style))
    lines: list[RenderableType] = [Text(), table]
    if comparison.total_changed:
        lines.append(
            Text(f"There before with other content, or added to since, and left as it is: {comparison.total_changed:,}")
        )
        told = [str(difference) for difference in comparison.changed]
        lines += [Text(f"  {line}") for line in (told if verbose else _first(told))]
    if comparison.unkept and keeps_ids:
        fields = ", ".join(comparison.unkept)
        lines.append(Text(f"Not compared, because MLflow's database has no place for it: {fields}", style="dim"))
    elif comparison.unkept:
        fields = ", ".join(comparison.unkept) if verbose else "creation times, artifact URIs and others; see --verbose"
        lines.append(Text(f"Not compared, because MLflow's API can't set them: {fields}", style="dim"))
    return Group(*lines)


def _kinds(counts: Mapping[str, int]) -> str:
    named = [text.plural(count, _one(kind)) for kind, count in counts.items() if count]
    return ", ".join(named) or "nothing"


def _one(kind: str) -> str:
    return kind.removesuffix("es") if kind.endswith("ses") else kind.removesuffix("s")
