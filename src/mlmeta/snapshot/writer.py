"""Writes a snapshot into one or more storages: all of it, or nothing.

Data files are staged while records come in and published together at the end, the one of the experiments
first: its name claims the timestamp, because creates never overwrite. Then every file is looked up again, and
then the summary is published: only now there is a snapshot.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType

from mlmeta.errors import InternalError, ObjectExistsError, ObjectMissingError, StorageError, StorageMissingError
from mlmeta.schema import (
    EXPERIMENTS,
    KINDS,
    Experiment,
    FileEntry,
    Kind,
    MetricHistory,
    Record,
    RegisteredModel,
    Run,
    Summary,
    experiment_order,
    kind_of,
    run_order,
)
from mlmeta.snapshot import layout, records
from mlmeta.storage import Digest, StagedFile, Storage

_BLOCK = 1 << 18
_GZIP = 31
"""zlib's `wbits` for the gzip format with the largest window."""


class DataFile:
    """One data file, staged in several storages at once.

    Args:
        staged: by the storage's location.
        compress: whether its bytes are gzip: without a time in the header, so the same content gives the same bytes.
    """

    def __init__(self, staged: dict[str, StagedFile], *, compress: bool) -> None:
        self.staged = staged
        self.count = 0
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._content = hashlib.sha256()
        self._compressor = zlib.compressobj(wbits=_GZIP) if compress else None
        self._pending = bytearray(records.OPENING)

    @property
    def digest(self) -> Digest:
        """Of all that was written so far."""
        return Digest(self._size, self._sha256.hexdigest())

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the JSON, in hex."""
        return self._content.hexdigest()

    def add(self, record: Record) -> None:
        """Append a record."""
        self._pending += records.SEPARATOR if self.count else records.FIRST
        self._pending += record.to_line()
        self.count += 1
        if len(self._pending) >= _BLOCK:
            self._flush()

    def finish(self) -> None:
        """Close the array."""
        self._pending += records.CLOSING
        self._flush()
        if self._compressor is not None:
            self._write(self._compressor.flush())

    def _flush(self) -> None:
        block = bytes(self._pending)
        self._pending.clear()
        self._content.update(block)
        self._write(block if self._compressor is None else self._compressor.compress(block))

    def _write(self, block: bytes) -> None:
        self._sha256.update(block)
        self._size += len(block)
        for staged in self.staged.values():
            staged.write(block)


@dataclass(frozen=True)
class Committed:
    """A snapshot that now exists.

    Args:
        summary: what its summary file says.
        size: bytes of all its files.
    """

    summary: Summary
    size: int


class SnapshotWriter:
    """Takes records, and makes a snapshot of them.

    A context manager: left without `commit`, nothing remains in the storages.

    Args:
        storages: where the snapshot goes; the same files into each.
        started: when the backup began; gives the snapshot its timestamp.
        compress: whether data files are gzip (``.json.gz``).
    """

    def __init__(self, storages: Sequence[Storage], started: datetime, *, compress: bool = False) -> None:
        self._storages = {storage.location: storage for storage in storages}
        self._started = started
        self._compress = compress
        self._finished = False
        self._files: dict[str, DataFile] = {}
        self._published: list[tuple[Storage, str]] = []
        self._order = _OrderGuard()
        self.stats = Counter({"experiments": 0, "runs": 0, "models": 0, "model_versions": 0, "metric_points": 0})
        for kind in KINDS.values():
            if kind.always:
                self._open(kind)

    def __enter__(self) -> SnapshotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _open(self, kind: Kind[Record]) -> DataFile:
        staged: dict[str, StagedFile] = {}
        file = self._files[kind.name] = DataFile(staged, compress=self._compress)
        for location, storage in self._storages.items():
            staged[location] = storage.stage()
        return file

    def add(self, record: Record) -> None:
        """Append a record to the file of its kind.

        Records come in the order of DESIGN §4; a run's histories come after the run and before the next.

        Raises:
            InternalError: the order is broken.
            StorageError: it can't be written.
        """
        kind = kind_of(record)
        self._order.check(record)
        (self._files.get(kind.name) or self._open(kind)).add(record)
        self._count(record)

    def _count(self, record: Record) -> None:
        if isinstance(record, Experiment):
            self.stats["experiments"] += 1
        elif isinstance(record, Run):
            self.stats["runs"] += 1
            self.stats["metric_points"] += len(record.metrics)
        elif isinstance(record, MetricHistory):
            self.stats["metric_points"] += len(record.step) - self._order.replaces_latest
        elif isinstance(record, RegisteredModel):
            self.stats["models"] += 1
            self.stats["model_versions"] += len(record.versions)

    def finish(self) -> dict[str, str]:
        """Close the data files; no record can be added any more.

        Returns:
            The SHA-256 of each kind's content: what two snapshots of the same metadata share.

        Raises:
            StorageError: it can't be written.
        """
        if not self._finished:
            self._finished = True
            for file in self._files.values():
                file.finish()
        return {kind: file.content_sha256 for kind, file in self._files.items()}

    def commit(self, summary: Summary) -> Committed:
        """Publish the files, and then the summary.

        Args:
            summary: what is known of the backup; timestamp, stats and files are filled in here.

        Raises:
            StorageError: it can't be written; nothing is left behind.
        """
        self.finish()
        timestamp = self._claim()
        for kind, file in self._files.items():
            if kind != EXPERIMENTS.name:
                self._publish(file, self._name(kind, timestamp))
        complete = summary.model_copy(
            update={
                "backup_timestamp": timestamp,
                "stats": dict(self.stats),
                "files": dict(self._entries(timestamp)),
                "note": summary.note.format(timestamp=timestamp),
            }
        )
        self._confirm(complete)
        size = self._publish_summary(complete)
        self._published.clear()
        return Committed(complete, size + sum(entry.bytes for entry in complete.files.values()))

    def _entries(self, timestamp: str) -> Iterator[tuple[str, FileEntry]]:
        for kind, file in self._files.items():
            digest = file.digest
            yield (
                kind,
                FileEntry(
                    name=self._name(kind, timestamp),
                    bytes=digest.size,
                    records=file.count,
                    sha256=digest.sha256,
                    content_sha256=file.content_sha256,
                ),
            )

    def _name(self, kind: str, timestamp: str) -> str:
        return layout.file_name(kind, timestamp, compressed=self._compress)

    def _claim(self) -> str:
        """Publish the experiments under the first timestamp that nobody has, and return it."""
        taken = {files.timestamp for storage in self._storages.values() for files in _existing(storage)}
        timestamp = layout.timestamp_of(self._started)
        while True:
            if timestamp not in taken and self._try_claim(timestamp):
                return timestamp
            timestamp = layout.next_timestamp(timestamp)

    def _try_claim(self, timestamp: str) -> bool:
        kind = EXPERIMENTS.name
        try:
            self._publish(self._files[kind], self._name(kind, timestamp))
        except ObjectExistsError:
            self._withdraw()  # from the storages where the name was still free
            return False
        other = layout.file_name(kind, timestamp, compressed=not self._compress)
        if any(_has(storage, other) for storage in self._storages.values()):
            self._withdraw()  # a backup of the same second compresses where this one doesn't: both give way
            return False
        return True

    def _publish(self, file: DataFile, name: str) -> None:
        for location, storage in self._storages.items():
            file.staged[location].publish(name, file.digest)
            self._published.append((storage, name))

    def _confirm(self, summary: Summary) -> None:
        for storage in self._storages.values():
            for entry in summary.files.values():
                storage.confirm(entry.name, Digest(entry.bytes, entry.sha256))

    def _publish_summary(self, summary: Summary) -> int:
        content = summary.to_bytes()
        name = layout.file_name(layout.SUMMARY, summary.backup_timestamp)
        digest = Digest(len(content), hashlib.sha256(content).hexdigest())
        for storage in self._storages.values():
            staged = storage.stage()
            self._published.append((storage, name))  # before it shows: an interrupt must find it
            try:
                staged.write(content)
                staged.publish(name, digest)
            except ObjectExistsError:
                self._published.pop()  # not ours to withdraw
                raise
            finally:
                staged.discard()
        return len(content)

    def _discard(self) -> None:
        self._withdraw()
        for file in self._files.values():
            for staged in file.staged.values():
                staged.discard()

    def _withdraw(self) -> None:
        """Take back what was published, the summary first: without it the rest is no snapshot."""
        while self._published:
            storage, name = self._published[-1]
            with contextlib.suppress(StorageError):  # leftovers: `prune` removes them later
                storage.remove(name)
            self._published.pop()


def _existing(storage: Storage) -> list[layout.FileSet]:
    try:
        return layout.group(storage.files())
    except StorageMissingError:
        return []


def _has(storage: Storage, name: str) -> bool:
    try:
        storage.open(name).close()
    except ObjectMissingError:
        return False
    return True


class _OrderGuard:
    """Holds the records against the order that the format promises."""

    def __init__(self) -> None:
        self._experiment: tuple[int, int, str] | None = None
        self._run: tuple[tuple[int, int, str], tuple[bool, int, str]] | None = None
        self._history: tuple[str, str] = ("", "")
        self._current = Run(run_id="", experiment_id="", status="")
        self._model: str | None = None
        self.replaces_latest = 0

    def check(self, record: Record) -> None:
        if isinstance(record, Experiment):
            key = experiment_order(record.experiment_id)
            self._must_grow("experiments", self._experiment, key)
            self._experiment = key
        elif isinstance(record, Run):
            place = (experiment_order(record.experiment_id), run_order(record))
            self._must_grow("runs", self._run, place)
            self._run, self._current, self._history = place, record, ("", "")
        elif isinstance(record, MetricHistory):
            self._check_history(record)
        elif isinstance(record, RegisteredModel):
            self._must_grow("models", self._model, record.name)
            self._model = record.name

    def _check_history(self, record: MetricHistory) -> None:
        if record.run_id != self._current.run_id or record.key < self._history[1]:
            raise InternalError(f"the history of {record.key} of run {record.run_id} came out of order")
        continues = self._history == (record.run_id, record.key)
        self.replaces_latest = int(not continues and record.key in self._current.metrics)
        self._history = (record.run_id, record.key)

    @staticmethod
    def _must_grow(what: str, previous: object, key: object) -> None:
        if previous is not None and not previous < key:  # type: ignore[operator]
            raise InternalError(f"{what} came out of order: {key} after {previous}")


def utc_now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(timezone.utc)
