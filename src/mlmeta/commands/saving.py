"""Reads a source and writes the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlmeta import __version__
from mlmeta.commands.incremental import fully_read, read_along, serves
from mlmeta.commands.previous import Before, is_empty, shrunken
from mlmeta.errors import BaseSnapshotError
from mlmeta.progress import Progress, Silent
from mlmeta.schema import Selection, Skipped, Summary
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.writer import Committed, SnapshotWriter, utc_now
from mlmeta.storage import Storage
from mlmeta.stores.source import Source

NOTE = (
    "Metadata of an MLflow server: experiments, runs, metrics, params, tags, model registry. "
    "Artifacts and model files are not in here. Restore it with `mlmeta restore --timestamp {timestamp}`."
)
EMPTY = "the snapshot is empty: the store has no runs and no registered models, or does not show them to this user"


@dataclass(frozen=True)
class Wish:
    """What is to be saved, and how.

    Args:
        started: when the backup began.
        source_id: which store is read: see `stores.identity_of`.
        label: the name that a person gave it; empty: none.
        experiments: names to limit it to; none: everything.
        compress: gzip the data files.
        if_changed: write nothing if the newest snapshots hold the very same.
        dry_run: read everything, write nothing.
        full_every: how old the last full read may be, for a snapshot to build on; None: all is read.
        shrink_limit: percent of what the newest snapshot has, below which the new one is suspected to lack some.
    """

    started: datetime
    source_id: str
    label: str
    experiments: tuple[str, ...]
    compress: bool
    if_changed: bool
    dry_run: bool
    full_every: timedelta | None
    shrink_limit: int

    @property
    def identity(self) -> str:
        """What the snapshots of this source share: see `Summary.identity`."""
        return self.label or self.source_id


@dataclass(frozen=True)
class Saved:
    """What came of it.

    Args:
        committed: the summary, and where it is; without a timestamp where nothing was written.
        stats: counts by kind.
        unchanged_since: the snapshot that holds the very same already.
    """

    committed: Committed
    stats: dict[str, int]
    unchanged_since: str = ""


def save(source: Source, places: Sequence[Storage], wish: Wish, before: Sequence[Before], progress: Progress) -> Saved:
    """Read a source into new snapshots.

    Args:
        source: the store.
        places: where the snapshot goes.
        wish: what is to be saved.
        before: what they have of the same source. Where what it builds on can't be read, all is read again.
        progress: told how far it is.

    Raises:
        MlmetaError: nothing was saved, and nothing is left behind.
    """
    how = _How(places, wish, before)
    base = _base(before, wish)
    if base is None:
        return _save(source, how, None, (), progress)
    try:
        return _save(source, how, base, (), progress)
    except BaseSnapshotError as error:
        return _save(source, how, None, (f"{error}; all histories were read",), progress)


@dataclass(frozen=True)
class _How:
    places: Sequence[Storage]
    wish: Wish
    before: Sequence[Before]


def _base(before: Sequence[Before], wish: Wish) -> Snapshot | None:
    """The newest snapshot of the source in the first storage that has one; None where all histories have to be read."""
    if wish.full_every is None:
        return None
    for one in before:
        if one.summary is not None:
            good = serves(one.summary, wish.started, wish.full_every)
            return Snapshot(one.place, one.summary) if good else None
    return None


def _save(source: Source, how: _How, base: Snapshot | None, warnings: tuple[str, ...], progress: Progress) -> Saved:
    wish = how.wish
    with SnapshotWriter(how.places, wish.started, compress=wish.compress) as writer:
        skipped = _read(source, writer, Selection(experiments=wish.experiments), base, progress)
        notes = [*warnings, *source.warnings()]
        if is_empty(writer.stats):
            notes.append(EMPTY)
        summary = _summary(source, wish, base, skipped, tuple(notes))
        summary = summary.model_copy(update={"shrunken": shrunken(writer.stats, how.before, wish.shrink_limit)})
        progress.phase("writing the snapshot")
        same = _same_as(how, summary, writer.finish()) if wish.if_changed else ""
        done = Committed(summary, 0) if wish.dry_run or same else writer.commit(summary)
        return Saved(done, dict(writer.stats), same)


def _read(
    source: Source, writer: SnapshotWriter, selection: Selection, base: Snapshot | None, progress: Progress
) -> tuple[Skipped, ...]:
    skipped = []
    for item in read_along(source, selection, base, progress):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif left_out := writer.add(item):
            skipped.append(left_out)
    return tuple(skipped)


def _summary(
    source: Source, wish: Wish, base: Snapshot | None, skipped: tuple[Skipped, ...], warnings: tuple[str, ...]
) -> Summary:
    info = source.info
    started = milliseconds(wish.started)
    return Summary(
        backup_timestamp="",
        backup_date=wish.started.isoformat(timespec="seconds"),
        mlflow_uri=info.uri,
        stats={},
        files={},
        note=NOTE,
        mlmeta_version=__version__,
        mlflow_client_version=info.client_version,
        mlflow_server_version=info.server_version,
        source_kind=info.kind,
        started=started,
        finished=milliseconds(utc_now()),
        point_in_time=info.point_in_time,
        experiments=wish.experiments,
        incremental_base=base.timestamp if base is not None else "",
        fully_read=fully_read(base.summary) if base is not None else started,
        source_id=wish.source_id,
        label=wish.label,
        warnings=warnings,
        skipped=skipped,
    )


def milliseconds(moment: datetime) -> int:
    """A moment as MLflow counts, since the epoch."""
    return int(moment.timestamp() * 1000)


def expect_as_before(before: Sequence[Before], progress: Progress) -> None:
    """A server doesn't say how much it has: expect what the newest snapshot of it holds."""
    if isinstance(progress, Silent) or not before or before[0].summary is None:
        return
    for unit, stat in (("runs", "runs"), ("metric points", "metric_points"), ("models", "models")):
        if count := before[0].summary.stats.get(stat):
            progress.expect(unit, count)


def _same_as(how: _How, summary: Summary, content: dict[str, str]) -> str:
    """The newest snapshot of the same source, where it holds the very same content in every storage; else empty.

    That of a store that lost something is the newest shrunken one: on schedule, one of a kind is enough.
    """
    timestamp = ""
    for one in how.before:
        before = one.suspect if summary.shrunken else one.summary
        if before is None or before.skipped != summary.skipped:
            return ""
        if {kind: entry.content_sha256 for kind, entry in before.files.items()} != content:
            return ""
        timestamp = before.backup_timestamp
    return timestamp if len(how.before) == len(how.places) else ""
