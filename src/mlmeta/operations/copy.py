"""`mlmeta copy`: snapshots from one storage to another."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import UsageError
from mlmeta.operations.result import Result
from mlmeta.progress import Progress, Silent
from mlmeta.snapshot import transfer
from mlmeta.snapshot.catalog import describe, file_sets
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.records import damaged
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.storage import Storage, open_storage


class Copied(BaseModel):
    """A snapshot that is now in the other storage; `size` is bytes copied, 0 where it was there already."""

    model_config = ConfigDict(frozen=True)

    timestamp: str
    size: int


class CopyResult(Result):
    """What was copied."""

    source: str
    target: str
    snapshots: tuple[Copied, ...]


def copy(
    selectors: Sequence[str],
    source: str,
    target: str,
    *,
    missing: bool = False,
    progress: Progress | None = None,
) -> CopyResult:
    """Copy snapshots, verified on both ends.

    Args:
        selectors: which snapshots.
        source: storage to read from.
        target: storage to write to.
        missing: all usable snapshots that the target lacks, instead of `selectors`.
        progress: told how far it is.

    Raises:
        UsageError: both storages are the same.
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: a snapshot can't be trusted; it is not copied.
        StorageError: a storage can't be used.
    """
    progress = progress or Silent()
    origin, destination = open_storage(source), open_storage(target)
    if origin.location == destination.location:
        raise UsageError("--from and --to are the same storage", hint="name two different ones")
    if missing:
        selectors = _missing(origin, destination)
    copied = [_copy(origin, destination, selector, progress) for selector in selectors]
    return CopyResult(source=origin.location, target=destination.location, snapshots=tuple(copied))


def _copy(origin: Storage, destination: Storage, selector: str, progress: Progress) -> Copied:
    progress.phase(f"copying {selector}")
    snapshot = open_snapshot(origin, selector)
    files = next(files for files in file_sets(origin) if files.timestamp == snapshot.timestamp)
    if snapshot.is_legacy:  # it has no checksums to hold the copy against
        for problem in verify_snapshot(snapshot):
            raise damaged(problem.file, None, problem.message)
    size = transfer.copy(snapshot, files, destination)
    progress.advance("snapshots")
    return Copied(timestamp=snapshot.timestamp, size=size)


def _missing(origin: Storage, destination: Storage) -> list[str]:
    """Oldest first, so that an interrupted copy leaves no gap behind it."""
    usable = [files.timestamp for files in file_sets(origin) if describe(origin, files, 0).state.restorable]
    return [timestamp for timestamp in reversed(usable) if not transfer.has_snapshot(destination, timestamp)]
