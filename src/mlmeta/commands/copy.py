"""`mlmeta copy`: snapshots from one storage to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.hashes import INCLUDE, require_local
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import (
    DamagedSnapshotError,
    ExitCode,
    ObjectMissingError,
    ObjectRefusedError,
    SnapshotConflictError,
    SnapshotError,
    UsageError,
)
from mlmeta.notebook import Row
from mlmeta.parallel import ordered_map
from mlmeta.progress import Progress, Silent
from mlmeta.schema import Names, several
from mlmeta.schema.words import amount
from mlmeta.snapshot import copying
from mlmeta.snapshot.catalog import describe, file_sets
from mlmeta.snapshot.find import find, meant_sets
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.records import damaged
from mlmeta.snapshot.summaries import read_summary, summary_text
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.storage import Location, Storage, distinct, is_local, open_storage
from mlmeta.stores.opening import which

_AT_ONCE = 8
"""Summaries that are read at once: in a bucket, each takes a request."""
_HASHES = f"it has password hashes, which go into a bucket with {INCLUDE} only"


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
        conflicts: that the target has another snapshot of the same name of, and why they differ; likewise.
    """

    source: str
    target: str
    snapshots: tuple[Copied, ...]
    left_out: dict[str, str] = {}
    conflicts: dict[str, str] = {}

    @property
    def headline(self) -> str:
        """How many, from where to where."""
        return f"{amount(len(self.snapshots), 'snapshots')} from {self.source} to {self.target}"

    def entries(self) -> Iterator[Row]:
        """Each snapshot, and bytes that were copied."""
        return ({"snapshot": one.timestamp, "bytes": one.size} for one in self.snapshots)

    @property
    def issues(self) -> tuple[Issue, ...]:
        """The snapshots that can't be copied."""
        return (
            *_issues("conflict", self.conflicts, "two snapshots share a timestamp: copy this one into another storage"),
            *_issues("not_copied", self.left_out, "`mlmeta verify` says more; it was not changed"),
        )

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where the target has another snapshot of a name, `INCOMPLETE` where it lacks something still."""
        if self.conflicts:
            return ExitCode.DIFFERENT
        return ExitCode.INCOMPLETE if self.left_out else ExitCode.DONE


def _issues(code: str, why: dict[str, str], hint: str) -> list[Issue]:
    return [Issue(code=code, message=f"{name} was not copied: {text}", hint=hint) for name, text in why.items()]


def copy(
    selectors: Names,
    source: Location,
    target: Location,
    *,
    of_source: Location = "",
    missing: bool = False,
    include_password_hashes: bool = False,
    progress: Progress | None = None,
) -> CopyResult:
    """Copy snapshots, verified on both ends.

    Args:
        selectors: which snapshot, or several.
        source: storage to read from.
        target: storage to write to.
        of_source: label or tracking URI of the source that `latest` means, where the storage has several.
        include_password_hashes: whether a snapshot that has these may go into a bucket.
        missing: all (of that source) that the target lacks, instead of `selectors`; those that are not usable are named
            in the result.
        progress: told how far it is.

    Raises:
        UsageError: both storages are the same, or password hashes would go into a bucket.
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: a snapshot can't be trusted; it is not copied.
        StorageError: a storage can't be used.
    """
    progress = progress or Silent()
    origin, destination = open_storage(source), open_storage(target)
    if len(distinct((origin, destination))) == 1:
        raise UsageError("--from and --to are the same storage", hint="name two different ones")
    if missing:
        sets = [files for files in file_sets(origin) if files.summary is not None]
        wanted = meant_sets(sets, which(of_source), origin)
        holds_back = not (include_password_hashes or _is_here(destination))
        return _copy_missing(origin, destination, wanted, progress, holds_back=holds_back)
    found = [find(origin, selector, which(of_source)) for selector in several(selectors)]
    for one in found if not include_password_hashes else ():
        if read_summary(origin, one.files).has_auth:
            require_local([destination.location], f"snapshot {one.files.timestamp}")
    copied = [_copy(origin, destination, one.files, progress) for one in found]
    return CopyResult(
        source=origin.location,
        target=destination.location,
        snapshots=tuple(copied),
        warnings=tuple(dict.fromkeys(note for one in found for note in one.notes)),
    )


def _copy_missing(
    origin: Storage, destination: Storage, sets: Sequence[FileSet], progress: Progress, *, holds_back: bool
) -> CopyResult:
    judged = list(_judged(origin, destination, sets, holds_back=holds_back))
    left_out = {files.timestamp: why for files, verdict, why in judged if verdict is _Verdict.UNUSABLE}
    conflicts = {files.timestamp: why for files, verdict, why in judged if verdict is _Verdict.ANOTHER}
    copied = []
    for files in (files for files, verdict, _ in judged if verdict is _Verdict.LACKING):
        try:
            copied.append(_copy(origin, destination, files, progress))
        except SnapshotConflictError as error:
            conflicts[files.timestamp] = str(error)
        except (SnapshotError, ObjectMissingError, ObjectRefusedError) as error:  # one that is bad stops no other
            left_out[files.timestamp] = str(error)
    return CopyResult(
        source=origin.location,
        target=destination.location,
        snapshots=tuple(copied),
        left_out=left_out,
        conflicts=conflicts,
    )


def _copy(origin: Storage, destination: Storage, files: FileSet, progress: Progress) -> Copied:
    progress.phase(f"copying {files.timestamp}")
    snapshot = Snapshot(origin, read_summary(origin, files))
    if snapshot.is_legacy:  # it has no checksums to check the copy against
        for problem in verify_snapshot(snapshot):
            raise damaged(problem.file, None, problem.message)
    size = copying.copy(snapshot, files, destination)
    progress.advance("snapshots")
    return Copied(timestamp=snapshot.timestamp, size=size)


class _Verdict(Enum):
    LACKING = 1
    UNUSABLE = 2
    ANOTHER = 3
    THERE = 4


def _is_here(storage: Storage) -> bool:
    return is_local(storage.location)


def _judged(
    origin: Storage, destination: Storage, sets: Sequence[FileSet], *, holds_back: bool
) -> Iterator[tuple[FileSet, _Verdict, str]]:
    """How the destination stands to each snapshot, oldest first: an interrupted copy leaves no gap behind."""
    judge = partial(_judge, origin, destination, copying.committed(destination), holds_back=holds_back)
    candidates = sets[::-1]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mlmeta-copy") as pool:
        for files, (verdict, why) in zip(candidates, ordered_map(pool, judge, candidates, 4 * _AT_ONCE), strict=True):
            yield files, verdict, why


def _judge(
    origin: Storage, destination: Storage, there: dict[str, FileSet], files: FileSet, *, holds_back: bool
) -> tuple[_Verdict, str]:
    """How the destination stands to a snapshot: its name alone says nothing."""
    info = describe(origin, files, 0)
    other = there.get(files.timestamp)
    if not info.state.restorable:
        return (_Verdict.UNUSABLE, info.problem) if other is None else (_Verdict.THERE, "")
    if other is None:
        return (_Verdict.UNUSABLE, _HASHES) if holds_back and info.auth else (_Verdict.LACKING, "")
    try:
        same = summary_text(origin, files) == summary_text(destination, other)
    except DamagedSnapshotError as error:
        return _Verdict.ANOTHER, str(error)
    if not same:
        return _Verdict.ANOTHER, f"{destination.location} has another snapshot of that name"
    whole = describe(destination, other, 0).state.restorable
    return (_Verdict.THERE if whole else _Verdict.LACKING), ""
