"""`mlmeta prune`: old snapshots go, by rule."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import UsageError
from mlmeta.operations.result import Result
from mlmeta.snapshot.catalog import SnapshotInfo, State, described, file_sets
from mlmeta.snapshot.layout import FileSet, moment_of
from mlmeta.snapshot.removal import leftovers, remove
from mlmeta.snapshot.retention import Rules, kept
from mlmeta.storage import Storage, StoredFile, open_storage

LEFTOVER_AGE = 24 * 3600
"""Seconds before what an interrupted backup left may go: a running one must be safe."""


class Decision(BaseModel):
    """What happens to a snapshot, and why."""

    model_config = ConfigDict(frozen=True)

    timestamp: str
    source: str
    size: int
    keep: bool
    reason: str


class PruneResult(Result):
    """What went, and what stayed.

    Args:
        storage: where.
        snapshots: a decision for each, newest first.
        leftovers: names of files that interrupted backups left and that went too.
        freed: bytes.
        dry_run: whether nothing was removed.
    """

    storage: str
    snapshots: tuple[Decision, ...]
    leftovers: tuple[str, ...] = ()
    freed: int = 0
    dry_run: bool = False

    @property
    def removes(self) -> bool:
        """Whether anything goes."""
        return bool(self.leftovers) or any(not decision.keep for decision in self.snapshots)


Confirm = Callable[[PruneResult], None]
"""Shown the plan before anything is removed; raises to stop."""


def prune(
    storage: str,
    rules: Rules,
    *,
    dry_run: bool = False,
    confirm: Confirm | None = None,
) -> PruneResult:
    """Remove the snapshots that no rule keeps, and day-old leftovers of interrupted backups.

    Rules count for each source by itself, and for limited backups (`--experiment`) apart from whole ones. The newest
    complete snapshot of each always stays. Damaged snapshots, and those of a newer mlmeta, are left alone.

    Args:
        storage: a folder or ``gs://bucket/prefix``.
        rules: what to keep; at least one rule.
        dry_run: only say what would go.
        confirm: shown the plan before anything is removed; raises to stop.

    Raises:
        UsageError: no rule is given.
        StorageError: the storage can't be read, or a file can't be removed.
    """
    if not rules:
        raise UsageError(
            "no rule says what to keep", hint="for example --keep-last 10 --keep-daily 7 --keep-monthly 12"
        )
    place = open_storage(storage)
    now = time.time()
    sets = file_sets(place)
    infos = described(place, sets, now)
    stale = list(leftovers(place, sets, now - LEFTOVER_AGE))
    plan = _plan(place, infos, stale, rules, dry_run=dry_run)
    if plan.removes and not dry_run:
        if confirm is not None:
            confirm(plan)
        _remove(place, sets, plan, stale)
    return plan


def _plan(
    place: Storage, infos: Sequence[SnapshotInfo], stale: Sequence[FileSet | StoredFile], rules: Rules, *, dry_run: bool
) -> PruneResult:
    reasons = _reasons(infos, rules)
    gone = {item.timestamp for item in stale if isinstance(item, FileSet)}
    decisions = tuple(_decision(info, reasons.get(info.timestamp)) for info in infos if info.timestamp not in gone)
    freed = sum(d.size for d in decisions if not d.keep) + sum(item.size for item in stale)
    names = [file.name for item in stale for file in (item.all if isinstance(item, FileSet) else (item,))]
    return PruneResult(
        storage=place.location, snapshots=decisions, leftovers=tuple(sorted(names)), freed=freed, dry_run=dry_run
    )


def _reasons(infos: Sequence[SnapshotInfo], rules: Rules) -> dict[str, list[str]]:
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for info in infos:
        if info.state.restorable and info.state is not State.FUTURE and moment_of(info.timestamp) is not None:
            groups[info.identity, info.experiments].append(info.timestamp)
    return {timestamp: why for group in groups.values() for timestamp, why in kept(group, rules).items()}


def _decision(info: SnapshotInfo, why: list[str] | None) -> Decision:
    """`why` is None for what the rules don't speak of."""
    reason = f"{info.state.value}: left alone" if why is None else ", ".join(why) or "no rule keeps it"
    return Decision(
        timestamp=info.timestamp, source=info.source, size=info.size, keep=why is None or bool(why), reason=reason
    )


def _remove(place: Storage, sets: Sequence[FileSet], plan: PruneResult, stale: Sequence[FileSet | StoredFile]) -> None:
    going = {decision.timestamp for decision in plan.snapshots if not decision.keep}
    for files in sets:
        if files.timestamp in going:
            remove(place, files)
    for item in stale:
        if isinstance(item, FileSet):
            remove(place, item)
        else:
            place.remove(item.name)
