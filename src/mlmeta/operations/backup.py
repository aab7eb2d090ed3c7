"""`mlmeta backup`: a snapshot of a store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mlmeta import __version__
from mlmeta.errors import ExitCode, StorageError, StorageMissingError
from mlmeta.exporter.source import Source
from mlmeta.operations.drill import drill
from mlmeta.operations.prune import prune
from mlmeta.operations.result import Issue, Result
from mlmeta.operations.stores import DEFAULT_JOBS, Store, open_snapshot, open_source
from mlmeta.progress import Progress, Silent
from mlmeta.restorer.verification import Comparison
from mlmeta.schema import FileEntry, Selection, Skipped, Summary
from mlmeta.snapshot.catalog import State, describe, file_sets, read_summary
from mlmeta.snapshot.retention import Rules
from mlmeta.snapshot.writer import Committed, SnapshotWriter, utc_now
from mlmeta.storage import Storage, open_storage

NOTE = (
    "Metadata of an MLflow server: experiments, runs, metrics, params, tags, model registry. "
    "Artifacts and model files are not in here. Restore it with `mlmeta restore --timestamp {timestamp}`."
)


class BackupResult(Result):
    """What a backup made.

    Args:
        timestamp: the snapshot's name.
        source: where it was taken from, without credentials.
        storages: where it is now.
        failures: why it is not in the other storages, by their location.
        stats: counts by kind.
        files: the data files by kind.
        size: bytes of all files, the summary included.
        seconds: how long it took.
        experiments: the names it was limited to; empty: everything.
        skipped: what the source has and the snapshot lacks.
        unchanged_since: the snapshot that holds the very same already (`if_changed`): none was written.
        drill: what a trial restore into a throwaway database gave back; None where that was not asked for.
        pruned: timestamps that retention removed, by storage.
        unpruned: why retention failed, by storage; the new snapshot is complete all the same.
        dry_run: whether nothing was written: then there is no timestamp, and no storage.
    """

    timestamp: str
    source: str
    storages: tuple[str, ...]
    failures: dict[str, Issue] = {}
    stats: dict[str, int]
    files: dict[str, FileEntry] = {}
    size: int
    seconds: float
    experiments: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    unchanged_since: str = ""
    drill: Comparison | None = None
    pruned: dict[str, tuple[str, ...]] = {}
    unpruned: dict[str, str] = {}
    dry_run: bool = False

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What was not saved, and where retention failed."""
        skipped = [Issue(code="not_saved", message=f"{s.kind} {s.id}: {s.reason}") for s in self.skipped]
        unpruned = [Issue(code="not_pruned", message=f"{place}: {why}") for place, why in self.unpruned.items()]
        failures = self.failures.values()
        differences = self.drill.differences if self.drill else ()
        return (*failures, *skipped, *unpruned, *(Issue(code="different", message=str(d)) for d in differences))

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where the drill failed, `INCOMPLETE` where there are other issues."""
        if self.drill is not None and not self.drill.is_equal:
            return ExitCode.DIFFERENT
        return ExitCode.INCOMPLETE if self.issues else ExitCode.DONE


def backup(
    tracking_uri: str,
    storages: Sequence[str] = ("backups",),
    *,
    experiments: Sequence[str] = (),
    registry_uri: str | None = None,
    jobs: int = DEFAULT_JOBS,
    compress: bool = False,
    if_changed: bool = False,
    keep: Rules | None = None,
    with_drill: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> BackupResult:
    """Save the metadata of a store as a snapshot.

    Args:
        tracking_uri: the MLflow server or store.
        storages: where the snapshot goes: folders or ``gs://bucket/prefix``.
        experiments: names to limit it to; none: everything.
        registry_uri: of the model registry; None: as MLflow resolves it.
        jobs: requests under way at once.
        compress: gzip the data files.
        if_changed: write nothing if the newest snapshot of the same source holds the very same, in every storage.
        keep: afterwards remove the snapshots that these rules don't keep.
        with_drill: restore the new snapshot into a throwaway database, and compare; nothing is pruned if it differs.
        dry_run: read everything, write nothing.
        progress: told how far it is.

    Raises:
        UsageError: no storage or tracking URI, or an experiment that does not exist.
        ConnectionFailedError: the store can't be read.
        StorageError: no snapshot could be written; nothing is left behind.
    """
    progress = progress or Silent()
    places = [] if dry_run else [open_storage(location) for location in dict.fromkeys(storages)]
    started = utc_now()
    with open_source(Store(tracking_uri, registry_uri, jobs)) as source:
        uri = source.info.uri  # a store that can't be read is told before a storage is touched
        _expect_as_before(source, places, tuple(experiments), progress)
        with SnapshotWriter(places, started, compress=compress) as writer:
            skipped = _read(source, writer, Selection(experiments=tuple(experiments)), progress)
            summary = _summary(source, started, tuple(experiments), skipped)
            progress.phase("writing the snapshot")
            same = _same_as(places, summary, writer.finish()) if if_changed else ""
            done = Committed(summary, 0) if dry_run or same else writer.commit(summary)
            stats = dict(writer.stats)
    timestamp = done.summary.backup_timestamp
    proof = drill(open_snapshot(done.storages[0], timestamp), progress) if with_drill and timestamp else None
    good = proof is None or proof.is_equal
    pruned, unpruned = _prune(done.storages, keep) if keep and good and not dry_run else ({}, {})
    return BackupResult(
        timestamp=timestamp,
        unchanged_since=same,
        source=uri,
        storages=done.storages,
        failures={place: _failure(place, error, timestamp) for place, error in done.failures.items()},
        stats=stats,
        files=done.summary.files,
        size=done.size,
        seconds=(utc_now() - started).total_seconds(),
        experiments=tuple(experiments),
        skipped=skipped,
        warnings=summary.warnings,
        drill=proof,
        pruned=pruned,
        unpruned=unpruned,
        dry_run=dry_run,
    )


def _read(source: Source, writer: SnapshotWriter, selection: Selection, progress: Progress) -> tuple[Skipped, ...]:
    skipped = []
    for item in source.read(selection, progress):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            writer.add(item)
    return tuple(skipped)


def _summary(source: Source, started: datetime, experiments: tuple[str, ...], skipped: tuple[Skipped, ...]) -> Summary:
    info = source.info
    return Summary(
        backup_timestamp="",
        backup_date=started.isoformat(timespec="seconds"),
        mlflow_uri=info.uri,
        stats={},
        files={},
        note=NOTE,
        mlmeta_version=__version__,
        mlflow_client_version=info.client_version,
        mlflow_server_version=info.server_version,
        source_kind=info.kind,
        started=_milliseconds(started),
        finished=_milliseconds(utc_now()),
        point_in_time=info.point_in_time,
        experiments=experiments,
        warnings=source.warnings(),
        skipped=skipped,
    )


def _failure(place: str, error: StorageError, timestamp: str) -> Issue:
    hint = f"{error.hint}; then heal it with `mlmeta copy {timestamp} --from … --to {place}`"
    return Issue(code="not_stored", message=f"{place} has no snapshot: {error}", hint=hint)


def _prune(places: Sequence[str], keep: Rules) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    pruned, unpruned = {}, {}
    for place in places:
        try:
            found = prune(place, keep)
            pruned[place] = tuple(d.timestamp for d in found.snapshots if not d.keep)
        except StorageError as error:
            unpruned[place] = str(error)
    return pruned, unpruned


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _expect_as_before(
    source: Source, places: Sequence[Storage], experiments: tuple[str, ...], progress: Progress
) -> None:
    """A server doesn't say how much it has: expect what the newest snapshot of it holds."""
    if isinstance(progress, Silent) or not places:
        return
    try:
        before = newest(places[0], source.info.uri, experiments)
    except StorageError:  # writing will fail there too, and be named
        return
    for unit, stat in (("runs", "runs"), ("metric points", "metric_points"), ("models", "models")):
        if before is not None and before.stats.get(stat):
            progress.expect(unit, before.stats[stat])


def _same_as(places: Sequence[Storage], summary: Summary, content: dict[str, str]) -> str:
    """The newest snapshot of the same source, where it holds the very same content; empty: something changed."""
    timestamp = ""
    for place in places:
        try:
            before = newest(place, summary.mlflow_uri, summary.experiments)
        except StorageError:  # writing will fail there too, and be named; the others get a snapshot
            return ""
        if before is None or before.skipped != summary.skipped:
            return ""
        if {kind: entry.content_sha256 for kind, entry in before.files.items()} != content:
            return ""
        timestamp = before.backup_timestamp
    return timestamp


def newest(storage: Storage, source: str, experiments: tuple[str, ...]) -> Summary | None:
    """The summary of the newest usable snapshot of a source; None where there is none.

    Args:
        storage: where to look.
        source: URI without credentials.
        experiments: what it was limited to.
    """
    try:
        sets = file_sets(storage)
    except StorageMissingError:
        return None
    for files in sets:
        info = describe(storage, files, 0)
        if (info.source, info.experiments) == (source, experiments) and info.state in {State.COMPLETE, State.PARTIAL}:
            return read_summary(storage, files)
    return None
