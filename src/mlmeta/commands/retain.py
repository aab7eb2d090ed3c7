"""What the rules of a backup remove once it is made, or would remove: of its own source alone."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from mlmeta.commands.prune import prune
from mlmeta.errors import StorageError, StorageMissingError
from mlmeta.schema import Summary
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState
from mlmeta.snapshot.layout import timestamp_of
from mlmeta.snapshot.retention import Rules

Pruned = tuple[dict[str, tuple[str, ...]], dict[str, str]]
"""The timestamps that went, by storage; and why none could go, by storage."""


def retain(places: Sequence[str], measured: AbstractSet[str], keep: Rules, made: str | SnapshotInfo) -> Pruned:
    """Remove what the rules don't keep.

    Args:
        places: the storages.
        measured: those in which it is known what there was before.
        keep: the rules.
        made: timestamp of the snapshot that was made; or what is known of one that could be: then nothing is removed.
    """
    pruned, unpruned = {}, {}
    for place in places:
        if place not in measured:
            unpruned[place] = "whether the new snapshot is shrunken is unknown, as earlier ones could not be read"
            continue
        try:
            if isinstance(made, SnapshotInfo):
                found = prune(place, keep, coming=made, dry_run=True)
            else:
                found = prune(place, keep, spare=made, like=made)
            pruned[place] = tuple(d.timestamp for d in found.snapshots if not d.keep)
        except StorageMissingError:
            pruned[place] = ()  # of a dry run: the backup itself would have made it
        except StorageError as error:
            unpruned[place] = str(error)
    return pruned, unpruned


def could_be(summary: Summary, stats: dict[str, int], started: datetime) -> SnapshotInfo:
    """What would be known of a snapshot, had it been made."""
    return SnapshotInfo(
        timestamp=timestamp_of(started),
        state=SnapshotState.PARTIAL if summary.gaps else SnapshotState.COMPLETE,
        source=summary.mlflow_uri,
        identity=summary.identity,
        label=summary.label,
        tags=summary.tags,
        accepted=len(summary.skipped) - len(summary.gaps),
        stats=stats,
        size=0,
        age=0.0,
        experiments=summary.experiments,
        workspaces=summary.workspaces,
        without=summary.without,
        auth=summary.has_auth,
    )
