"""`mlmeta backup`: a snapshot of a store."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from datetime import timedelta

from mlmeta.commands.drill import drill
from mlmeta.commands.incremental import FULL_EVERY
from mlmeta.commands.previous import SHRINK_LIMIT, is_empty, look
from mlmeta.commands.prune import prune
from mlmeta.commands.result import Issue, Result
from mlmeta.commands.saving import Wish, expect_as_before, save
from mlmeta.errors import ExitCode, MlmetaError, RestoreError, SnapshotError, StorageError
from mlmeta.progress import Progress, Silent
from mlmeta.schema import FileEntry, Skipped, several
from mlmeta.snapshot.retention import Rules
from mlmeta.snapshot.writer import utc_now
from mlmeta.storage import open_storage
from mlmeta.stores.address import require_text
from mlmeta.stores.opening import DEFAULT_JOBS, THREADS, Store, identity_of, open_snapshot, open_source
from mlmeta.stores.verification import Comparison

_NO_GOOD = "not_restorable"
"""Code of the issue that a trial restore did not succeed, for the snapshot's own sake."""
_NO_PRUNE = ": the snapshot is kept, marked, and prunes nothing"
_SHRUNKEN = (
    "check whether the store lost something, and what this user may see; if the decrease is right, save once with "
    "--shrink-limit 0, which makes it the new measure"
)


class BackupResult(Result):
    """What a backup made.

    Args:
        timestamp: the snapshot's name.
        source: where it was taken from, without credentials.
        source_id: which store that is, whatever text named it.
        label: the name that was given to it; empty: none.
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
        undrilled: why it came to nothing.
        pruned: timestamps that retention removed, by storage.
        unpruned: why retention failed, by storage; the new snapshot is complete all the same.
        dry_run: whether nothing was written: then there is no timestamp, and no storage.
        shrunken: what the new snapshot lacks of the newest before, where that is suspicious.
        incremental_base: the snapshot that unchanged metric histories were taken from; empty: all were read.
    """

    timestamp: str
    source: str
    source_id: str = ""
    label: str = ""
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
    undrilled: Issue | None = None
    pruned: dict[str, tuple[str, ...]] = {}
    unpruned: dict[str, str] = {}
    dry_run: bool = False
    shrunken: str = ""
    incremental_base: str = ""

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What was not saved, and where retention failed."""
        suspicion = [Issue(code="shrunken", message=f"it has {self.shrunken}{_NO_PRUNE}", hint=_SHRUNKEN)]
        skipped = [Issue(code="not_saved", message=f"{s.kind} {s.id}: {s.reason}") for s in self.skipped]
        unpruned = [Issue(code="not_pruned", message=f"{place}: {why}") for place, why in self.unpruned.items()]
        differences = self.drill.differences if self.drill else ()
        different = [Issue(code="different", message=str(d)) for d in differences]
        return (
            *self.failures.values(),
            *(suspicion if self.shrunken else ()),
            *skipped,
            *unpruned,
            *different,
            *([self.undrilled] if self.undrilled else ()),
        )

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where the drill failed, `INCOMPLETE` where there are other issues."""
        if (self.drill is not None and not self.drill.is_equal) or (self.undrilled and self.undrilled.code == _NO_GOOD):
            return ExitCode.DIFFERENT
        return ExitCode.INCOMPLETE if self.issues else ExitCode.DONE


def backup(
    tracking_uri: str,
    storages: str | Sequence[str] = ("backups",),
    *,
    experiments: str | Sequence[str] = (),
    registry_uri: str | None = None,
    jobs: int = DEFAULT_JOBS,
    executor: str | Executor = THREADS,
    compress: bool = False,
    if_changed: bool = False,
    incremental: bool = False,
    full_every: timedelta = FULL_EVERY,
    label: str = "",
    shrink_limit: int = SHRINK_LIMIT,
    keep: Rules | None = None,
    with_drill: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> BackupResult:
    """Save the metadata of a store as a snapshot.

    Args:
        tracking_uri: the MLflow server or store.
        storages: where the snapshot goes: a folder or ``gs://bucket/prefix``, or several.
        experiments: a name to limit it to, or several; none: everything.
        registry_uri: of the model registry; None: as MLflow resolves it.
        jobs: requests under way at once.
        executor: see `Store`.
        compress: gzip the data files.
        if_changed: write nothing if the newest snapshot of the same source holds the very same, in every storage.
        incremental: take metric histories that can't have changed from the newest snapshot of the same source.
        full_every: read all of them all the same where that was longer ago.
        label: a name for the source, where its address changes or says too little: snapshots with the same label
            are of one source, for retention, `latest`, `if_changed` and `incremental`.
        shrink_limit: percent of the experiments, runs or models in the newest snapshot of the source, below which the
            new one is suspected to lack some: it is kept and marked, and nothing is pruned. 0: it never is.
        keep: afterwards remove the snapshots of this source, and limited as this one, that these rules don't keep; not
            where the new one is suspected, or empty.
        with_drill: restore the new snapshot into a throwaway database, and compare; nothing is pruned if it differs.
        dry_run: read everything, write nothing.
        progress: told how far it is.

    Raises:
        UsageError: no storage or tracking URI, or an experiment that does not exist.
        ConnectionFailedError: the store can't be read.
        StorageError: no snapshot could be written; nothing is left behind.
    """
    progress = progress or Silent()
    require_text(label, "--label")
    places = [] if dry_run else [open_storage(location) for location in dict.fromkeys(several(storages))]
    started = utc_now()
    store = Store(tracking_uri, registry_uri, jobs, executor)
    with open_source(store) as source:
        info = source.info  # a store that can't be read is told before a storage is touched
        wish = Wish(
            started=started,
            source_id=identity_of(store, info),
            label=label,
            experiments=tuple(sorted(set(several(experiments)))),  # in any order, they are the same limit
            compress=compress,
            if_changed=if_changed,
            dry_run=dry_run,
            full_every=full_every if incremental else None,
            shrink_limit=shrink_limit,
        )
        before = look(places, wish.identity, wish.experiments)
        expect_as_before(before, progress)
        saved = save(source, places, wish, before, progress)
    done = saved.committed
    timestamp = done.summary.backup_timestamp
    proof, undrilled = _drilled(done.storages[0], timestamp, progress) if with_drill and timestamp else (None, None)
    good = not (done.summary.shrunken or is_empty(saved.stats) or undrilled) and (proof is None or proof.is_equal)
    measured = {one.place.location for one in before}
    pruned, unpruned = _prune(done.storages, measured, keep, timestamp) if keep and good and not dry_run else ({}, {})
    return BackupResult(
        timestamp=timestamp,
        unchanged_since=saved.unchanged_since,
        source=info.uri,
        source_id=wish.source_id,
        label=label,
        storages=done.storages,
        failures={place: _failure(place, error, timestamp) for place, error in done.failures.items()},
        stats=saved.stats,
        files=done.summary.files,
        size=done.size,
        seconds=(utc_now() - started).total_seconds(),
        experiments=wish.experiments,
        skipped=done.summary.skipped,
        warnings=done.summary.warnings,
        drill=proof,
        undrilled=undrilled,
        pruned=pruned,
        unpruned=unpruned,
        dry_run=dry_run,
        shrunken=done.summary.shrunken,
        incremental_base=done.summary.incremental_base,
    )


def _failure(place: str, error: StorageError, timestamp: str) -> Issue:
    hint = f"{error.hint}; then add it with `mlmeta copy {timestamp} --from … --to {place}`"
    return Issue(code="not_stored", message=f"{place} has no snapshot: {error}", hint=hint)


def _drilled(place: str, timestamp: str, progress: Progress) -> tuple[Comparison | None, Issue | None]:
    """What a trial restore gave back, or why it came to nothing. The snapshot is there either way."""
    try:
        return drill(open_snapshot(place, timestamp), progress), None
    except (SnapshotError, RestoreError) as error:
        return None, _undrilled(_NO_GOOD, timestamp, error, error.hint)
    except MlmetaError as error:
        return None, _undrilled("not_tried", timestamp, error, error.hint)
    except OSError as error:
        return None, _undrilled("not_tried", timestamp, error, "free some space in TMPDIR, or set it to another folder")


def _undrilled(code: str, timestamp: str, error: Exception, hint: str) -> Issue:
    again = f"the snapshot was made; repeat the trial with `mlmeta verify --drill {timestamp}`"
    return Issue(
        code=code, message=f"the trial restore of {timestamp} failed: {error}", hint=f"{hint}; {again}".lstrip("; ")
    )


def _prune(
    places: Sequence[str], measured: AbstractSet[str], keep: Rules, made: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    pruned, unpruned = {}, {}
    for place in places:
        if place not in measured:
            unpruned[place] = "whether the new snapshot is shrunken is unknown, as earlier ones could not be read"
            continue
        try:
            found = prune(place, keep, spare=made, like=made)
            pruned[place] = tuple(d.timestamp for d in found.snapshots if not d.keep)
        except StorageError as error:
            unpruned[place] = str(error)
    return pruned, unpruned
