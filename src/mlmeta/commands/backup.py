"""`mlmeta backup`: a snapshot of a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta

from mlmeta.commands.absent import require_something
from mlmeta.commands.hashes import require_local
from mlmeta.commands.new_snapshot import Request, save
from mlmeta.commands.previous import FULL_EVERY, SHRINK_LIMIT, Previous, is_empty, previous_in
from mlmeta.commands.prune import could_be, retain
from mlmeta.commands.result import Issue, Result
from mlmeta.commands.verify import drill
from mlmeta.errors import ExitCode, MlmetaError, RestoreError, SnapshotError, StorageError, UsageError
from mlmeta.metrics import LAST_DRILL, LAST_SAVED, PRUNED, SNAPSHOT_BYTES, SNAPSHOT_RECORDS, SNAPSHOT_SKIPPED, Sample
from mlmeta.notebook import Row
from mlmeta.progress import CONNECTING, Progress, Silent
from mlmeta.schema import KINDS, FileEntry, Lineage, Names, Selection, Skipped, several
from mlmeta.schema.summary import Acceptance, checked_tags
from mlmeta.schema.words import counts
from mlmeta.snapshot.retention import Rules
from mlmeta.snapshot.writer import utc_now
from mlmeta.storage import Location, Locations, distinct, open_storage
from mlmeta.stores.address import require_text
from mlmeta.stores.gaps import acceptance
from mlmeta.stores.opening import DEFAULT_JOBS, THREADS, Store, identity_of, open_snapshot, open_source, registry_of
from mlmeta.stores.proof import Comparison

_NO_GOOD = "not_restorable"
"""Code of the issue that a trial restore failed because of the snapshot itself."""
_NO_PRUNE = ": the snapshot is kept, marked, and prunes nothing"
_SHRUNKEN = (
    "check whether the store lost something, and what this user may see; if the decrease is right, save once with "
    "--shrink-limit 0, which makes it the new measure"
)


class BackupResult(Result):
    """What a backup saved.

    Args:
        timestamp: the snapshot's name.
        source: where it was taken from, without credentials.
        source_id: which store that is, whatever text named it.
        label: the name that was given to it; empty: none.
        tags: that were given to the snapshot.
        storages: where it is now.
        failures: why it is not in the other storages, by their location.
        stats: counts by kind.
        files: the data files by kind.
        size: bytes of all files, the summary included.
        seconds: how long it took.
        experiments: the names it was limited to; empty: everything.
        workspaces: likewise, ``default`` for the default one.
        without: the kinds and groups that it leaves out on request; empty: none.
        skipped: what the source has and the snapshot lacks.
        accepted: words for those kinds of it that may be missing.
        unchanged_since: the snapshot that has the same content already (`if_changed`): none was written.
        drill: what a trial restore into a throwaway database gave back; None where that was not asked for.
        undrilled: why it came to nothing.
        pruned: timestamps that retention removed, by storage; in a dry run, that it would remove.
        unpruned: why retention failed, by storage; the new snapshot is complete all the same.
        dry_run: whether nothing was written: then there is no timestamp, and no storage.
        shrunken: what the new snapshot lacks of the newest before, where that is suspicious.
        incremental_base: the snapshot that unchanged metric histories were taken from; empty: all were read.
        auth: the database that users and permissions of basic-auth were taken from, without credentials; empty: they
            were not asked for.
    """

    timestamp: str
    source: str
    source_id: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    storages: tuple[str, ...]
    failures: dict[str, Issue] = {}
    stats: dict[str, int]
    files: dict[str, FileEntry] = {}
    size: int
    seconds: float
    experiments: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    accepted: tuple[str, ...] = ()
    unchanged_since: str = ""
    drill: Comparison | None = None
    undrilled: Issue | None = None
    pruned: dict[str, tuple[str, ...]] = {}
    unpruned: dict[str, str] = {}
    dry_run: bool = False
    shrunken: str = ""
    incremental_base: str = ""
    auth: str = ""

    @property
    def headline(self) -> str:
        """The snapshot's name, what it holds, and where it is."""
        if self.unchanged_since:
            return f"nothing has changed since {self.unchanged_since}"
        if self.dry_run:
            return f"dry run: {counts(self.stats)}"
        return f"{self.timestamp}: {counts(self.stats)} in {', '.join(self.storages)}"

    def entries(self) -> Iterator[Row]:
        """How much of each kind."""
        return ({"kind": name.replace("_", " "), "saved": count} for name, count in self.stats.items())

    @property
    def gaps(self) -> tuple[Skipped, ...]:
        """What the source has and the snapshot lacks, without what may be missing."""
        return Acceptance(self.accepted).gaps(self.skipped)

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What was not saved, and where retention failed."""
        suspicion = [Issue(code="shrunken", message=f"it has {self.shrunken}{_NO_PRUNE}", hint=_SHRUNKEN)]
        skipped = [Issue(code="not_saved", message=f"{s.kind} {s.id}: {s.reason}") for s in self.gaps]
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

    def measures(self, ended: float) -> tuple[Sample, ...]:
        """When and how well the source was saved, and how much of it there is; nothing where nothing was written."""
        if self.dry_run:
            return ()
        kinds = sorted(self.stats.items())
        return (
            Sample(LAST_SAVED, ended - self.seconds),
            *(Sample(SNAPSHOT_RECORDS, count, (("kind", kind),)) for kind, count in kinds),
            Sample(SNAPSHOT_SKIPPED, len(self.gaps)),
            *([] if self.unchanged_since else [Sample(SNAPSHOT_BYTES, self.size)]),
            *([Sample(LAST_DRILL, ended)] if self.drill is not None and self.drill.is_equal else []),
            *([Sample(PRUNED, sum(map(len, self.pruned.values())))] if self.pruned else []),
        )


def backup(
    tracking_uri: Location,
    storages: Locations = ("backups",),
    *,
    experiments: Names = (),
    workspaces: Names = (),
    without: Names = (),
    tables: Names = (),
    registry_uri: Location | None = None,
    auth_uri: str = "",
    include_password_hashes: bool = False,
    jobs: int = DEFAULT_JOBS,
    executor: str | Executor = THREADS,
    compress: bool = False,
    if_changed: bool = False,
    incremental: bool = False,
    full_every: timedelta = FULL_EVERY,
    label: str = "",
    tags: Mapping[str, str] | None = None,
    shrink_limit: int = SHRINK_LIMIT,
    accept: Names = (),
    keep: Rules | None = None,
    with_drill: bool = False,
    dry_run: bool = False,
    lineage: Lineage | None = None,
    progress: Progress | None = None,
) -> BackupResult:
    """Save the metadata of a store as a snapshot.

    What could not be read, or not be stored in all places, is no exception: the rest is saved, and the result names
    what is missing (`issues`; `exit_code` is not `DONE`). `backup(…).require_complete()` makes it one.

    Args:
        tracking_uri: the MLflow server or store.
        storages: where the snapshot goes: a folder or ``gs://bucket/prefix``, or several.
        experiments: a name to limit it to, or several, in whatever workspace; none: everything.
        workspaces: a workspace to limit it to, or several, ``default`` for the default one; none: all.
        without: a kind or group to leave out, or several, such as ``spans``: see `Selection`.
        tables: names of tables of a database server that are saved, though nothing ties them to MLflow's.
        registry_uri: of the model registry; None: as MLflow resolves it.
        auth_uri: of the database of basic-auth, whose users and permissions are saved as well; ``same``: its tables are
            in the tracking database; empty: they are not saved.
        include_password_hashes: whether these may go into a bucket.
        jobs: requests under way at once.
        executor: see `Store`.
        compress: gzip the data files.
        if_changed: write nothing if the newest snapshot of the same source has the same content, in every storage.
        incremental: take metric histories that can't have changed from the newest snapshot of the same source.
        full_every: read all of them all the same where that was longer ago.
        label: a name for the source, where its address changes or says too little: snapshots with the same label
            are of one source, for retention, `latest`, `if_changed` and `incremental`.
        tags: words to find the snapshot by and to keep it for (`Rules.tags`), by key.
        shrink_limit: percent of the experiments, runs or models in the newest snapshot of the source, below which the
            new one is suspected to lack some: it is kept and marked, and nothing is pruned. 0: it never is.
        accept: kinds of things that may be missing, in the words of `Skipped.kind`: named in the result and in the
            summary, and no issue.
        keep: afterwards remove the snapshots of this source, and limited as this one, that these rules don't keep; not
            where the new one is suspected, or empty.
        with_drill: restore the new snapshot into a throwaway database, and compare; nothing is pruned if it differs.
        dry_run: read everything, write nothing: neither a snapshot, nor does one go.
        lineage: which guard saves the store, and what of earlier ones is in it; None: no guard does.
        progress: told how far it is.

    Raises:
        UsageError: no storage or tracking URI, an experiment that does not exist, or password hashes that would go into
            a bucket.
        ConnectionFailedError: the store can't be read.
        StorageError: no snapshot could be written; nothing is left behind.
    """
    progress = progress or Silent()
    require_text(label, "--label")
    given = checked_tags(tags or {})
    require_text("".join((*given, *given.values())), "--tag")
    locations = several(storages)
    if auth_uri and not include_password_hashes:
        require_local(locations, "--auth-uri")
    places = distinct(map(open_storage, locations))
    started = utc_now()
    # In any order, they are the same limit
    named, inside, left_out = (tuple(sorted(set(several(names)))) for names in (experiments, workspaces, without))
    limit = Selection(named, without=left_out, workspaces=inside, auth=bool(auth_uri))
    require_something(limit)
    store = Store(os.fspath(tracking_uri), registry_of(registry_uri), jobs, executor, auth_uri)
    progress.phase(CONNECTING)
    with open_source(store) as source:
        info = source.info  # a store that can't be read is told before a storage is touched
        if tables and not info.point_in_time:
            raise UsageError(f"{info.uri} is not a database: it has no tables", hint="leave --table out")
        source_id = identity_of(store, info)
        previous = previous_in(places, label or source_id, limit, lineage)
        accepted = acceptance(several(accept), (*_seen(previous), *several(tables)))
        request = Request(
            places=places,
            previous=previous,
            started=started,
            source_id=source_id,
            label=label,
            tags=given,
            accepted=accepted,
            limit=limit,
            tables=several(tables),
            compress=compress,
            if_changed=if_changed,
            dry_run=dry_run,
            full_every=full_every if incremental else None,
            shrink_limit=shrink_limit,
            lineage=lineage or Lineage(),
        )
        _expect_as_before(previous, progress)
        saved = save(source, request, progress)
    summary, timestamp = saved.summary, saved.summary.backup_timestamp
    proof, undrilled = _drilled(saved.storages[0], timestamp, progress) if with_drill and timestamp else (None, None)
    good = not (summary.shrunken or is_empty(saved.stats) or undrilled) and (proof is None or proof.is_equal)
    measured = {one.place.location for one in previous}
    made = could_be(summary, saved.stats, started) if dry_run else timestamp
    stored = [one.location for one in places] if dry_run and not saved.unchanged_since else saved.storages
    pruned, unpruned = retain(stored, measured, keep, made) if keep and good else ({}, {})
    return BackupResult(
        timestamp=timestamp,
        unchanged_since=saved.unchanged_since,
        source=info.uri,
        source_id=source_id,
        label=label,
        tags=given,
        storages=saved.storages,
        failures={place: _failure(place, error, timestamp) for place, error in saved.failures.items()},
        stats=saved.stats,
        files=summary.files,
        size=saved.size,
        seconds=(utc_now() - started).total_seconds(),
        experiments=limit.experiments,
        workspaces=limit.workspaces,
        without=limit.without,
        skipped=summary.skipped,
        accepted=summary.accepted,
        warnings=summary.warnings,
        drill=proof,
        undrilled=undrilled,
        pruned=pruned,
        unpruned=unpruned,
        dry_run=dry_run,
        shrunken=summary.shrunken,
        incremental_base=summary.incremental_base,
        auth=summary.auth_uri,
    )


def _expect_as_before(previous: Sequence[Previous], progress: Progress) -> None:
    """A server doesn't say how much it has: expect what the newest snapshot of it holds."""
    if not previous or previous[0].summary is None:
        return
    stats = previous[0].summary.stats
    for kind in KINDS.values():
        if count := stats.get(kind.unit):
            progress.expect(kind.unit.replace("_", " "), count)


def _seen(previous: Sequence[Previous]) -> set[str]:
    """The kinds of things that an earlier backup named as missing."""
    found = (summary for one in previous for summary in (one.summary, one.suspect) if summary is not None)
    return {skipped.kind for summary in found for skipped in summary.skipped}


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
