"""Writes a snapshot into one or more storages: all of it, or nothing.

Data files are staged while records come in and published together at the end, the one of the experiments
first: its name claims the timestamp, because creates never overwrite. Then every file is looked up again, and
then the summary is published: only now there is a snapshot.

A storage that fails is dropped, and what it has so far is taken back; the others still get a whole snapshot.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from types import TracebackType

from mlmeta.errors import ObjectExistsError, ObjectMissingError, StorageError, StorageMissingError
from mlmeta.redaction import cut
from mlmeta.schema import (
    COUNTED,
    EXPERIMENTS,
    KINDS,
    FileEntry,
    FollowerLine,
    Kind,
    Line,
    Record,
    Skipped,
    SpanLine,
    Summary,
    kind_of,
)
from mlmeta.snapshot import bounds, layout
from mlmeta.snapshot.catalog import about
from mlmeta.snapshot.order import OrderGuard
from mlmeta.snapshot.records import misnamed
from mlmeta.snapshot.staging import DataFile, StagedStorage
from mlmeta.snapshot.summaries import fitting
from mlmeta.storage import Digest, Storage

MOMENT = timedelta(minutes=1)
"""How far ahead a burst of backups, or another machine's clock, may be."""
_TOGETHER = {SpanLine}
"""The classes of lines that are added together: each is there once, and counts for one."""
_MOST_WAITING = 1 << 20
"""Characters that wait to be added together."""


@dataclass(frozen=True)
class Committed:
    """A snapshot that now exists.

    Args:
        summary: what its summary file says.
        size: bytes of all its files.
        storages: locations where it is.
        failures: why it is not in the other storages, by their location.
    """

    summary: Summary
    size: int
    storages: tuple[str, ...] = ()
    failures: dict[str, StorageError] = field(default_factory=dict)


class SnapshotWriter:
    """Takes records, and makes a snapshot of them.

    A context manager: left without `commit`, nothing remains in the storages.

    Args:
        storages: where the snapshot goes; the same files into each. None: records are only counted.
        started: when the backup began; gives the snapshot its timestamp.
        compress: whether data files are gzip (``.json.gz``).

    Raises:
        StorageError: no storage can be written.
    """

    def __init__(self, storages: Sequence[Storage], started: datetime, *, compress: bool = False) -> None:
        self._storages = [StagedStorage(storage) for storage in storages]
        self._started = started
        self._compress = compress
        self._finished = False
        self._files: dict[str, DataFile] = {}
        self._order = OrderGuard()
        self._left_out: set[tuple[str, str]] = set()
        self.failures: dict[str, StorageError] = {}
        self.stats = Counter(dict.fromkeys(COUNTED, 0))
        self._waiting: list[FollowerLine] = []
        self._waiting_size = 0
        self._tables: Counter[str] = Counter()
        try:
            for kind in KINDS.values():
                if kind.always:
                    self._open(kind)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> SnapshotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _discard(self) -> None:
        for staged in self._storages:
            staged.discard()

    def _each(self, action: Callable[[StagedStorage], None], *, claims: bool = False) -> None:
        """Do something in each storage, and drop those where it fails.

        Args:
            action: what is done.
            claims: whether it claims the timestamp: then a name that is taken is not a failure.

        Raises:
            ObjectExistsError: a name is taken, and `claims`.
            StorageError: none is left.
        """
        for staged in list(self._storages):
            try:
                action(staged)
            except StorageError as error:
                if claims and isinstance(error, ObjectExistsError):
                    raise
                self.failures[staged.storage.location] = error
                staged.discard()
                self._storages.remove(staged)
                if not self._storages:
                    raise

    def _open(self, kind: Kind[Record]) -> DataFile:
        self._each(lambda staged: staged.stage(kind.name, private=kind.on_request))
        file = self._files[kind.name] = DataFile(partial(self._write, kind.name), compress=self._compress)
        return file

    def _write(self, kind: str, block: bytes) -> None:
        self._each(lambda staged: staged.write(kind, block))

    def add_all(
        self, items: Iterable[Line | Skipped], after_each: Callable[[], None] = lambda: None
    ) -> Iterator[Skipped]:
        """Append records as `add` does. Those that follow another are taken together: there are ten times as many.

        Args:
            items: records, and what could not be read.
            after_each: is called after each record that follows no other.

        Returns:
            What is left out, beside what could not be read at all.
        """
        for item in items:
            if type(item) in _TOGETHER:
                yield from self._wait_with(item)  # type: ignore[arg-type]
                continue
            yield from self.settle()
            if isinstance(item, Skipped):
                yield item
            elif left_out := self.add(item):
                yield left_out
            after_each()
        yield from self.settle()

    def _wait_with(self, line: FollowerLine) -> Iterator[Skipped]:
        self._waiting.append(line)
        self._waiting_size += len(line.line)
        if self._waiting_size >= _MOST_WAITING:  # a trace may have any number of spans
            yield from self.settle()

    def settle(self) -> Iterator[Skipped]:
        """Append what waits for more that follows the same record, so that `stats` has it; what of it is left out."""
        lines, self._waiting, self._waiting_size = self._waiting, [], 0
        return self._add_lines(lines)

    def _add_lines(self, lines: Sequence[FollowerLine]) -> Iterator[Skipped]:
        """Append what follows the record that was added last."""
        if not lines:
            return
        kind, texts = kind_of(lines[0]), [line.line for line in lines]
        is_plain = not self._left_out and max(map(len, texts)) <= bounds.SMALL
        if not is_plain or not self._order.follow(kind, lines):
            yield from filter(None, map(self.add, lines))
            return
        (self._files.get(kind.name) or self._open(kind)).add(*texts)
        for count, number in kind.counts:
            self.stats[count] += sum(map(number, lines))

    def add(self, record: Line) -> Skipped | None:
        """Append a record to the file of its kind.

        Records come in the order of docs/reference/snapshot-format.md; a run's histories come after the run and
        before the next.

        Returns:
            What is left out, with all that belongs to it: a record with more than a reader would take. None: it fits.

        Raises:
            InternalError: the order is broken.
            StorageError: no storage can be written any more.
        """
        kind = kind_of(record)
        self._order.check(kind, record)
        if self._left_out and self._belongs_to_what_is_left_out(kind, record):
            return None
        line = record.to_line()
        if why := bounds.excess(line, bounds.of(kind)) or misnamed(kind, record):
            self._left_out.add((kind.name, kind.key(record)))
            return Skipped(kind=kind.one, id=cut(kind.key(record), 1000), reason=f"{why}: no snapshot can hold it")
        (self._files.get(kind.name) or self._open(kind)).add(line)
        for count, number in kind.counts:
            self.stats[count] += number(record) - self._order.repeated
        if kind.counted_by is not None:
            self._tables[kind.counted_by(record)] += 1
        return None

    def _belongs_to_what_is_left_out(self, kind: Kind[Record], record: Line) -> bool:
        """Whether a record goes with its run or experiment; what belongs to it goes, too."""
        if kind.follows is not None and kind.leader is not None:
            return (kind.follows.name, kind.leader(record)) in self._left_out
        if kind.owner is not None and kind.owned_by is not None:
            belongs_to = kind.owner.name, kind.owned_by(record)
        else:
            belongs_to = EXPERIMENTS.name, "" if kind.experiment is None else kind.experiment(record)
        if belongs_to not in self._left_out:
            return False
        self._left_out.add((kind.name, kind.key(record)))
        return True

    def finish(self) -> dict[str, str]:
        """Close the data files; no record can be added any more.

        Returns:
            The SHA-256 of each kind's content: what two snapshots of the same metadata share.

        Raises:
            StorageError: no storage can be written any more.
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
            StorageError: it could not be written into any storage; nothing is left behind.
        """
        self.finish()
        timestamp = self._claim()
        for kind in self._files:
            if kind != EXPERIMENTS.name:
                self._publish(kind, timestamp)
        complete = fitting(summary).model_copy(
            update={
                "backup_timestamp": timestamp,
                "stats": dict(self.stats),
                "files": dict(self._entries(timestamp)),
                "tables": dict(self._tables),
                "note": summary.note.format(timestamp=timestamp),
            }
        )
        self._confirm(complete)
        size = self._publish_summary(complete)
        for staged in self._storages:
            staged.keep()
        return Committed(
            complete,
            size + sum(entry.bytes for entry in complete.files.values()),
            tuple(staged.storage.location for staged in self._storages),
            dict(self.failures),
        )

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
        """Publish the experiments under a timestamp that nobody has in any storage, and return it.

        It comes after all that were given out in the same moment: the newest is never pruned, so none that was is given
        out again. One far in the future is of a clock that was wrong, and not followed.
        """
        taken: set[str] = set()
        self._each(lambda staged: taken.update(_timestamps(staged.storage)))
        timestamp = layout.timestamp_of(self._started)
        latest = layout.timestamp_of(self._started + MOMENT)
        if same := [found for found in taken if timestamp <= found <= latest]:
            timestamp = layout.next_timestamp(max(same))
        while True:
            if timestamp not in taken and self._try_claim(timestamp):
                return timestamp
            timestamp = layout.next_timestamp(timestamp)

    def _try_claim(self, timestamp: str) -> bool:
        try:
            self._publish(EXPERIMENTS.name, timestamp, claims=True)
            # A backup of the same second that compresses where this one doesn't: both give way.
            self._each(partial(_must_be_alone, timestamp, compressed=not self._compress), claims=True)
        except ObjectExistsError:
            for staged in self._storages:
                staged.withdraw()
            return False
        return True

    def _publish(self, kind: str, timestamp: str, *, claims: bool = False) -> None:
        name, digest = self._name(kind, timestamp), self._files[kind].digest
        self._each(lambda staged: staged.publish(kind, name, digest), claims=claims)

    def _confirm(self, summary: Summary) -> None:
        for entry in summary.files.values():
            digest = Digest(entry.bytes, entry.sha256)
            self._each(partial(_confirm, entry.name, digest))

    def _publish_summary(self, summary: Summary) -> int:
        content = summary.to_bytes()
        name = layout.file_name(layout.SUMMARY, summary.backup_timestamp)
        digest = Digest(len(content), hashlib.sha256(content).hexdigest())

        def publish(staged: StagedStorage) -> None:
            staged.stage(layout.SUMMARY)
            staged.write(layout.SUMMARY, content)
            staged.publish(layout.SUMMARY, name, digest, about(summary))

        self._each(publish)
        return len(content)


def _timestamps(storage: Storage) -> set[str]:
    try:
        return {files.timestamp for files in layout.group(storage.files())}
    except StorageMissingError:
        return set()


def _must_be_alone(timestamp: str, staged: StagedStorage, *, compressed: bool) -> None:
    name = layout.file_name(EXPERIMENTS.name, timestamp, compressed=compressed)
    try:
        staged.storage.open(name).close()
    except ObjectMissingError:
        return
    raise ObjectExistsError(f"{staged.storage.location} has {name}", name=name)


def _confirm(name: str, digest: Digest, staged: StagedStorage) -> None:
    staged.storage.confirm(name, digest)


def utc_now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(timezone.utc)
