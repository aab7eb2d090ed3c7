"""What the storages have of a source already: what a new snapshot is measured by, and may build on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlmeta.commands.incremental import SOUND, newest
from mlmeta.errors import StorageError
from mlmeta.schema import Summary
from mlmeta.snapshot.catalog import SnapshotState
from mlmeta.storage import Storage

SHRINK_LIMIT = 50
"""Percent of the experiments, runs or models before: a snapshot with fewer is suspected to lack some."""
_MEASURED = {"experiments": "experiments", "runs": "runs", "models": "registered models"}
_CONTENT = ("runs", "models", "logged_models")


@dataclass(frozen=True)
class Before:
    """What a storage has of a source.

    Args:
        place: the storage.
        summary: of the newest sound snapshot; None: there is none.
        suspect: of a newer one that is shrunken; likewise.
    """

    place: Storage
    summary: Summary | None
    suspect: Summary | None = None


def look(places: Sequence[Storage], identity: str, experiments: tuple[str, ...]) -> list[Before]:
    """In each storage; without those that can't be read: writing will fail there too, and be named.

    Args:
        places: where to look.
        identity: of the source.
        experiments: what the backup is limited to.
    """
    found = []
    for place in places:
        try:
            last = newest(place, identity, experiments, SOUND | {SnapshotState.SHRUNKEN})
            suspect = last if last is not None and last.shrunken else None
            found.append(Before(place, newest(place, identity, experiments) if suspect else last, suspect))
        except StorageError:
            continue
    return found


def shrunken(stats: Mapping[str, int], before: Sequence[Before], limit: int) -> str:
    """What a new snapshot lacks of the newest sound one, in words; empty: it lacks little.

    Args:
        stats: its counts.
        before: what the storages have.
        limit: percent; 0: nothing is too little.
    """
    summaries = [one.summary for one in before if one.summary is not None]
    if not summaries:
        return ""
    last = max(summaries, key=lambda summary: summary.backup_timestamp)
    for key, words in _MEASURED.items():
        now, had = stats.get(key, 0), last.stats.get(key, 0)
        if now * 100 < had * limit:
            return f"{now:,} {words if now != 1 else words.removesuffix('s')} where {last.backup_timestamp} has {had:,}"
    return ""


def is_empty(stats: Mapping[str, int]) -> bool:
    """Whether a snapshot with these counts has nothing that somebody made: a new server has one experiment."""
    return bool(stats) and not any(stats.get(key) for key in _CONTENT)
