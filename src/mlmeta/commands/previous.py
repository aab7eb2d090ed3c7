"""What the storages have from previous backups of a source: what a new snapshot is measured by, and may build on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlmeta.errors import StorageError, StorageMissingError
from mlmeta.progress import Progress
from mlmeta.schema import EVALUATION_DATASETS, EXPERIMENTS, KINDS, SCHEMA_VERSION, Lineage, Selection, Summary
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState, describe, file_sets
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.summaries import read_summary
from mlmeta.storage import Storage
from mlmeta.stores.base import Base
from mlmeta.stores.source import Source, SourceItem

SOUND = frozenset({SnapshotState.COMPLETE, SnapshotState.PARTIAL, SnapshotState.LEGACY})
FULL_EVERY = timedelta(days=7)
"""How often all histories are read again, whatever the base has of them."""
SHRINK_LIMIT = 50
"""Percent of the previous experiments, runs or models: a snapshot with fewer is suspected to lack some."""


@dataclass(frozen=True)
class Previous:
    """What a storage has from previous backups of a source.

    Args:
        place: the storage.
        summary: of the newest sound snapshot; None: there is none.
        suspect: of a newer one that is shrunken; likewise.
    """

    place: Storage
    summary: Summary | None
    suspect: Summary | None = None


def previous_in(
    places: Sequence[Storage], identity: str, limit: Selection, lineage: Lineage | None = None
) -> list[Previous]:
    """In each storage; without those that can't be read: writing will fail there too, and be named.

    Args:
        places: where to look.
        identity: of the source.
        limit: what the backup is limited to.
        lineage: of the guard that saves: what others saved of stores of their own does not count; None: no guard does.
    """

    def is_meant(info: SnapshotInfo) -> bool:
        return lineage is None or lineage.follows(info.epoch, info.timestamp)

    found = []
    for place in places:
        try:
            last = newest(place, identity, limit, SOUND | {SnapshotState.SHRUNKEN}, is_meant)
            suspect = last if last is not None and last.shrunken else None
            found.append(Previous(place, newest(place, identity, limit, SOUND, is_meant) if suspect else last, suspect))
        except StorageError:
            continue
    return found


def newest(
    storage: Storage,
    source: str,
    limit: Selection,
    states: Collection[SnapshotState] = SOUND,
    is_meant: Callable[[SnapshotInfo], bool] = lambda _: True,
) -> Summary | None:
    """The summary of a source's newest snapshot that is neither shrunken nor from the future; None: there is none.

    Args:
        storage: where to look.
        source: which one (`Summary.identity`).
        limit: what it was limited to.
        states: which ones count, where others than those are meant.
        is_meant: whether a snapshot counts.
    """
    try:
        sets = file_sets(storage)
    except StorageMissingError:
        return None
    now = time.time()
    for files in sets:
        info = describe(storage, files, now)
        if info.series == (source, limit) and info.state in states and is_meant(info):
            return read_summary(storage, files)
    return None


_LASTING = {kind.name for kind in KINDS.values() if kind.always} | {EVALUATION_DATASETS.name}
"""Kinds that nobody deletes most of, as is usual with traces."""


def shrunken(stats: Mapping[str, int], previous: Sequence[Previous], limit: int) -> str:
    """What a new snapshot lacks of the newest sound one, in words; empty: it lacks little.

    Args:
        stats: its counts.
        previous: what the storages have.
        limit: percent; 0: nothing is too little.
    """
    summaries = [one.summary for one in previous if one.summary is not None]
    if not summaries:
        return ""
    last = max(summaries, key=lambda summary: summary.backup_timestamp)
    for kind in KINDS.values():
        now, had = stats.get(kind.name, 0), last.stats.get(kind.name, 0)
        if kind.name in _LASTING and now * 100 < had * limit:
            return f"{now:,} {kind.one if now == 1 else kind.many} where {last.backup_timestamp} has {had:,}"
    return ""


def is_empty(stats: Mapping[str, int]) -> bool:
    """Whether a snapshot with these counts has nothing that people made: a new server has one experiment."""
    return bool(stats) and not any(stats.get(name) for name in KINDS if name != EXPERIMENTS.name)


def serves(base: Summary, now: datetime, full_every: timedelta) -> bool:
    """Whether a backup may take unchanged histories from a snapshot.

    Args:
        base: its summary.
        now: when the backup begins.
        full_every: how old the last full read may be.
    """
    oldest = (now - full_every).timestamp() * 1000
    return base.schema_version == SCHEMA_VERSION and oldest < fully_read(base) <= now.timestamp() * 1000


def why_not(snapshot: Snapshot, source: str, limit: Selection) -> str:
    """Why a read of a source can't take histories from a snapshot; empty: it can.

    Args:
        snapshot: any.
        source: which one: see `stores.identity_of`.
        limit: the experiments and workspaces that are read.
    """
    summary = snapshot.summary
    if summary.schema_version != SCHEMA_VERSION:
        return f"{summary.backup_timestamp} has another schema version"
    if source not in {summary.identity, summary.source_id}:
        may = "may be" if summary.is_vague else "is"
        return f"{summary.backup_timestamp} {may} from another store, {summary.mlflow_uri}"
    if set(summary.experiments) != set(limit.experiments):
        return f"{summary.backup_timestamp} covers other experiments"
    if set(summary.workspaces) != set(limit.workspaces):
        return f"{summary.backup_timestamp} covers other workspaces"
    return ""


def fully_read(summary: Summary) -> int:
    """When all histories of a snapshot were last read, milliseconds since the epoch."""
    return summary.fully_read or (0 if summary.incremental_base else summary.started)


def read_along(source: Source, selection: Selection, base: Snapshot | None, progress: Progress) -> Iterator[SourceItem]:
    """All that a source has now.

    Args:
        source: the store.
        selection: what to read.
        base: an earlier snapshot of the same to take histories from that can't have changed; None: all are read.
        progress: told how far it is.

    Raises:
        BaseSnapshotError: at the end at the latest: `base` is not what its summary says.
    """
    known = Base(base) if base is not None else None
    yield from source.read(selection, progress, known)
    if known is not None:
        known.finish()
