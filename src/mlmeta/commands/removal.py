"""Removes snapshots; not the last good one of a source, if somebody else removes the others at the same moment.

There is no lock in a bucket. So the summaries go first, without which they are no snapshots, and then it is looked
whether others are left. Whoever looks second sees what the first one has taken away, and puts its own summary back. A
summary is removed by one of them only, and only that one decides about its snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mlmeta.commands.previous import SOUND, is_empty
from mlmeta.errors import ObjectMissingError, SnapshotError, StorageDeniedError, StorageError
from mlmeta.schema import Summary
from mlmeta.snapshot.catalog import SnapshotInfo, about, describe, file_sets, info_of
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.summaries import parse_summary, summary_text
from mlmeta.storage import Storage, base

STAYS = "it is the last good one of its source there, as others were removed at the same moment"


@dataclass
class Removed:
    """What came of it.

    Args:
        stayed: timestamps of snapshots that are the last good ones now, and stay.
        failed: why others could not be removed, by timestamp.
    """

    stayed: set[str] = field(default_factory=set)
    failed: dict[str, StorageError] = field(default_factory=dict)


@dataclass(frozen=True)
class _Held:
    """A snapshot whose summary is gone.

    Args:
        files: its files, as they were.
        content: of the summary.
        summary: the same; None: it could not be read.
        info: what was known of the snapshot; likewise.
    """

    files: FileSet
    content: bytes = b""
    summary: Summary | None = None
    info: SnapshotInfo | None = None

    @property
    def is_good(self) -> bool:
        """Whether it may be missed."""
        return self.info is not None and _is_good(self.info)


def remove_all(place: Storage, going: Sequence[FileSet], *, even_last: bool = False) -> Removed:
    """Remove snapshots, the summaries first, so that what an interruption leaves is not a snapshot.

    Args:
        place: where they are.
        going: their files.
        even_last: whether nothing is put back, whatever is left.

    Raises:
        StorageError: whether any other is left can't be seen; then those are there again that were good.
    """
    done = Removed()
    held = list(_hidden(place, going, done))
    good = sorted((one for one in held if one.is_good), key=lambda one: one.files.timestamp, reverse=True)
    if good and not even_last:
        done.stayed.update(_put_back(place, good))
    for one in held:
        if one.files.timestamp not in done.stayed:
            try:
                for file in one.files.all[1:]:
                    place.remove(file.name)
            except StorageError as error:
                done.failed[one.files.timestamp] = error
    return done


def _hidden(place: Storage, going: Sequence[FileSet], done: Removed) -> Iterator[_Held]:
    denied: StorageDeniedError | None = None
    for files in going:
        if denied is not None:  # nor will it let the others be removed
            done.failed[files.timestamp] = denied
            continue
        try:
            one = _read(place, files)
            if place.remove(files.all[0].name):
                yield one  # else it is somebody else's to go on, or to put it back
        except ObjectMissingError:
            continue
        except StorageError as error:
            denied = error if isinstance(error, StorageDeniedError) else None
            done.failed[files.timestamp] = error


def _read(place: Storage, files: FileSet) -> _Held:
    try:
        content = summary_text(place, files)
        summary = parse_summary(content, files)
    except SnapshotError:
        return _Held(files)
    return _Held(files, content, summary, info_of(files, summary, time.time()))


def _put_back(place: Storage, good: Sequence[_Held]) -> Iterator[str]:
    """Put summaries back that nothing stands in for; their timestamps.

    Args:
        place: where.
        good: whose summaries are gone, newest first.
    """
    try:
        sets = file_sets(place)
    except StorageError:
        for one in good:
            _restore(place, one)
        raise
    there = {file.name for files in sets for file in files.all}
    left = _Left(place, [files for files in sets if files.summary is not None])
    back: list[SnapshotInfo] = []
    for one in good:
        is_whole = {file.name for file in one.files.all[1:]} <= there
        if is_whole and not left.stands_in(one) and not any(_stands_in(other, one) for other in back):
            _restore(place, one)
            back += [one.info] if one.info is not None else []
            yield one.files.timestamp


class _Left:
    """The snapshots that are left, of which as few are read as that needs."""

    def __init__(self, place: Storage, sets: Sequence[FileSet]) -> None:
        self._unread = (describe(place, files, time.time()) for files in sets)
        self._good: list[SnapshotInfo] = []

    def stands_in(self, one: _Held) -> bool:
        """Whether one of them is as good."""
        if any(_stands_in(info, one) for info in self._good):
            return True
        for info in filter(_is_good, self._unread):
            self._good.append(info)
            if _stands_in(info, one):
                return True
        return False


def _stands_in(info: SnapshotInfo, one: _Held) -> bool:
    return one.info is not None and info.series == one.info.series and info.gap_level <= one.info.gap_level


def _is_good(info: SnapshotInfo) -> bool:
    return info.state in SOUND and not is_empty(info.stats)


def _restore(place: Storage, one: _Held) -> None:
    base.create(place, one.files.all[0].name, one.content, about(one.summary) if one.summary is not None else None)
