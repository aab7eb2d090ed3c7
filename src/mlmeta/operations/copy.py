"""`mlmeta copy`: snapshots from one storage to another."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import ExitCode, UsageError
from mlmeta.operations.result import Issue, Result
from mlmeta.operations.stores import which
from mlmeta.progress import Progress, Silent
from mlmeta.snapshot import transfer
from mlmeta.snapshot.catalog import describe, file_sets
from mlmeta.snapshot.finding import find
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.records import damaged
from mlmeta.snapshot.summaries import read_summary
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.storage import Storage, open_storage


class Copied(BaseModel):
    """A snapshot that is now in the other storage; `size` is bytes copied, 0 where it was there already."""

    model_config = ConfigDict(frozen=True)

    timestamp: str
    size: int


class CopyResult(Result):
    """What was copied.

    Args:
        source: where from.
        target: where to.
        snapshots: that the target has now.
        left_out: that the target lacks still, and why, where all missing ones were asked for.
    """

    source: str
    target: str
    snapshots: tuple[Copied, ...]
    left_out: dict[str, str] = {}

    @property
    def issues(self) -> tuple[Issue, ...]:
        """The snapshots that can't be copied."""
        hint = "`mlmeta verify` says more; nothing of it was touched"
        return tuple(
            Issue(code="not_copied", message=f"{timestamp} was not copied: {why}", hint=hint)
            for timestamp, why in self.left_out.items()
        )

    @property
    def exit_code(self) -> ExitCode:
        """`INCOMPLETE` where the target lacks something still."""
        return ExitCode.INCOMPLETE if self.left_out else ExitCode.DONE


def copy(
    selectors: Sequence[str],
    source: str,
    target: str,
    *,
    of_source: str = "",
    missing: bool = False,
    progress: Progress | None = None,
) -> CopyResult:
    """Copy snapshots, verified on both ends.

    Args:
        selectors: which snapshots.
        source: storage to read from.
        target: storage to write to.
        of_source: label or tracking URI of the source that `latest` means, where the storage has several.
        missing: all that the target lacks, instead of `selectors`; those that are not usable are named in the result.
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
    left_out: dict[str, str] = {}
    notes: list[str] = []
    if missing:
        chosen, left_out = _missing(origin, file_sets(origin), destination)
    else:
        found = [find(origin, selector, which(of_source)) for selector in selectors]
        chosen = [one.files for one in found]
        notes = [note for one in found for note in one.notes]
    copied = [_copy(origin, destination, files, progress) for files in chosen]
    return CopyResult(
        source=origin.location,
        target=destination.location,
        snapshots=tuple(copied),
        left_out=left_out,
        warnings=tuple(dict.fromkeys(notes)),
    )


def _copy(origin: Storage, destination: Storage, files: FileSet, progress: Progress) -> Copied:
    progress.phase(f"copying {files.timestamp}")
    snapshot = Snapshot(origin, read_summary(origin, files))
    if snapshot.is_legacy:  # it has no checksums to hold the copy against
        for problem in verify_snapshot(snapshot):
            raise damaged(problem.file, None, problem.message)
    size = transfer.copy(snapshot, files, destination)
    progress.advance("snapshots")
    return Copied(timestamp=snapshot.timestamp, size=size)


def _missing(origin: Storage, sets: Sequence[FileSet], destination: Storage) -> tuple[list[FileSet], dict[str, str]]:
    """What the destination lacks: the usable snapshots, oldest first, so that an interrupted copy leaves no gap behind.

    Returns:
        Their files; and of those that can't be copied, the timestamps and why.
    """
    there = transfer.committed(destination)
    usable: list[FileSet] = []
    left_out: dict[str, str] = {}
    for files in reversed(sets):
        if files.summary is None or files.timestamp in there:
            continue
        info = describe(origin, files, 0)
        if info.state.restorable:
            usable.append(files)
        else:
            left_out[files.timestamp] = info.problem
    return usable, left_out
