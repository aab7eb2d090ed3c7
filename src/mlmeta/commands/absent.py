"""Parts that a person asks for by name, and that a snapshot does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from mlmeta.errors import MlmetaError, UnknownRecordError, UsageError
from mlmeta.schema import GROUPS, KINDS, MODELS, RUNS, Kind, Selection, Summary
from mlmeta.snapshot.catalog import describe, file_sets
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.storage import Storage

_LOOKED_AT = 10
"""Other snapshots that are looked through for what is named."""


def meant(selection: Selection | None) -> Selection:
    """The selection, or all where there is none.

    Raises:
        UsageError: it is something else, such as the name of an experiment.
    """
    if selection is not None and not isinstance(selection, Selection):
        raise UsageError(f"{selection!r} is not a Selection", hint='write mlmeta.Selection("an experiment")')
    return selection or Selection()


def require_something(selection: Selection) -> None:
    """See that a selection means anything at all, and leaves out what there is.

    Raises:
        UsageError: what it wants, it leaves out; there is no such part; or single runs or models are named beside what
            is meant as a whole.
    """
    _require_one_way(selection)
    parts = dict.fromkeys((*GROUPS, *KINDS))
    if unknown := sorted(set(selection.without).difference(parts)):
        raise UsageError(f"there is no part {unknown[0]!r} to leave out", hint=f"there are {', '.join(parts)}")
    if selection.only and set(selection.only) <= set(selection.without):
        groups = ", ".join(sorted(set(selection.only)))
        raise UsageError(f"--only {groups} and --without {groups} leave nothing", hint="leave one of them out")


def _require_one_way(selection: Selection) -> None:
    if selection.names_records and (selection.experiments or selection.tables):
        other = "--experiment" if selection.experiments else "--table"
        raise UsageError(
            f"--run and --model name single things, and {other} means a whole",
            hint="leave one of them out, also in the environment and the configuration file",
        )
    if selection.children and not selection.runs:
        raise UsageError("--children is about the runs nested in those of --run", hint="name a run with --run ID")
    for option, named, kind in (("--run", selection.runs, RUNS), ("--model", selection.models, MODELS)):
        if named and not selection.means(kind):
            raise UsageError(f"--only and --without leave out what {option} names", hint="leave out one of them")


def newest_with(snapshot: Snapshot, selection: Selection, wanted: str, *, active: bool = False) -> str:
    """The newest other snapshot of the same source, of the last few, that has what is named; empty: there is none.

    Args:
        snapshot: that does not have it.
        selection: which names it.
        wanted: the text that names an experiment, a run or a model.
        active: whether it must not be deleted there.
    """
    by: dict[str, Any] = {
        name: (wanted,) if wanted in getattr(selection, name) else () for name in ("experiments", "runs", "models")
    }
    alone = replace(selection, **by, children=False)
    infos = (describe(snapshot.storage, files, 0) for files in file_sets(snapshot.storage))
    same = (info for info in infos if info.state.restorable and info.identity == snapshot.summary.identity)
    others = (info.timestamp for info in same if info.timestamp != snapshot.timestamp)
    return next((other for other in islice(others, _LOOKED_AT) if _has(other, snapshot.storage, alone, active)), "")


def _has(timestamp: str, storage: Storage, selection: Selection, active: bool) -> bool:
    try:
        picked = Selected(open_snapshot(storage, timestamp), selection).picked
    except UnknownRecordError:
        return False
    except UsageError:  # it has several
        return True
    except MlmetaError:  # nobody asked for this one, and it can't be read
        return False
    return not (active and picked is not None and picked.chosen[0].lifecycle_stage == "deleted")


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
