"""Which earlier snapshot a backup may take unchanged metric histories from."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from mlmeta.errors import StorageMissingError
from mlmeta.progress import Progress
from mlmeta.schema import SCHEMA_VERSION, Selection, Summary
from mlmeta.snapshot.catalog import SnapshotState, describe, file_sets
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.summaries import read_summary
from mlmeta.storage import Storage
from mlmeta.stores.base import Base
from mlmeta.stores.source import Source, SourceItem

SOUND = frozenset({SnapshotState.COMPLETE, SnapshotState.PARTIAL, SnapshotState.LEGACY})
FULL_EVERY = timedelta(days=7)
"""So often all histories are read, whatever is known of them."""


def serves(before: Summary, now: datetime, full_every: timedelta) -> bool:
    """Whether a backup may take unchanged histories from a snapshot.

    Args:
        before: its summary.
        now: when the backup begins.
        full_every: how old the last full read may be.
    """
    oldest = (now - full_every).timestamp() * 1000
    return before.schema_version == SCHEMA_VERSION and oldest < fully_read(before) <= now.timestamp() * 1000


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


def why_not(snapshot: Snapshot, source: str, experiments: frozenset[str]) -> str:
    """Why a read of a source can't take histories from a snapshot; empty: it can.

    Args:
        snapshot: any.
        source: which one: see `stores.identity_of`.
        experiments: names of those that are read; empty: all.
    """
    summary = snapshot.summary
    if summary.schema_version != SCHEMA_VERSION:
        return f"{summary.backup_timestamp} has another schema version"
    if source not in {summary.identity, summary.source_id}:
        may = "may be" if summary.is_vague else "is"
        return f"{summary.backup_timestamp} {may} from another store, {summary.mlflow_uri}"
    if frozenset(summary.experiments) != experiments:
        return f"{summary.backup_timestamp} covers other experiments"
    return ""


def fully_read(summary: Summary) -> int:
    """When all histories of a snapshot were last read, milliseconds since the epoch."""
    return summary.fully_read or (0 if summary.incremental_base else summary.started)


def newest(
    storage: Storage, source: str, experiments: tuple[str, ...], states: Collection[SnapshotState] = SOUND
) -> Summary | None:
    """The summary of a source's newest snapshot that is neither shrunken nor from the future; None: there is none.

    Args:
        storage: where to look.
        source: which one (`Summary.identity`).
        experiments: what it was limited to.
        states: which ones count, where others than those are meant.
    """
    try:
        sets = file_sets(storage)
    except StorageMissingError:
        return None
    now = time.time()
    for files in sets:
        info = describe(storage, files, now)
        if (info.identity, info.experiments) == (source, experiments) and info.state in states:
            return read_summary(storage, files)
    return None
