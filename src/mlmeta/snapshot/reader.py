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
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Protocol, TypeVar

from mlmeta import notebook
from mlmeta.errors import DamagedSnapshotError, MlmetaError, ObjectRefusedError
from mlmeta.schema import (
    FOLLOWERS,
    KINDS,
    METRICS,
    RUNS,
    FileEntry,
    HistoryLine,
    Kind,
    MetricHistory,
    Names,
    Record,
    Run,
    Selection,
    Skipped,
    SpanLine,
    Summary,
    Trace,
)
from mlmeta.schema.kind import R
from mlmeta.schema.words import counts
from mlmeta.snapshot import bounds, layout, legacy
from mlmeta.snapshot.by_kind import ByKind
from mlmeta.snapshot.find import Which, find
from mlmeta.snapshot.records import damaged, inspect_lines, parse_lines, split_lines, taken_apart
from mlmeta.snapshot.summaries import read_summary
from mlmeta.storage import Storage
from mlmeta.visible import visible

if TYPE_CHECKING:
    from mlmeta.snapshot.selected import Selected

_BUFFER = 1 << 20

T = TypeVar("T")
L = TypeVar("L", HistoryLine, SpanLine)


@dataclass(frozen=True)
class RunHistories:
    """A run and all its metric histories (those with more than the latest point)."""

    run: Run
    histories: tuple[MetricHistory, ...]


@dataclass(frozen=True)
class Led(Generic[R, L]):
    """A record and those that follow it, as lines: a fifth of the memory, for those who take one apart at a time."""

    record: R
    lines: tuple[L, ...]

    @property
    def size(self) -> int:
        """What the lines count: the points of histories, or spans."""
        return sum(line.size for line in self.lines)

    def followers(self) -> Iterator[Any]:
        """The records of the lines, taken apart.

        Raises:
            DamagedSnapshotError: one is not valid.
        """
        return map(taken_apart, self.lines)


RunLines = Led[Run, HistoryLine]
"""A run and its metric histories."""
TraceLines = Led[Trace, SpanLine]
"""A trace and its spans."""
AnyLed = Led[Any, Any]


def bare(item: Record | AnyLed) -> Record:
    """A record without those that came with it."""
    return item.record if isinstance(item, Led) else item


class Snapshot(ByKind):
    """A snapshot in a storage.

    Args:
        storage: where it is.
        summary: its table of contents.
        notes: what a person should know of why it was chosen.
        size: bytes of all its files; 0: not looked up.
    """

    def __init__(self, storage: Storage, summary: Summary, notes: tuple[str, ...] = (), size: int = 0) -> None:
        self.storage = storage
        self.summary = summary
        self.timestamp = summary.backup_timestamp
        self.notes = notes
        self.size = size
        self.picked: dict[Selection, Any] = {}
        """What selections of single records mean, once it was looked up: see `snapshot.picked`."""
        self._kept: dict[str, _KeptFile] | None = None

    def __repr__(self) -> str:
        return f"<Snapshot {visible(self._headline)}>"

    def _repr_html_(self) -> str:
        summary = self.summary
        files: Iterator[notebook.Row] = (
            {"kind": kind, "records": file.records, "bytes": file.bytes} for kind, file in summary.files.items()
        )
        return notebook.page(
            "Snapshot",
            self._headline,
            notebook.table(files),
            notebook.items("Not saved", [f"{one.kind} {one.id}: {one.reason}" for one in summary.skipped]),
            notebook.items("Warnings", (*self.notes, *summary.warnings)),
        )

    @property
    def _headline(self) -> str:
        return f"{self.timestamp} in {self.storage.location}: {counts(self.summary.stats)} of {self.summary.mlflow_uri}"

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

    def select(
        self, experiments: Names = (), *, workspaces: Names = (), only: Names = (), without: Names = ()
    ) -> Selected:
        """A part of it, which has the same methods.

        Args:
            experiments: names, or one; none: all. Models are those with a version from one of their runs.
            workspaces: names, or one, ``default`` for the default one; none: all.
            only: groups of kinds, or one, such as ``runs``; none: all.
            without: kinds or groups to leave out, or one, such as ``spans``.

        Raises:
            UsageError: it has no experiment of that name, or there is no such group.
        """
        from mlmeta.snapshot.selected import Selected

        return Selected(self, Selection(experiments, only, without, workspaces))

    @property
    def record_count(self) -> int:
        """How many records its files have, by its summary."""
        return sum(entry.records for entry in self.summary.files.values())

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

    def may_have(self, kind: Kind[Any]) -> bool:
        """Whether it has records of a kind, as far as its summary tells."""
        return kind.always or kind.name in self.summary.files

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
        yield from self._checked(entry, kind, parse_lines)

    def inspect(self, kind: Kind[Any]) -> Iterator[tuple[Any, bytes] | DamagedSnapshotError]:
        """Like `records`, each with the line that it stands on; each bad record comes as an error in its place.

        Of a kind that says so (`Kind.checked`), they have no more than shows that they are sound.

        Raises:
            DamagedSnapshotError: of the file as a whole; at its end, if it still has the shape of a data file.
        """
        entry = self.summary.files.get(kind.name)
        if entry is None:
            return
        if self.is_legacy:
            yield from ((record, b"") for record in self._legacy_records(entry, kind))
        else:
            yield from self._checked(entry, kind, inspect_lines)

    def lines(self, kind: Kind[Any]) -> Iterator[Any]:
        """All records of a kind that follows another, in order, not taken apart: ten times as fast as `records`.

        Raises:
            DamagedSnapshotError: see `records`.
        """
        if entry := self.summary.files.get(kind.name):
            yield from self._checked(entry, kind, split_lines)

    def _checked(
        self, entry: FileEntry, kind: Kind[Any], parse: Callable[[Iterator[bytes], Kind[Any], str], Iterator[T]]
    ) -> Iterator[T]:
        """What a data file holds; at its end it is checked against the summary, and it is never more than that says."""
        with self._open(entry) as file:
            hashed = _HashedFile(file, entry)
            lines = io.BufferedReader(hashed, _BUFFER)
            count = 0
            for item in parse(_content(lines, entry.name, bounds.of(kind) + 1), kind, entry.name):
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

    def runs_with_histories(self) -> Iterator[RunHistories]:
        """All runs, each with its histories.

        Raises:
            DamagedSnapshotError: see `records`; also for a history that belongs to no run.
        """
        return (RunHistories(run, own) for run, own in self._with_own(RUNS, self.records(METRICS)))

    def led(self, kind: Kind[Any]) -> Iterator[AnyLed]:
        """All records of a kind that others follow, each with these, not taken apart.

        Raises:
            DamagedSnapshotError: see `records`; also for one that follows nothing.
        """
        return (Led(record, own) for record, own in self._with_own(kind, self.lines(FOLLOWERS[kind.name])))

    def _with_own(self, kind: Kind[R], followers: Iterator[T]) -> Iterator[tuple[R, tuple[T, ...]]]:
        part = FOLLOWERS[kind.name]
        leader: Any = part.leader
        following = Following(kind, followers, leader)
        for record in self.records(kind):
            yield record, tuple(following.of(record))
        if following.next is not None:
            what = f"it has a {part.one} of {kind.one} {leader(following.next)}, in the wrong place"
            raise damaged(self.summary.files[part.name].name, None, what)


class Following(Generic[T]):
    """A stream of records that follow others, given record by record.

    Args:
        kind: of those that they follow.
        items: the stream.
        leader: the key of the record that one follows.
    """

    def __init__(self, kind: Kind[Any], items: Iterator[T], leader: Callable[[T], str]) -> None:
        self._key = kind.key
        self._items = items
        self._leader = leader
        self.next = next(items, None)
        """The first that was not given yet; None: there is none."""

    def of(self, record: Record) -> Iterator[T]:
        """Those that follow a record, which come next."""
        key = self._key(record)
        while self.next is not None and self._leader(self.next) == key:
            yield self.next
            self.next = next(self._items, None)


def _content(file: io.BufferedReader[_HashedFile], name: str, most: int) -> Iterator[bytes]:
    """The lines of a file's content, unpacked where it is compressed; of each, at most so many bytes.

    Raises:
        DamagedSnapshotError: it can't be unpacked.
    """
    if not name.endswith(layout.COMPRESSED):
        yield from iter(partial(file.readline, most), b"")
        return
    try:
        yield from iter(partial(gzip.GzipFile(fileobj=file).readline, most), b"")
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
        """See `io.RawIOBase.readable`."""
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
    return Snapshot(storage, found.summary or read_summary(storage, found.files), found.notes, found.files.size)
