"""Files for storages, and snapshots made of a few records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from mlmeta.schema import KINDS, Experiment, MetricHistory, ModelVersion, Record, RegisteredModel, Run, Summary
from mlmeta.snapshot.catalog import SnapshotInfo, file_sets, glance
from mlmeta.snapshot.reader import open_snapshot
from mlmeta.snapshot.verify import verify_snapshot
from mlmeta.snapshot.writer import Committed, SnapshotWriter
from mlmeta.storage import Digest, StagedFile, Storage

NOW = datetime(2025, 8, 15, 23, 29, 28, tzinfo=timezone.utc)
STAMP = "20250815_232928"

RECORDS: tuple[Record, ...] = (
    Experiment(experiment_id="0", name="Default"),
    Run(run_id="r1", experiment_id="0", status="FINISHED", start_time=1, params={"ä": "ö"}),
    MetricHistory(run_id="r1", key="loss", step=[0, 1], timestamp=[1, 2], value=[1.0, 0.5]),
    RegisteredModel(name="m", versions=(ModelVersion(version=1, run_id="r1"),)),
)


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


def write_snapshot(
    storages: Storage | Sequence[Storage], records: Sequence[Record] = RECORDS, *, compress: bool = False
) -> Committed:
    """A snapshot of a few records."""
    places = storages if isinstance(storages, Sequence) else [storages]
    summary = Summary(backup_timestamp="", backup_date="", mlflow_uri="http://a", stats={}, files={}, note="")
    with SnapshotWriter(places, NOW, compress=compress) as writer:
        for record in records:
            writer.add(record)
        return writer.commit(summary)


def listed(storage: Storage) -> list[SnapshotInfo]:
    """What `mlmeta list` would show."""
    return [glance(storage, files, 0) for files in file_sets(storage)]


def assert_whole(storage: Storage, selector: str = "latest", records: Sequence[Record] = RECORDS) -> None:
    """The snapshot is there, verifies, and holds just these records."""
    snapshot = open_snapshot(storage, selector)
    assert verify_snapshot(snapshot) == []
    found = [record for kind in KINDS.values() for record in snapshot.records(kind)]
    assert found == list(records)
