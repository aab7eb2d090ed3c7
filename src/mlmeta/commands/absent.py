"""Parts that a person asks for by name, and that a snapshot does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlmeta.errors import UsageError
from mlmeta.schema import GROUPS, KINDS, Kind, Selection, Summary
from mlmeta.snapshot.reader import Snapshot


def require_something(selection: Selection) -> None:
    """See that a selection means anything at all, and leaves out what there is.

    Raises:
        UsageError: what it wants, it leaves out; or there is no such part.
    """
    parts = dict.fromkeys((*GROUPS, *KINDS))
    if unknown := sorted(set(selection.without).difference(parts)):
        raise UsageError(f"there is no part {unknown[0]!r} to leave out", hint=f"there are {', '.join(parts)}")
    if selection.only and set(selection.only) <= set(selection.without):
        groups = ", ".join(sorted(set(selection.only)))
        raise UsageError(f"--only {groups} and --without {groups} leave nothing", hint="leave one of them out")


def why_absent(summary: Summary, kind: Kind[Any]) -> str:
    """Why a snapshot has no records of a kind; empty: it has some, or the store had none."""
    if summary.stats.get(kind.unit):
        return ""
    if not summary.selection.means(kind):
        return "its backup left them out"
    if kind in summary.unsupported:
        return "the version of mlmeta that made it did not save them yet"
    return ""


def lacks(snapshot: Snapshot, kind: Kind[Any]) -> tuple[str, ...]:
    """A sentence for whoever looks for records of a kind where a snapshot has none though the store may have some."""
    why = why_absent(snapshot.summary, kind)
    return (f"snapshot {snapshot.timestamp} has no {kind.many}: {why}",) if why else ()


def absent(snapshot: Snapshot, selection: Selection) -> Iterator[str]:
    """Name the groups that are wanted by name, and of which the store had nothing when a snapshot was made.

    Raises:
        UsageError: a snapshot lacks such a group though the store may have had some of it.
    """
    summary = snapshot.summary
    for group in selection.only:
        kinds = [kind for kind in KINDS.values() if kind.groups == (group,)]
        if any(summary.stats.get(kind.unit) for kind in kinds):
            continue
        if why := next(filter(None, (why_absent(summary, kind) for kind in kinds)), ""):
            raise UsageError(
                f"snapshot {snapshot.timestamp} has no {group}: {why}; nothing was written",
                hint="`mlmeta list` shows other snapshots",
            )
        yield f"snapshot {snapshot.timestamp} has no {group}"
