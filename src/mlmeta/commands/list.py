"""`mlmeta list`: the snapshots of a storage."""

from __future__ import annotations

import time
from typing import ClassVar

from mlmeta.commands.result import Result
from mlmeta.snapshot.catalog import SnapshotInfo, glance, ignored
from mlmeta.snapshot.layout import group
from mlmeta.storage import Location, open_storage


class ListResult(Result):
    """The snapshots of a storage, newest first, the unreadable and half-written ones included."""

    storage: str
    snapshots: tuple[SnapshotInfo, ...]

    is_report: ClassVar[bool] = False


def list_snapshots(storage: Location = "backups") -> ListResult:
    """The snapshots of a storage, newest first.

    Args:
        storage: a folder or ``gs://bucket/prefix``.

    Raises:
        StorageMissingError: there is no such storage.
        StorageError: it can't be read.
    """
    place = open_storage(storage)
    now = time.time()
    files = list(place.files())
    return ListResult(
        storage=place.location,
        snapshots=tuple(glance(place, one, now) for one in group(files) if one.files),
        warnings=tuple(ignored(place, files)),
    )
