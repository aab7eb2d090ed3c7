"""`mlmeta prune`: old snapshots go, by rule; also after a backup, which has rules of its own."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.previous import is_empty
from mlmeta.commands.removal import STAYS, remove_all
from mlmeta.commands.result import Result
from mlmeta.errors import StorageError, StorageMissingError, UsageError
from mlmeta.metrics import PRUNED, PRUNED_BYTES, SNAPSHOTS, Sample
from mlmeta.notebook import Row
from mlmeta.schema import Names, Selection, Summary, several
from mlmeta.schema.summary import has_tag
from mlmeta.snapshot.catalog import FUTURE, SnapshotInfo, SnapshotState, described, file_sets, sets_of
from mlmeta.snapshot.epochs import claims_in, forks, heads, outlived, read_claim
from mlmeta.snapshot.find import Which
from mlmeta.snapshot.find import of_source as those_of
from mlmeta.snapshot.layout import FileSet, moment_of, next_timestamp, timestamp_of
from mlmeta.snapshot.retention import Rules, kept, leftovers, remove
from mlmeta.storage import Location, Storage, StoredFile, open_storage
from mlmeta.stores.opening import which

IN_TIME = 3600
"""Seconds after its timestamp within which a snapshot's summary is expected: a backup takes its time."""
LEFTOVER_AGE = 24 * 3600
"""Seconds before what an interrupted backup left may go: a running one must be safe."""
_AT_ONCE = 100
"""So many old objects of guards are looked at by one."""


class Decision(BaseModel):
    """What happens to a snapshot, and why.

    Args:
        timestamp: its name.
        source: where it was taken from, without credentials.
        identity: which store that is, whatever text named it.
        label: the name that a person gave it; empty: none.
        tags: of the snapshot.
        size: bytes of its files.
        keep: whether it stays.
        reason: the rules that keep it, or why it goes.
    """

    model_config = ConfigDict(frozen=True)

    timestamp: str
    source: str
    identity: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    size: int
    keep: bool
    reason: str


class PruneResult(Result):
    """What went, and what stayed.

    Args:
        storage: where.
        snapshots: a decision for each, newest first.
        leftovers: names of files that interrupted backups left and that went too, and of outlived objects of guards.
        freed: bytes.
        dry_run: whether nothing was removed.
        others: how many more snapshots there are, which are not of the source that is meant, and stay.
    """

    storage: str
    snapshots: tuple[Decision, ...]
    leftovers: tuple[str, ...] = ()
    freed: int = 0
    dry_run: bool = False
    others: int = 0

    @property
    def headline(self) -> str:
        """How many stay, and how many go."""
        gone = sum(not one.keep for one in self.snapshots)
        told = f"{len(self.snapshots) - gone:,} kept, {gone:,} removed in {self.storage}"
        return f"dry run: {told}" if self.dry_run else told

    def entries(self) -> Iterator[Row]:
        """Each snapshot, and why it stays or goes."""
        for one in self.snapshots:
            yield {"snapshot": one.timestamp, "bytes": one.size, "kept": "yes" if one.keep else "no", "why": one.reason}

    @property
    def removes(self) -> bool:
        """Whether anything goes."""
        return bool(self.leftovers or self.going)

    @property
    def going(self) -> set[str]:
        """Timestamps of what goes."""
        return {decision.timestamp for decision in self.snapshots if not decision.keep}

    def measures(self, ended: float) -> tuple[Sample, ...]:
        """What stayed and what went; nothing where nothing was removed on purpose."""
        del ended
        kept = sum(decision.keep for decision in self.snapshots)
        gone = Sample(PRUNED, len(self.snapshots) - kept), Sample(PRUNED_BYTES, self.freed)
        return () if self.dry_run else (Sample(SNAPSHOTS, kept + self.others), *gone)


Confirm = Callable[[PruneResult], None]
"""Shown the plan before anything is removed; raises to stop."""


def prune(
    storage: Location,
    rules: Rules,
    *,
    of_source: Location = "",
    dry_run: bool = False,
    spare: Names = (),
    like: str = "",
    coming: SnapshotInfo | None = None,
    confirm: Confirm | None = None,
) -> PruneResult:
    """Remove the snapshots that no rule keeps, and day-old leftovers of interrupted backups.

    What only the newest snapshot of a guard has, as no later guard's includes it, stays as well; and for a day that
    from which the last guard goes on.

    Rules count for each source by itself, for limited backups (`--experiment`) apart from whole ones, and for empty and
    shrunken ones apart from sound ones. The newest of each always stays, the newest that lacks nothing, and the newest
    that lacks only what is accepted. Damaged snapshots, those of a newer mlmeta, and those from the future are left
    alone. What came to a bucket long after its date pushes out nothing that came in time.

    Args:
        storage: a folder or ``gs://bucket/prefix``.
        rules: what to keep; at least one rule.
        of_source: label or tracking URI: only snapshots of that source may go; empty: of any.
        dry_run: only say what would go.
        spare: timestamps that stay in any case.
        like: timestamp of a snapshot: only those of its source, limited to the same experiments, may go.
        coming: a snapshot that counts as if it had just been made: `like` is that one.
        confirm: shown the plan before anything is removed; raises to stop.

    Raises:
        UsageError: no rule is given; or what was to stay has gone while `confirm` was asked.
        SnapshotNotFoundError: there are snapshots, and none of that source.
        StorageError: the storage can't be read, or a file can't be removed.
    """
    if not rules:
        raise UsageError(
            "no rule says what to keep", hint="for example --keep-last 10 --keep-daily 7 --keep-monthly 12"
        )
    place, now, meant = open_storage(storage), time.time(), which(of_source)
    sets, stale, plan = _look(place, rules, now, meant, like=like, spare=several(spare), coming=coming, dry_run=dry_run)
    if plan.removes and not dry_run:
        if confirm is not None:
            confirm(plan)
            _, _, again = _look(place, rules, now, meant, like=like, spare=several(spare))
            if plan.going & {
                one.timestamp for one in again.snapshots if one.keep
            }:  # somebody may have thought for long
                raise UsageError(
                    f"{place.location} has changed since the plan was made: nothing was removed", hint="try again"
                )
        return _remove(place, sets, plan, stale)
    return plan


def _look(
    place: Storage,
    rules: Rules,
    now: float,
    meant: Which,
    *,
    like: str,
    spare: Sequence[str],
    coming: SnapshotInfo | None = None,
    dry_run: bool = False,
) -> tuple[list[FileSet], list[FileSet | StoredFile], PruneResult]:
    """The files of a storage, the leftovers among them, and what is to go: see `prune`."""
    files = list(place.files())
    sets = sets_of(files)
    infos = described(place, sets, now)
    in_use = {info.epoch for info in infos}
    if coming is not None:
        infos = [_behind(coming, infos), *infos]
        like, spare = infos[0].timestamp, (*spare, infos[0].timestamp)
    total = len(infos)
    infos = _alike(those_of(infos, meant, place), like)
    stale = list(leftovers(place, sets, now - LEFTOVER_AGE))
    old = outlived(claims_in(files), in_use, now - LEFTOVER_AGE)
    is_limited = bool(like or meant.source)
    stale += _of_source(place, old, infos[0].identity if infos else "") if is_limited else old.values()
    reasons = _reasons(infos, {files.timestamp for files in sets if _is_misdated(files)}, rules)
    for timestamp in spare:
        reasons[timestamp] = reasons.get(timestamp) or ["just made"]
    plan = _plan(place, infos, stale, reasons, dry_run=dry_run)
    return sets, stale, plan.model_copy(update={"others": total - len(infos)})


def _of_source(place: Storage, claims: Mapping[int, StoredFile], source: str) -> list[StoredFile]:
    """The objects of guards of a source, as far as a look at some of them tells."""
    some = sorted(claims)[:_AT_ONCE]
    read = {epoch: read_claim(place, epoch) for epoch in some}
    return [claims[epoch] for epoch, claim in read.items() if claim is not None and claim.source == source]


def _behind(coming: SnapshotInfo, infos: Sequence[SnapshotInfo]) -> SnapshotInfo:
    """A snapshot under the timestamp that it would get: after all that were made in the same moment."""
    taken = [info.timestamp for info in infos if info.timestamp >= coming.timestamp and not info.is_ahead]
    return coming.model_copy(update={"timestamp": next_timestamp(max(taken))}) if taken else coming


def _alike(infos: Sequence[SnapshotInfo], like: str) -> list[SnapshotInfo]:
    """Those that a rule for one of them is meant for."""
    wanted = {info.series for info in infos if info.timestamp == like}
    return [info for info in infos if not like or info.series in wanted]


def _plan(
    place: Storage,
    infos: Sequence[SnapshotInfo],
    stale: Sequence[FileSet | StoredFile],
    reasons: dict[str, list[str]],
    *,
    dry_run: bool,
) -> PruneResult:
    gone = {item.timestamp for item in stale if isinstance(item, FileSet)}
    decisions = tuple(_decision(info, reasons.get(info.timestamp)) for info in infos if info.timestamp not in gone)
    freed = sum(d.size for d in decisions if not d.keep) + sum(item.size for item in stale)
    names = [file.name for item in stale for file in (item.all if isinstance(item, FileSet) else (item,))]
    return PruneResult(
        storage=place.location, snapshots=decisions, leftovers=tuple(sorted(names)), freed=freed, dry_run=dry_run
    )


def _is_misdated(files: FileSet) -> bool:
    """Whether a snapshot came long after its date, or before it, by the clock of a storage that vouches for that.

    It may be a copy, or took long to make; or somebody who may create, but not delete, made it up.
    """
    moment = moment_of(files.timestamp)
    if files.summary is None or files.summary.created is None or moment is None:
        return False
    return not -FUTURE <= files.summary.created - moment.timestamp() <= IN_TIME


def _reasons(infos: Sequence[SnapshotInfo], misdated: set[str], rules: Rules) -> dict[str, list[str]]:
    groups: dict[tuple[tuple[str, Selection], bool], list[str]] = defaultdict(list)
    for info in infos:
        if info.state.restorable and info.state is not SnapshotState.FUTURE and moment_of(info.timestamp) is not None:
            suspect = info.state is SnapshotState.SHRUNKEN or is_empty(info.stats)
            groups[info.series, suspect].append(info.timestamp)
    found = {timestamp: why for group in groups.values() for timestamp, why in _kept(group, misdated, rules).items()}
    for why, most in (("newest without gaps", 0), ("newest complete", 1)):
        whole = {info.timestamp for info in infos if info.gap_level <= most}
        for (_, suspect), group in groups.items():
            if not suspect:
                _keep_newest(set(group) & whole, found, why, misdated)
    known = [info for info in infos if info.timestamp in found]
    _keep_for_guards(known, found)
    for info in known:
        found[info.timestamp] += [f"tag {tag}" for tag in rules.tags if has_tag(info.tags, tag)]
    return found


def _keep_for_guards(known: Sequence[SnapshotInfo], reasons: dict[str, list[str]]) -> None:
    """See that guards can still bring in what others saved: what only one has, and what that is compared with."""
    only_there = heads(info for info in known if not is_empty(info.stats))
    for found, why in ((only_there, "in no later guard's"), (forks(known), "the last guard goes on from it")):
        for timestamp in found:
            reasons[timestamp] = reasons[timestamp] or [why]


def _keep_newest(whole: set[str], reasons: dict[str, list[str]], why: str, misdated: set[str]) -> None:
    """See that what has more gaps pushes out all but the newest of these: only that may have what others lack."""
    for candidates in (whole, whole - misdated):
        newest = max(candidates, default="")
        if newest and not reasons[newest]:
            reasons[newest].append(why)


def _kept(group: Sequence[str], misdated: set[str], rules: Rules) -> dict[str, list[str]]:
    """What the rules keep of a group, and also what they would keep without those that are misdated."""
    reasons = kept(group, rules)
    in_time = [timestamp for timestamp in group if timestamp not in misdated]
    for timestamp, why in kept(in_time, rules).items() if len(in_time) < len(group) else ():
        reasons[timestamp] = list(dict.fromkeys((*reasons[timestamp], *why)))
    return reasons


def _decision(info: SnapshotInfo, why: list[str] | None) -> Decision:
    """`why` is None for what the rules don't speak of."""
    reason = f"{info.state.value}: left alone" if why is None else ", ".join(why) or "no rule keeps it"
    return Decision(
        timestamp=info.timestamp,
        source=info.source,
        identity=info.identity,
        label=info.label,
        tags=info.tags,
        size=info.size,
        keep=why is None or bool(why),
        reason=reason,
    )


def _remove(
    place: Storage, sets: Sequence[FileSet], plan: PruneResult, stale: Sequence[FileSet | StoredFile]
) -> PruneResult:
    """Do as planned; what became of the plan."""
    done = remove_all(place, [files for files in sets if files.timestamp in plan.going])
    for error in done.failed.values():
        raise error
    for item in _still(place, stale):
        if isinstance(item, FileSet):
            remove(place, item)
        else:
            place.remove(item.name)
    stay = {"keep": True, "reason": STAYS}
    snapshots = tuple(one.model_copy(update=stay if one.timestamp in done.stayed else {}) for one in plan.snapshots)
    freed = plan.freed - sum(one.size for one in snapshots if one.timestamp in done.stayed)
    return plan.model_copy(update={"snapshots": snapshots, "freed": freed})


def _still(place: Storage, stale: Sequence[FileSet | StoredFile]) -> Sequence[FileSet | StoredFile]:
    """What is still a leftover: the summary of a snapshot may just have been put back, see `removal`."""
    if not any(isinstance(item, FileSet) for item in stale):
        return stale
    whole = {files.timestamp for files in file_sets(place) if files.summary is not None}
    return [item for item in stale if not isinstance(item, FileSet) or item.timestamp not in whole]


Pruned = tuple[dict[str, tuple[str, ...]], dict[str, str]]
"""The timestamps that went, by storage; and why none could go, by storage."""


def retain(places: Sequence[str], measured: AbstractSet[str], keep: Rules, made: str | SnapshotInfo) -> Pruned:
    """Remove what the rules don't keep.

    Args:
        places: the storages.
        measured: those in which it is known what there was before.
        keep: the rules.
        made: timestamp of the snapshot that was made; or what is known of one that could be: then nothing is removed.
    """
    pruned, unpruned = {}, {}
    for place in places:
        if place not in measured:
            unpruned[place] = "whether the new snapshot is shrunken is unknown, as earlier ones could not be read"
            continue
        try:
            if isinstance(made, SnapshotInfo):
                found = prune(place, keep, coming=made, dry_run=True)
            else:
                found = prune(place, keep, spare=made, like=made)
            pruned[place] = tuple(d.timestamp for d in found.snapshots if not d.keep)
        except StorageMissingError:
            pruned[place] = ()  # of a dry run: the backup itself would have made it
        except StorageError as error:
            unpruned[place] = str(error)
    return pruned, unpruned


def could_be(summary: Summary, stats: dict[str, int], started: datetime) -> SnapshotInfo:
    """What would be known of a snapshot, had it been made."""
    return SnapshotInfo(
        timestamp=timestamp_of(started),
        state=SnapshotState.PARTIAL if summary.gaps else SnapshotState.COMPLETE,
        source=summary.mlflow_uri,
        identity=summary.identity,
        label=summary.label,
        tags=summary.tags,
        accepted=len(summary.skipped) - len(summary.gaps),
        stats=stats,
        size=0,
        age=0.0,
        experiments=summary.experiments,
        workspaces=summary.workspaces,
        without=summary.without,
        auth=summary.has_auth,
    )
