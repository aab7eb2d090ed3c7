"""Copies a snapshot, byte for byte, from one storage to another."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

from mlmeta.errors import (
    DamagedSnapshotError,
    ObjectExistsError,
    ObjectMissingError,
    SnapshotConflictError,
    StorageError,
    StorageMissingError,
)
from mlmeta.schema import KINDS, FileEntry
from mlmeta.snapshot.catalog import about, file_sets
from mlmeta.snapshot.layout import COMPRESSED, SUMMARY, FileSet, file_name
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.records import damaged
from mlmeta.snapshot.summaries import parse_summary, summary_text
from mlmeta.storage import Digest, StagedFile, Storage

_BLOCK = 1 << 20


def copy(snapshot: Snapshot, files: FileSet, target: Storage) -> int:
    """Copy a snapshot: data files first, the summary last. What is there already, from an earlier try, is kept.

    Args:
        snapshot: the original.
        files: its files.
        target: where to; older snapshots become flat there.

    Returns:
        Bytes copied; 0 where all was there already.

    Raises:
        DamagedSnapshotError: a file is not what the summary says; the target has no snapshot then.
        ObjectMissingError: a file is missing; likewise.
        SnapshotConflictError: the target has another snapshot of that timestamp, which stays as it is.
        StorageError: a storage failed.
    """
    content = summary_text(snapshot.storage, files)
    if parse_summary(content, files) != snapshot.summary:
        raise StorageError(f"the summary of {snapshot.timestamp} has changed meanwhile", hint="try again")
    _must_be_free(target, snapshot, content)
    files_of = snapshot.summary.files.items()
    copied = sum(_copy_file(snapshot, entry, target, private=_is_private(kind)) for kind, entry in files_of)
    notes = {} if snapshot.is_legacy else about(snapshot.summary)
    with _staged(target) as staged:
        staged.write(content)
        return copied + _publish(staged, target, file_name(SUMMARY, snapshot.timestamp), _digest(content), notes)


def _must_be_free(target: Storage, snapshot: Snapshot, content: bytes) -> None:
    """Before anything is written: a file beside those of another snapshot would be taken for one of them."""
    summary = file_name(SUMMARY, snapshot.timestamp)
    with contextlib.suppress(ObjectMissingError), target.open(summary) as file:
        if file.read(len(content) + 1) != content:
            raise _conflict(target, summary)
    for entry in snapshot.summary.files.values():
        other = _packed_otherwise(_flat(entry.name))
        with contextlib.suppress(ObjectMissingError), target.open(other):
            raise _conflict(target, other)


def _packed_otherwise(name: str) -> str:
    return name.removesuffix(COMPRESSED) if name.endswith(COMPRESSED) else name + COMPRESSED


def _flat(name: str) -> str:
    return name.rpartition("/")[2]


def _is_private(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].on_request


def _copy_file(snapshot: Snapshot, entry: FileEntry, target: Storage, *, private: bool) -> int:
    with _staged(target, private=private) as staged:
        digest = _fill(staged, snapshot, entry)
        if entry.sha256 and digest != Digest(entry.bytes, entry.sha256):
            raise damaged(entry.name, None, "it is not what was written: its size or SHA-256 differs")
        return _publish(staged, target, _flat(entry.name), digest)


def _publish(
    staged: StagedFile, target: Storage, name: str, digest: Digest, notes: Mapping[str, str] | None = None
) -> int:
    try:
        staged.publish(name, digest, notes)
    except ObjectExistsError:
        _must_be_the_same(target, name, digest)
        return 0
    target.confirm(name, digest)
    return digest.size


@contextlib.contextmanager
def _staged(target: Storage, *, private: bool = False) -> Iterator[StagedFile]:
    staged = target.stage(private=private)
    try:
        yield staged
    finally:
        staged.discard()


def _digest(content: bytes) -> Digest:
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def _fill(staged: StagedFile, snapshot: Snapshot, entry: FileEntry) -> Digest:
    sha256 = hashlib.sha256()
    size = 0
    with snapshot.storage.open(entry.name, entry.bytes) as source:
        while size <= entry.bytes and (block := source.read(_BLOCK)):
            staged.write(block)
            sha256.update(block)
            size += len(block)
    return Digest(size, sha256.hexdigest())


def _must_be_the_same(target: Storage, name: str, digest: Digest) -> None:
    try:
        target.confirm(name, digest)
    except StorageError as error:
        raise _conflict(target, name) from error


def _conflict(target: Storage, name: str) -> SnapshotConflictError:
    return SnapshotConflictError(
        f"{target.location} has another {name}: two snapshots share a timestamp",
        hint="nothing there was changed; copy this snapshot into another storage",
    )


def committed(target: Storage) -> dict[str, FileSet]:
    """What a storage has a summary for, by timestamp; nothing where there is no storage yet."""
    try:
        return {files.timestamp: files for files in file_sets(target) if files.summary is not None}
    except StorageMissingError:
        return {}


__all__ = ["DamagedSnapshotError", "committed", "copy"]
