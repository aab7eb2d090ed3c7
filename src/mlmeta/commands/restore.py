"""`mlmeta restore`: a snapshot back into an MLflow store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mlmeta.commands.absent import absent, meant, newest_with, require_something
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import (
    DamagedSnapshotError,
    ExitCode,
    MlmetaError,
    SnapshotNotFoundError,
    StorageMissingError,
    UnknownRecordError,
    UsageError,
)
from mlmeta.notebook import Row
from mlmeta.progress import CONNECTING, Progress, Silent, counted
from mlmeta.redaction import without_secrets
from mlmeta.schema import AUTH, AUTH_GROUP, Names, Selection, leading_kinds, several
from mlmeta.schema.summary import Acceptance
from mlmeta.schema.words import amount
from mlmeta.snapshot.catalog import describe, file_sets
from mlmeta.snapshot.picked import Chosen, pick
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.verify import CheckedSnapshot
from mlmeta.storage import Location
from mlmeta.stores.gaps import acceptance
from mlmeta.stores.opening import DEFAULT_JOBS, Store, open_snapshot, open_target, registry_of
from mlmeta.stores.proof import Comparison, Difference, prove, records_of
from mlmeta.stores.rewrite import Prefixes, pairs_of
from mlmeta.stores.target import MERGE, RENAME, SKIP, Ids, OnConflict, Plan, Refusal, Report, RestoreOptions, Target

Confirm = Callable[[Plan], None]
"""Asked before anything is written into a target that has runs; raises to stop."""


class RestoreResult(Result):
    """What a restore did, and the proof of it.

    Args:
        timestamp: the snapshot's name.
        storage: where it is.
        target: where to, without credentials.
        keeps_ids: whether ids and all times arrived as they were.
        plan: what was to be done.
        created: how many of each kind were written.
        present: how many were there already.
        undeleted: how many that were deleted in the target are active again.
        merged: how many that were there got what they lacked; see ``merge`` of `restore`.
        experiment_ids: ids of the snapshot's experiments that have another one in the target, each with that.
        refused: what the target did not take.
        accepted: words for those kinds of it that may be missing.
        comparison: the target read back against the snapshot; None where that was not asked for.
        seconds: how long it took.
        dry_run: whether nothing was written.
        untouched: why nothing was done at all: the target had runs already, or there was no snapshot.
    """

    timestamp: str
    storage: str
    target: str
    keeps_ids: bool
    plan: Plan | None = None
    created: dict[str, int] = {}
    present: dict[str, int] = {}
    undeleted: dict[str, int] = {}
    merged: dict[str, int] = {}
    experiment_ids: dict[str, str] = {}
    refused: tuple[Refusal, ...] = ()
    accepted: tuple[str, ...] = ()
    comparison: Comparison | None = None
    seconds: float
    dry_run: bool = False
    untouched: str = ""

    @property
    def headline(self) -> str:
        """Which snapshot, where to, and what was written."""
        if self.untouched:
            return f"nothing was done: {self.untouched}"
        told = self._foreseen.create if self.dry_run else self.created
        added = self._foreseen.merged if self.dry_run else self.merged
        what = ", ".join(amount(count, kind) for kind, count in told.items() if count) or "nothing"
        to = ", ".join(amount(count, kind) for kind, count in added.items() if count)
        also = f", {to} {'to add to' if self.dry_run else 'added to'}" if to else ""
        return f"{self.timestamp} into {self.target}: {what} {'to create' if self.dry_run else 'created'}{also}"

    def entries(self) -> Iterator[Row]:
        """How much of each kind was written, was there already, and is active again."""
        for kind in dict.fromkeys((*self.created, *self.present, *self.undeleted)):
            found = {"created": self.created, "present": self.present, "undeleted": self.undeleted}
            yield {"kind": kind, **{word: counts.get(kind, 0) for word, counts in found.items()}}

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """What this restore wrote and the target does not give back: the first of it."""
        return self.comparison.differences if self.comparison is not None else ()

    @property
    def gaps(self) -> tuple[Refusal, ...]:
        """What the target does not take, without what may be missing."""
        return Acceptance(self.accepted).gaps((*self._foreseen.refused, *self.refused))

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What stands in the way, what the target does not take, and what it gives back differently."""
        found = [Issue(code="conflict", message=f"{c.kind} {c.id}: {c.reason}") for c in self._foreseen.conflicts]
        for refusal in self.gaps:
            message = f"{refusal.kind} {refusal.id}: {refusal.reason}"
            found.append(Issue(code=refusal.code, message=message, hint=refusal.hint))
        return (*found, *(Issue(code="different", message=str(d)) for d in self.unexplained))

    @property
    def _foreseen(self) -> Plan:
        """The plan, where it was all that was asked for."""
        return self.plan if self.dry_run and self.plan is not None else Plan(target=self.target, keeps_ids=True)

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where the proof failed, `INCOMPLETE` where the target refused something.

        A plan ends as the restore would: `FAILED` where something stands in the way.
        """
        if self._foreseen.conflicts:
            return ExitCode.FAILED
        if self.comparison is not None and not self.comparison.is_equal:
            return ExitCode.DIFFERENT
        return ExitCode.INCOMPLETE if self.gaps else ExitCode.DONE


def restore(
    tracking_uri: Location,
    timestamp: str = "latest",
    storage: Location = "backups",
    *,
    of_source: Location = "",
    selection: Selection | None = None,
    registry_uri: Location | None = None,
    auth_uri: str = "",
    jobs: int = DEFAULT_JOBS,
    ids: Ids = "",
    on_conflict: OnConflict = "fail",
    undelete: bool = False,
    missing: bool = False,
    rewrite: Prefixes = (),
    accept: Names = (),
    if_empty: bool = False,
    allow_none: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
) -> RestoreResult:
    """Bring a snapshot back. It adds; it never overwrites or deletes what the target has.

    What the target does not take, or gives back differently, is no exception: the result names it (`issues`; its
    `exit_code` is not `DONE`). `restore(…).require_complete()` makes it one.

    Args:
        tracking_uri: the MLflow server or store to restore into.
        timestamp: which snapshot: see `snapshot.selector.select`.
        storage: where it is.
        of_source: label or tracking URI of the source that is meant, where the storage has several; `tracking_uri` does
            not say that: it is where the snapshot goes.
        selection: which part of it; None: all.
        registry_uri: of the model registry; None: as MLflow resolves it.
        auth_uri: of the database of basic-auth, which users and permissions are restored into; ``same``: the tracking
            database; empty: they are left alone.
        jobs: requests under way at once.
        ids: ``keep`` (databases only), ``new``, or empty: kept where the target can.
        on_conflict: for a target that keeps ids: ``fail`` (nothing is written), ``skip``, ``rename`` or ``merge``. With
            ``merge``, what is there gets what it lacks: a run becomes the union of the two, an experiment is known by
            its name. What both have and is not the same stays, and is named in `RestoreResult.refused` (code ``kept``);
            merged twice, nothing changes. A server may go on writing into the database meanwhile.
        undelete: make active again what the snapshot has active and the target has deleted; nothing else of it changes.
        missing: only what is gone from the target: what is in its way there is left out, as ``skip`` does.
        rewrite: prefixes of artifact locations, and what to put in their place: pairs, or a `dict`.
        accept: kinds of things that the target need not take, in the words of `Refusal.kind`: named, and no issue.
        if_empty: do nothing where the target has runs already, or, if it is a database, traces, models or datasets. To
            this, ``latest`` is the last guard's, where several of them saved side by side.
        allow_none: do nothing where there is no snapshot yet.
        dry_run: only say what would be done.
        verify: read the target back afterwards, and compare.
        confirm: asked before anything is written into a target that has other runs; raises to stop.
        progress: told how far it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted; nothing was written.
        UsageError: users and permissions are wanted, and it has none, or experiments would get new ids; or options
            contradict each other.
        UnknownRecordError: it has no run or model that is named.
        ConnectionFailedError: the target can't be used.
        RestoreError: the target can't take it; what was written stays, and another try goes on from there.
    """
    began = time.monotonic()
    progress = progress or Silent()
    selection = replace(meant(selection), auth=bool(auth_uri))
    require_something(selection)
    only_auth = _must_name_auth(selection)
    store = Store(
        os.fspath(tracking_uri), registry_of(registry_uri), jobs, auth_uri=auth_uri if selection.means(AUTH) else ""
    )
    options = RestoreOptions(ids, _way(on_conflict, missing=missing), pairs_of(rewrite), undelete)
    progress.phase(CONNECTING)
    with open_target(store, options, only_auth=only_auth) as target:
        if if_empty and target.has_content():
            return _untouched(store, storage, "the target is in use already")
        try:
            snapshot = open_snapshot(storage, timestamp, of_source=of_source, last_guard=if_empty)
        except (SnapshotNotFoundError, StorageMissingError) as error:
            if not allow_none or _has_others(error):
                raise
            return _untouched(store, storage, "there is no snapshot yet")
        _must_have_auth(snapshot, selection)
        accepted = acceptance(several(accept), _known_to(snapshot))
        notes = tuple(absent(snapshot, selection))
        progress.expect("records", snapshot.record_count)
        checked = CheckedSnapshot(snapshot, lambda count: progress.advance("records", count))
        with checked.kept_open() as snapshot:
            plan = _plan(target, checked, selection, progress)
            if not dry_run and confirm is not None:
                confirm(plan)
            report = Report() if dry_run else _write(target, snapshot, selection, progress)
            comparison = None
            if verify and not dry_run:
                progress.phase("reading the target back")
                is_whole = replace(selection, auth=False) == Selection()
                progress.expect("records", snapshot.record_count if is_whole else 0)
                pairs = counted(target.read_back(snapshot, selection), progress, "records", records_of)
                comparison = prove(pairs, target.unkept, report)
    return RestoreResult(
        timestamp=snapshot.timestamp,
        storage=snapshot.storage.location,
        target=plan.target,
        keeps_ids=plan.keeps_ids,
        plan=plan,
        created=report.created,
        present=report.present,
        undeleted=report.undeleted,
        merged=report.merged,
        experiment_ids=report.experiment_ids,
        refused=report.refused,
        accepted=accepted.used((*plan.refused, *report.refused)),
        comparison=comparison,
        seconds=time.monotonic() - began,
        dry_run=dry_run,
        warnings=tuple(
            dict.fromkeys(
                (
                    *_warnings(snapshot, selection),
                    *notes,
                    *_deleted_before(snapshot, plan.chosen),
                    *plan.notes,
                    *report.notes,
                )
            )
        ),
    )


def _way(on_conflict: OnConflict, *, missing: bool) -> OnConflict:
    """What is done about a conflict. Whoever asks for what is missing does not mean to stop at anything else.

    Raises:
        UsageError: something is to be renamed or merged, too.
    """
    if missing and on_conflict in {RENAME, MERGE}:
        raise UsageError(
            f"--missing leaves out what stands in the way, and --on-conflict {on_conflict} does not",
            hint="leave out one of them",
        )
    return SKIP if missing else on_conflict


def _known_to(snapshot: Snapshot) -> set[str]:
    """Kinds that a snapshot has, or tells to be missing, whatever this version of mlmeta knows."""
    summary = snapshot.summary
    return {*summary.tables, *(one.kind for one in (*summary.skipped, *snapshot.unknown))}


def _must_name_auth(selection: Selection) -> bool:
    """Whether nothing but users and permissions is meant.

    Raises:
        UsageError: so it is, and nothing says into which database.
    """
    if selection.only != (AUTH_GROUP,):
        return False
    if not selection.auth:
        raise UsageError(
            f"--only {AUTH_GROUP} needs --auth-uri", hint="name the database of `database_uri` in basic_auth.ini"
        )
    return True


def _must_have_auth(snapshot: Snapshot, selection: Selection) -> None:
    if selection.means(AUTH) and not snapshot.summary.auth_uri:
        other = _newest_with_auth(snapshot)
        raise UsageError(
            f"snapshot {snapshot.timestamp} has no users and permissions of basic-auth; nothing was written",
            hint="leave out --auth-uri" + (f", or restore {other}, which has them" if other else ""),
        )


def _newest_with_auth(snapshot: Snapshot) -> str:
    """The newest snapshot of the same source that has users and permissions; empty: there is none."""
    infos = (describe(snapshot.storage, files, 0) for files in file_sets(snapshot.storage))
    same = (info for info in infos if info.auth and info.identity == snapshot.summary.identity)
    return next((info.timestamp for info in same if info.state.restorable), "")


def _has_others(error: SnapshotNotFoundError | StorageMissingError) -> bool:
    """Whether there are snapshots that may be meant: all from the future, or not as old as asked for."""
    return isinstance(error, SnapshotNotFoundError) and bool(error.nearest)


def _deleted_before(snapshot: Snapshot, chosen: Sequence[Chosen]) -> Iterator[str]:
    """What to know of runs that are asked for, and that somebody had deleted when the snapshot was made."""
    for one in chosen:
        if one.is_asked and one.lifecycle_stage == "deleted":
            other = newest_with(snapshot, Selection(runs=one.id), one.id, active=True)
            way_out = f"snapshot {other} has it active" if other else "MLflow's UI makes it active"
            yield f"{one.kind} {one.id} is deleted in the snapshot, too, and comes back so: {way_out}"


def _untouched(store: Store, storage: Location, why: str) -> RestoreResult:
    target = without_secrets(store.tracking_uri)
    return RestoreResult(
        timestamp="", storage=os.fspath(storage), target=target, keeps_ids=False, seconds=0, untouched=why
    )


def _plan(target: Target, snapshot: CheckedSnapshot, selection: Selection, progress: Progress) -> Plan:
    """The plan, made in the very walk that verifies the snapshot: it holds where all of that is sound."""
    progress.phase("verifying the snapshot and looking at the target")
    try:
        plan = target.plan(snapshot, selection, Silent())
    except MlmetaError as error:
        _must_be_sound(snapshot)  # damage is told first: the error may come of it
        if isinstance(error, UnknownRecordError) and (other := newest_with(snapshot, selection, error.wanted)):
            error.hint = f"snapshot {other} has it: restore that one"
        raise
    _must_be_sound(snapshot)
    named = pick(snapshot, selection).chosen if selection.names_records else ()
    chosen = tuple(one.model_copy(update={"state": plan.state_of(one.key)}) for one in named)
    return plan.model_copy(update={"refused": (*plan.refused, *_unknown(snapshot)), "chosen": chosen})


def _must_be_sound(snapshot: CheckedSnapshot) -> None:
    if problems := snapshot.problems():
        raise DamagedSnapshotError(
            f"snapshot {snapshot.timestamp} can't be trusted, nothing was written: {problems[0].message}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            hint="`mlmeta verify` shows everything that is wrong; `mlmeta list` shows other snapshots",
        )


def _write(target: Target, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
    stats = snapshot.summary.stats
    if not selection.is_limited:
        for kind in leading_kinds():
            progress.expect(kind.counted_as, stats.get(kind.name, 0))
    report = target.restore(snapshot, selection, progress)
    return report.model_copy(update={"refused": (*report.refused, *_unknown(snapshot))})


def _unknown(snapshot: Snapshot) -> Iterator[Refusal]:
    """Kinds of record that only a newer mlmeta could restore."""
    return (Refusal(kind=one.kind, id=one.id, reason=one.reason, code="unknown_kind") for one in snapshot.unknown)


def _warnings(snapshot: Snapshot, selection: Selection) -> Sequence[str]:
    summary = snapshot.summary
    found = list(snapshot.notes)
    if selection.auth and selection.names_records:
        found.append("users and permissions are left alone: --run and --model say what comes back")
    elif summary.auth_uri and not selection.means(AUTH) and not selection.only and not selection.names_records:
        found.append("the snapshot has users and permissions of basic-auth, which are left alone without --auth-uri")
    if snapshot.is_legacy:
        found.append("an older script wrote this snapshot: it has no checksums, no metric histories and no aliases")
    if summary.shrunken:
        found.append(f"this snapshot has {summary.shrunken}: `mlmeta list` shows others")
    if summary.skipped:
        found.append(not_saved(len(summary.skipped)))
    return found


def not_saved(count: int) -> str:
    """What is said of a snapshot that lacks something, to whoever did not see it made."""
    return f"{amount(count, 'things')} could not be saved when this snapshot was made: see `mlmeta show`"
