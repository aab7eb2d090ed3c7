"""Removes snapshots, and what interrupted backups left behind."""

from __future__ import annotations

from collections.abc import Iterator

from mlmeta.snapshot.layout import FileSet
from mlmeta.storage import Storage, StoredFile


def remove(storage: Storage, files: FileSet) -> None:
    """Remove a snapshot: its summary first, so that what an interruption leaves is no snapshot.

    Raises:
        StorageError: a file can't be removed.
    """
    for file in files.all:
        storage.remove(file.name)


def leftovers(storage: Storage, sets: list[FileSet], before: float) -> Iterator[FileSet | StoredFile]:
    """Data files without a summary, and staged files, that nobody has touched since `before`.

    A backup that is still running has younger files, and so has somebody who is just copying a snapshot here, whatever
    the date is that the copies have kept: they are not touched.

    Args:
        storage: where to look.
        sets: its files.
        before: seconds since the epoch.
    """
    for files in sets:
        if files.summary is None and not files.odd and all(file.modified < before for file in files.all):
            yield files
    yield from storage.stale(before)
