"""Files in a storage, and what it shows of snapshots."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from mlmeta.schema import KINDS, Record
from mlmeta.snapshot.catalog import SnapshotInfo, file_sets, glance
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.storage import Digest, StagedFile, Storage
from tests.builders.snapshots import RECORDS


def digest(content: bytes) -> Digest:
    """Of some bytes."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def staged(storage: Storage, content: bytes) -> StagedFile:
    """A staged file with some content."""
    file = storage.stage()
    file.write(content)
    return file


def publish(storage: Storage, name: str, content: bytes, about: Mapping[str, str] | None = None) -> Digest:
    """Store a file, the way the snapshot writer does."""
    file = staged(storage, content)
    try:
        file.publish(name, digest(content), about)
    finally:
        file.discard()
    return digest(content)


def read(storage: Storage, name: str) -> bytes:
    """A stored file's content."""
    with storage.open(name) as file:
        return file.read()


def names(storage: Storage) -> list[str]:
    """Of all files that a storage shows."""
    return sorted(file.name for file in storage.files())


def listed(storage: Storage) -> list[SnapshotInfo]:
    """What `mlmeta list` would show."""
    return [glance(storage, files, 0) for files in file_sets(storage)]


def assert_whole(storage: Storage, selector: str = "latest", records: Sequence[Record] = RECORDS) -> None:
    """The snapshot is there, verifies, and holds just these records."""
    snapshot = open_snapshot(storage, selector)
    assert verify_snapshot(snapshot) == []
    found = [record for kind in KINDS.values() for record in snapshot.records(kind)]
    assert found == list(records)
