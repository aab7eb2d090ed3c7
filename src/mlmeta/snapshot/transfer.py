"""Copies a snapshot, byte for byte, from one storage to another."""

from __future__ import annotations

import hashlib

from mlmeta.errors import DamagedSnapshotError, ObjectExistsError, StorageError, StorageMissingError
from mlmeta.snapshot.catalog import about
from mlmeta.snapshot.layout import SUMMARY, FileSet, file_name
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.records import damaged
from mlmeta.storage import Digest, StagedFile, Storage, StoredFile

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
        StorageError: the target has another file of that name, or a storage failed.
    """
    copied = 0
    for kind in sorted(files.files, key=lambda kind: kind == SUMMARY):
        if kind != SUMMARY and kind not in snapshot.summary.files:
            continue  # not named in the summary: none of this snapshot's
        entry = snapshot.summary.files.get(kind)
        expected = Digest(entry.bytes, entry.sha256) if entry is not None and entry.sha256 else None
        notes = about(snapshot.summary) if kind == SUMMARY and not snapshot.is_legacy else {}
        copied += _copy_file(snapshot, files.files[kind], target, expected, notes)
    return copied


def _copy_file(
    snapshot: Snapshot, stored: StoredFile, target: Storage, expected: Digest | None, notes: dict[str, str]
) -> int:
    name = stored.name.rpartition("/")[2]
    staged = target.stage()
    try:
        digest = _fill(staged, snapshot, stored.name)
        if expected is not None and digest != expected:
            raise damaged(stored.name, None, "it is not what was written: its size or SHA-256 differs")
        try:
            staged.publish(name, digest, notes)
        except ObjectExistsError:
            _must_be_the_same(target, name, digest)
            return 0
        target.confirm(name, digest)
        return digest.size
    finally:
        staged.discard()


def _fill(staged: StagedFile, snapshot: Snapshot, name: str) -> Digest:
    sha256 = hashlib.sha256()
    size = 0
    with snapshot.storage.open(name) as source:
        while block := source.read(_BLOCK):
            staged.write(block)
            sha256.update(block)
            size += len(block)
    return Digest(size, sha256.hexdigest())


def _must_be_the_same(target: Storage, name: str, digest: Digest) -> None:
    try:
        target.confirm(name, digest)
    except StorageError as error:
        raise StorageError(
            f"{target.location} has another {name}: two snapshots share a timestamp",
            hint="nothing of it was changed; copy this snapshot into another storage",
        ) from error


def has_snapshot(target: Storage, timestamp: str) -> bool:
    """Whether a storage has a committed snapshot of that timestamp."""
    name = file_name(SUMMARY, timestamp)
    try:
        return any(file.name.rpartition("/")[2].removesuffix(".gz") == name for file in target.files())
    except StorageMissingError:
        return False


__all__ = ["DamagedSnapshotError", "copy", "has_snapshot"]
