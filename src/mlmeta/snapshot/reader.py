"""Reads a snapshot: record by record, and never on trust."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Protocol, TypeVar

from mlmeta.errors import DamagedSnapshotError, MlmetaError, ObjectRefusedError
from mlmeta.schema import (
    KINDS,
    METRICS,
    RUNS,
    FileEntry,
    HistoryLine,
    Kind,
    MetricHistory,
    Record,
    Run,
    Skipped,
    Summary,
)
from mlmeta.schema.kind import R
from mlmeta.snapshot import bounds, layout, legacy
from mlmeta.snapshot.find import Which, find
from mlmeta.snapshot.records import damaged, inspect_lines, parse_history_lines, parse_lines, taken_apart
from mlmeta.snapshot.summaries import read_summary
from mlmeta.storage import Storage

_BUFFER = 1 << 20

T = TypeVar("T")
H = TypeVar("H", MetricHistory, HistoryLine)


@dataclass(frozen=True)
class RunHistories:
    """A run and all its metric histories (those with more than the latest point)."""

    run: Run
    histories: tuple[MetricHistory, ...]


@dataclass(frozen=True)
class RunLines:
    """A run and its metric histories as lines: a fifth of the memory, for those who take one apart at a time."""

    run: Run
    lines: tuple[HistoryLine, ...]

    @property
    def size(self) -> int:
        """The number of points in the histories."""
        return sum(line.size for line in self.lines)

    def histories(self) -> Iterator[MetricHistory]:
        """The histories, taken apart.

        Raises:
            DamagedSnapshotError: one is not valid.
        """
        for line in self.lines:
            yield taken_apart(line)


def bare(item: Record | RunLines) -> Record:
    """A record without the histories that came with it."""
    return item.run if isinstance(item, RunLines) else item


class Snapshot:
    """A snapshot in a storage.

    Args:
        storage: where it is.
        summary: its table of contents.
        notes: what a person should know of why it was chosen.
    """

    def __init__(self, storage: Storage, summary: Summary, notes: tuple[str, ...] = ()) -> None:
        self.storage = storage
        self.summary = summary
        self.notes = notes
        self._kept: dict[str, _KeptFile] | None = None

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[Snapshot]:
        """Keep each data file open from its first reading to the end of the block.

        However often a file is read, it is opened once: an object of a bucket is downloaded once, and what is read
        again is the very file that was verified.
        """
        if self._kept is not None:
            yield self
            return
        self._kept = {}
        try:
            yield self
        finally:
            for kept in self._kept.values():
                kept.file.close()
            self._kept = None

    @property
    def timestamp(self) -> str:
        """Its name."""
        return self.summary.backup_timestamp

    @property
    def is_legacy(self) -> bool:
        """Whether the older script wrote it: no checksums, no histories."""
        return legacy.is_legacy(self.summary)

    @property
    def unknown(self) -> tuple[Skipped, ...]:
        """Kinds of record that a newer mlmeta saved and this one does not know: nothing reads them."""
        by = self.summary.mlmeta_version
        reason = f"mlmeta {by} saved them, and this version does not know them: use {by} or a newer one"
        unknown = (kind for kind, entry in self.summary.files.items() if kind not in KINDS and entry.records)
        return tuple(Skipped(kind=kind.replace("_", " "), id="*", reason=reason) for kind in unknown)

    def records(self, kind: Kind[R]) -> Iterator[R]:
        """All records of a kind, in order; none where the snapshot has no such file.

        Raises:
            DamagedSnapshotError: the file is cut, altered or missing. As the file is read as a stream, this may
                come after records were already given out: `verify_snapshot` first where that matters.
        """
        entry = self.summary.files.get(kind.name)
        if entry is None:
            return
        if self.is_legacy:
            yield from self._legacy_records(entry, kind)
            return
        yield from self._checked(entry, lambda lines: parse_lines(lines, kind.record, entry.name))

    def inspect(self, kind: Kind[R]) -> Iterator[tuple[R, bytes] | DamagedSnapshotError]:
        """Like `records`, each with the line that it stands on; each bad record comes as an error in its place.

        Raises:
            DamagedSnapshotError: of the file as a whole; at its end, if it still has the shape of a data file.
        """
        entry = self.summary.files.get(kind.name)
        if entry is None:
            return
        if self.is_legacy:
            yield from ((record, b"") for record in self._legacy_records(entry, kind))
        else:
            yield from self._checked(entry, lambda lines: inspect_lines(lines, kind.record, entry.name))

    def history_lines(self) -> Iterator[HistoryLine]:
        """All metric histories, in order, not taken apart: ten times as fast as `records`.

        Raises:
            DamagedSnapshotError: see `records`.
        """
        if entry := self.summary.files.get(METRICS.name):
            yield from self._checked(entry, lambda lines: parse_history_lines(lines, entry.name))

    def _checked(self, entry: FileEntry, parse: Callable[[Iterator[bytes]], Iterator[T]]) -> Iterator[T]:
        """What a data file holds; at its end it is checked against the summary, and it is never more than that says."""
        with self._open(entry) as file:
            hashed = _HashedFile(file, entry)
            lines = io.BufferedReader(hashed, _BUFFER)
            count = 0
            for item in parse(_content(lines, entry.name)):
                count += 1
                if count > entry.records:
                    raise damaged(entry.name, None, f"it has more than {entry.records} records")
                yield item
            hashed.check(count)

    @contextlib.contextmanager
    def _open(self, entry: FileEntry) -> Iterator[_Readable]:
        if self._kept is None:
            with self._opened(entry) as file:
                yield file
            return
        if entry.name not in self._kept:
            self._kept[entry.name] = _KeptFile(self._opened(entry))
        yield _Reader(self._kept[entry.name])

    def _opened(self, entry: FileEntry) -> BinaryIO:
        try:
            return self.storage.open(entry.name, entry.bytes)
        except ObjectRefusedError as error:
            raise damaged(entry.name, None, str(error)) from error

    def _legacy_records(self, entry: FileEntry, kind: Kind[R]) -> Iterator[R]:
        if entry.bytes > bounds.LEGACY:
            raise damaged(entry.name, None, f"it has more than {bounds.LEGACY:,} bytes")
        with self._open(entry) as file:
            for record in legacy.read(file.read(entry.bytes + 1), kind.name, entry.name):
                if isinstance(record, kind.record):
                    yield record

    def runs(self) -> Iterator[RunHistories]:
        """All runs, each with its histories.

        Raises:
            DamagedSnapshotError: see `records`; also for a history that belongs to no run.
        """
        return (RunHistories(run, tuple(own)) for run, own in self._with_own(self.records(METRICS)))

    def runs_with_lines(self) -> Iterator[RunLines]:
        """Like `runs`, with the histories not taken apart."""
        return (RunLines(run, tuple(own)) for run, own in self._with_own(self.history_lines()))

    def _with_own(self, histories: Iterator[H]) -> Iterator[tuple[Run, list[H]]]:
        following = next(histories, None)
        for run in self.records(RUNS):
            own = []
            while following is not None and following.run_id == run.run_id:
                own.append(following)
                following = next(histories, None)
            yield run, own
        if following is not None:
            name = self.summary.files[METRICS.name].name
            raise damaged(name, None, f"it has a history of run {following.run_id}, in the wrong place")


def _content(file: io.BufferedReader[_HashedFile], name: str) -> Iterator[bytes]:
    """The lines of a file's content, unpacked where it is compressed; no more of one than shows that it is too long.

    Raises:
        DamagedSnapshotError: it can't be unpacked.
    """
    if not name.endswith(layout.COMPRESSED):
        yield from iter(partial(file.readline, bounds.LINE + 1), b"")
        return
    try:
        yield from iter(partial(gzip.GzipFile(fileobj=file).readline, bounds.LINE + 1), b"")
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(name, None, f"it can't be unpacked ({error})") from error


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """The next bytes, at most so many; empty at the end."""


@dataclass
class _KeptFile:
    """A file that stays open for several readers, in whatever threads.

    Args:
        file: from its start, and seekable: a local file, or a download.
    """

    file: BinaryIO
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Reader:
    """Reads a kept file from its start, whoever else reads it."""

    def __init__(self, kept: _KeptFile) -> None:
        self._kept = kept
        self._position = 0

    def read(self, size: int) -> bytes:
        """See `_Readable`."""
        with self._kept.lock:
            self._kept.file.seek(self._position)
            block = self._kept.file.read(size)
        self._position += len(block)
        return block


class _HashedFile(io.RawIOBase):
    """A data file, hashed on the way.

    Args:
        file: its content.
        entry: what the summary says of it.
    """

    def __init__(self, file: _Readable, entry: FileEntry) -> None:
        self._file = file
        self._entry = entry
        self._sha256 = hashlib.sha256()
        self._size = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        block = self._file.read(len(buffer))
        self._sha256.update(block)
        self._size += len(block)
        buffer[: len(block)] = block
        return len(block)

    def check(self, count: int) -> None:
        """Check what was read against the summary.

        Args:
            count: of records.

        Raises:
            DamagedSnapshotError: it is something else.
        """
        entry = self._entry
        while self._size <= entry.bytes and self.read(_BUFFER):  # what stands behind the closing bracket counts too
            pass
        if self._size != entry.bytes:
            raise damaged(entry.name, None, f"it has {self._size} bytes instead of {entry.bytes}")
        if self._sha256.hexdigest() != entry.sha256:
            raise damaged(entry.name, None, "it is not what was written: its SHA-256 differs")
        if count != entry.records:
            raise damaged(entry.name, None, f"it has {count} records instead of {entry.records}")


def open_snapshot(storage: Storage, selector: str = "latest", which: Which | None = None) -> Snapshot:
    """The snapshot that `selector` names.

    Args:
        storage: where to look.
        selector: a timestamp, a unique prefix of one, ``latest``, ``latest~N``, or an ISO 8601 instant.
        which: source, where the storage has several.

    Raises:
        SnapshotNotFoundError: there is none.
        AmbiguousSelectorError: a prefix names several, or there are several sources.
        SnapshotError: it can't be trusted, or a newer mlmeta wrote it.
        StorageError: the storage can't be read.
    """
    found = find(storage, selector, which)
    if isinstance(found.summary, MlmetaError):
        raise found.summary
    return Snapshot(storage, found.summary or read_summary(storage, found.files), found.notes)
