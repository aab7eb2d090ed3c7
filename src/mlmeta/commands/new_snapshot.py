"""A new snapshot of a store: read, and written into its storages, unless they have its content already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mlmeta import __version__
from mlmeta.commands.previous import Previous, fully_read, is_empty, read_along, serves, shrunken
from mlmeta.errors import BaseSnapshotError, StorageError
from mlmeta.progress import Progress
from mlmeta.schema import Lineage, Selection, Skipped, Summary
from mlmeta.schema.summary import Acceptance
from mlmeta.schema.words import amount
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.writer import SnapshotWriter, utc_now
from mlmeta.storage import Storage
from mlmeta.stores.source import Source

NOTE = (
    "Metadata of an MLflow server: experiments, runs, metrics, params, tags, model registry. "
    "Artifacts and model files are not in here. Restore it with `mlmeta restore --timestamp {timestamp}`."
)
EMPTY = "the snapshot is empty: the store has no runs and no registered models, or does not show them to this user"
_SELDOM = 50
"""Records that others may follow, after which it is told how many there are."""


@dataclass(frozen=True)
class Request:
    """What is to be saved, and how.

    Args:
        places: where the snapshot goes.
        previous: what they have of the same source.
        started: when the backup began.
        source_id: which store is read: see `stores.identity_of`.
        label: the name that a person gave it; empty: none.
        tags: that the snapshot is given.
        accepted: what may be missing.
        limit: what of the source is saved.
        tables: that are saved beside it, whatever they are.
        compress: gzip the data files.
        if_changed: write nothing if the newest snapshots have the same content.
        dry_run: read everything, write nothing.
        full_every: how old the last full read may be, for a snapshot to build on; None: all is read.
        shrink_limit: percent of what the newest snapshot has, below which the new one is suspected to lack some.
        lineage: which guard saves the store, if one does.
    """

    places: Sequence[Storage]
    previous: Sequence[Previous]
    started: datetime
    source_id: str
    label: str
    tags: dict[str, str]
    accepted: Acceptance
    limit: Selection
    tables: tuple[str, ...]
    compress: bool
    if_changed: bool
    dry_run: bool
    full_every: timedelta | None
    shrink_limit: int
    lineage: Lineage


@dataclass(frozen=True)
class Saved:
    """What came of it.

    Args:
        summary: of what was read; without a timestamp and files where nothing was written.
        stats: counts by kind.
        unchanged_since: the snapshot that has the same content already.
        storages: locations where the new snapshot is.
        failures: why it is not in the other storages, by their location.
        size: bytes of all its files.
    """

    summary: Summary
    stats: dict[str, int]
    unchanged_since: str = ""
    storages: tuple[str, ...] = ()
    failures: dict[str, StorageError] = field(default_factory=dict)
    size: int = 0


def save(source: Source, request: Request, progress: Progress) -> Saved:
    """Read a source into a new snapshot. Where the one that it builds on can't be read, all is read again.

    Raises:
        MlmetaError: nothing was saved, and nothing is left behind.
    """
    base = _base(request)
    if base is None:
        return _save_on(None, source, request, (), progress)
    try:
        return _save_on(base, source, request, (), progress)
    except BaseSnapshotError as error:
        return _save_on(None, source, request, (f"{error}; all histories were read",), progress)


def _base(request: Request) -> Snapshot | None:
    """The newest snapshot of the source in the first storage that has one; None where all histories have to be read."""
    if request.full_every is None:
        return None
    for one in request.previous:
        if one.summary is not None:
            good = serves(one.summary, request.started, request.full_every)
            return Snapshot(one.place, one.summary) if good else None
    return None


def _save_on(
    base: Snapshot | None, source: Source, request: Request, warnings: tuple[str, ...], progress: Progress
) -> Saved:
    with SnapshotWriter(
        [] if request.dry_run else request.places, request.started, compress=request.compress
    ) as writer:
        skipped = _read(source, writer, replace(request.limit, tables=request.tables), base, progress)
        notes = [*warnings, *source.warnings()]
        if is_empty(writer.stats):
            notes.append(EMPTY)
        notes += _more_accepted(request, skipped)
        lacking = shrunken(writer.stats, request.previous, request.shrink_limit)
        summary = _summary(source, request, base).model_copy(
            update={
                "skipped": skipped,
                "accepted": request.accepted.used(skipped),
                "warnings": tuple(notes),
                "shrunken": lacking,
            }
        )
        progress.phase("writing the snapshot")
        stats = dict(writer.stats)
        if same := _same_as(request, summary, writer.finish()) if request.if_changed else "":
            return Saved(summary, stats, unchanged_since=same)
        if request.dry_run:
            return Saved(summary, stats)
        done = writer.commit(summary)
        return Saved(done.summary, stats, storages=done.storages, failures=done.failures, size=done.size)


def _read(
    source: Source, writer: SnapshotWriter, selection: Selection, base: Snapshot | None, progress: Progress
) -> tuple[Skipped, ...]:
    counted = CountedProgress(progress, writer)
    skipped = [*writer.add_all(read_along(source, selection, base, counted), counted.now_and_then)]
    counted.tell()
    return (*skipped, *counted.skipped)


class CountedProgress:
    """Progress of a backup: passes on the phases of a source; how much there is, the writer counts.

    `skipped` is what it came upon that the writer leaves out.
    """

    def __init__(self, progress: Progress, writer: SnapshotWriter) -> None:
        """Begin with nothing told.

        Args:
            progress: that listens.
            writer: of the snapshot that is being made.
        """
        self.skipped: list[Skipped] = []
        self._progress = progress
        self._writer = writer
        self._told: Counter[str] = Counter()
        self._calls = 0

    def phase(self, name: str) -> None:
        """What was read up to now belongs to the phase before."""
        self.skipped += self._writer.settle()
        self.tell()
        self._progress.phase(name)

    def expect(self, unit: str, total: int) -> None:
        """See `Progress.expect`."""
        self._progress.expect(unit, total)

    def advance(self, unit: str, amount: int = 1) -> None:
        """See `Progress.advance`: the writer counts."""

    def now_and_then(self) -> None:
        """Tell what was counted, once in many calls."""
        self._calls += 1
        if not self._calls % _SELDOM:
            self.tell()

    def tell(self) -> None:
        """Tell what was counted since the last time."""
        for unit, count in self._writer.stats.items():
            if more := count - self._told[unit]:
                self._told[unit] = count
                self._progress.advance(unit.replace("_", " "), more)


def _more_accepted(request: Request, skipped: Sequence[Skipped]) -> Iterator[str]:
    """That more is missing than before, where no exit code tells it: what is accepted was known, what is new is not."""
    summaries = [one.summary for one in request.previous if one.summary is not None]
    if summaries:
        last = max(summaries, key=lambda summary: summary.backup_timestamp)
        now, before = (sum(request.accepted.covers(s.kind, s.id) for s in all_) for all_ in (skipped, last.skipped))
        if now > before:
            yield f"accepted as missing: {amount(now, 'things')}, where {last.backup_timestamp} lacks {before:,}"


def _summary(source: Source, request: Request, base: Snapshot | None) -> Summary:
    info = source.info
    started = _milliseconds(request.started)
    return Summary(
        backup_timestamp="",
        backup_date=request.started.isoformat(timespec="seconds"),
        mlflow_uri=info.uri,
        stats={},
        files={},
        note=NOTE,
        mlmeta_version=__version__,
        mlflow_client_version=info.client_version,
        mlflow_server_version=info.server_version,
        source_kind=info.kind,
        started=started,
        finished=_milliseconds(utc_now()),
        point_in_time=info.point_in_time,
        experiments=request.limit.experiments,
        workspaces=request.limit.workspaces,
        without=request.limit.without,
        incremental_base=base.timestamp if base is not None else "",
        fully_read=fully_read(base.summary) if base is not None else started,
        source_id=request.source_id,
        label=request.label,
        tags=request.tags,
        auth_uri=info.auth.uri if info.auth is not None else "",
        auth_revision=info.auth.revision if info.auth is not None else "",
        epoch=request.lineage.epoch,
        includes=dict(request.lineage.includes),
    )


def _milliseconds(moment: datetime) -> int:
    """A moment as MLflow counts, since the epoch."""
    return int(moment.timestamp() * 1000)


def _same_as(request: Request, summary: Summary, content: dict[str, str]) -> str:
    """The newest snapshot of the same source, where it has the same content in every storage; else empty.

    That of a store that lost something is the newest shrunken one: on schedule, one of a kind is enough.
    """
    timestamp = ""
    for one in request.previous:
        last = one.suspect if summary.shrunken else one.summary
        if last is None or (last.skipped, last.gaps) != (summary.skipped, summary.gaps):
            return ""
        if not summary.tags.items() <= last.tags.items():
            return ""
        if {kind: entry.content_sha256 for kind, entry in last.files.items()} != content:
            return ""
        timestamp = last.backup_timestamp
    return timestamp if len(request.previous) == len(request.places) else ""
