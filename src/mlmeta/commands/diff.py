"""`mlmeta diff`: what changed between two snapshots, or between a snapshot and the store as it is now."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Protocol

from mlmeta.commands.absent import require_something
from mlmeta.commands.previous import read_along, why_not
from mlmeta.commands.result import Issue, Result, Status
from mlmeta.errors import ExitCode, UsageError
from mlmeta.notebook import Row
from mlmeta.progress import CONNECTING, Progress, Silent
from mlmeta.schema import EXPERIMENTS, KINDS, Kind, Names, Record, Selection, Skipped, kind_of, several
from mlmeta.schema.identity import canonical, is_vague
from mlmeta.schema.summary import Acceptance
from mlmeta.schema.words import amount
from mlmeta.snapshot.compare import Changes, ComparisonRules, Item, changes, with_followers
from mlmeta.snapshot.reader import Snapshot, bare
from mlmeta.snapshot.selected import Selected
from mlmeta.storage import Location
from mlmeta.stores.gaps import acceptance
from mlmeta.stores.opening import DATABASES, DEFAULT_JOBS, Store, identity_of, open_snapshot, open_source, registry_of
from mlmeta.stores.source import UNSHOWN_BY_API, Source


class DiffResult(Result):
    """What changed.

    Args:
        before: timestamp of the snapshot before.
        after: timestamp of the snapshot after, or the address of the store that was read, without credentials.
        experiments: names of those that were compared; empty: all.
        workspaces: likewise.
        comparison: what changed.
        unread: what could not be read.
        accepted: words for those kinds of it that may be missing.
    """

    before: str
    after: str
    experiments: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    comparison: Changes
    unread: tuple[Skipped, ...] = ()
    accepted: tuple[str, ...] = ()

    is_report: ClassVar[bool] = False

    @property
    def headline(self) -> str:
        """How much changed, and between which two."""
        total = len(self.comparison.changes) + self.comparison.unnamed
        return f"{amount(total, 'changes') if total else 'no change'} from {self.before} to {self.after}"

    def entries(self) -> Iterator[Row]:
        """Each change."""
        for one in self.comparison.changes:
            about = {"what": one.what, "kind": one.kind, "id": one.id, "name": one.name, "field": one.field}
            yield {**about, "before": one.words[0], "after": one.words[1]}

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What could not be read; what of it is no record by itself may look removed."""
        return tuple(Issue(code="not_read", message=f"{one.kind} {one.id}: {one.reason}") for one in self.gaps)

    @property
    def gaps(self) -> tuple[Skipped, ...]:
        """What could not be read, without what may be missing."""
        return Acceptance(self.accepted).gaps(self.unread)

    @property
    def status(self) -> Status:
        """That something changed is what was asked for, and no error."""
        return "partial" if self.gaps else "success"

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where anything changed."""
        if not self.comparison.is_equal:
            return ExitCode.DIFFERENT
        return ExitCode.INCOMPLETE if self.gaps else ExitCode.DONE


def diff(
    before: str = "latest",
    after: str | None = None,
    storage: Location = "backups",
    *,
    of_source: Location = "",
    tracking_uri: Location = "",
    registry_uri: Location | None = None,
    experiments: Names = (),
    workspaces: Names = (),
    only: Names = (),
    without: Names = (),
    incremental: bool = False,
    accept: Names = (),
    jobs: int = DEFAULT_JOBS,
    progress: Progress | None = None,
) -> DiffResult:
    """Compare a snapshot with another one, or with the store as it is now.

    Args:
        before: a snapshot.
        after: another one; None: the store at `tracking_uri`.
        storage: where the snapshots are.
        of_source: label or tracking URI of the source that `latest` means, where the storage has several; empty: the
            one at `tracking_uri`, where it is among them.
        tracking_uri: the MLflow server or store to compare with, where there is no `after`.
        registry_uri: of its model registry; None: as MLflow resolves it.
        workspaces: only these, ``default`` for the default one; empty: all that both sides cover.
        experiments: only these, their runs, and the models with a version from them; empty: all that both sides cover.
        only: groups of kinds, or one: see `Selection`; empty: all.
        without: kinds or groups to leave out, or one.
        incremental: do not ask the store for histories that can't have changed since the snapshot (nor see points that
            were added, through the API, behind the latest step of a run that had ended).
        accept: kinds of things that may be missing where the store is read, in the words of `Skipped.kind`.
        jobs: requests under way at once.
        progress: told how far it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
        ConnectionFailedError: the store can't be read.
        UsageError: there is no experiment to compare.
    """
    progress = progress or Silent()
    limit = Selection(experiments, only, without, workspaces)
    require_something(limit)
    snapshot = open_snapshot(storage, before, of_source=of_source, likely=tracking_uri)
    first = _SnapshotSide(snapshot)
    accepted = acceptance(several(accept), (one.kind for one in snapshot.summary.skipped))
    if after is not None:
        other = open_snapshot(storage, after, of_source=of_source, likely=tracking_uri)
        with snapshot.kept_open(), other.kept_open():
            notes = tuple(dict.fromkeys((*_notes(snapshot), *_notes(other))))
            return _compared(first, _SnapshotSide(other), limit, progress, notes)
    store = Store(os.fspath(tracking_uri), registry_of(registry_uri), jobs)
    progress.phase(CONNECTING)
    with open_source(store) as source, snapshot.kept_open():
        identity = identity_of(store, source.info)
        why = why_not(snapshot, identity, limit if limit.is_limited else first.limit) if incremental else ""
        base = snapshot if incremental and not why else None
        notes = (*_notes(snapshot), *([f"all histories were read: {why}"] if why else ()))
        found = _compared(first, _StoreSide(source, identity, progress, base), limit, progress, notes)
        return found.model_copy(update={"accepted": accepted.used(found.unread)})


def _notes(snapshot: Snapshot) -> Iterator[str]:
    """What a person should know of a snapshot: why it was chosen, and what of it is not compared."""
    yield from snapshot.notes
    yield from (f"{snapshot.timestamp}: {one.kind} are not compared: {one.reason}" for one in snapshot.unknown)


class _Side(Protocol):
    """One of the two.

    Args:
        shown: a snapshot's timestamp, or a store's address without credentials.
        kind: of the store that it tells of, such as ``server``.
        uri: of that store, without credentials.
        identity: which store that is, whatever text named it; empty: the text is used.
        limit: what of that store it is limited to.
        unsupported: kinds that it can't have, for whatever wrote it did not know them.
        unsaved: how many things could not be saved.
        is_legacy: whether an older script made it.
        unread: what could not be read, once `items` were.
        gaps: what could not be read or saved, by its kind in one word and its key, once `items` were read.
    """

    shown: str
    kind: str
    uri: str
    identity: str
    limit: Selection
    unsupported: tuple[Kind[Record], ...]
    unsaved: int
    is_legacy: bool
    unread: list[Skipped]

    @property
    def gaps(self) -> Set[tuple[str, str]]:
        """See above."""

    def names(self, selection: Selection) -> set[str]:
        """The names of its experiments in the workspaces of a selection."""

    def items(self, selection: Selection) -> Iterator[Item]:
        """What it has of a selection, in a snapshot's order."""


class _SnapshotSide:
    def __init__(self, snapshot: Snapshot) -> None:
        summary = snapshot.summary
        self._snapshot = snapshot
        self.shown = snapshot.timestamp
        self.kind = summary.source_kind
        self.uri = summary.mlflow_uri
        self.identity = summary.source_id or summary.identity
        self.limit = summary.selection
        self.unsupported = summary.unsupported
        self.gaps = frozenset((one.kind, one.id) for one in summary.skipped if one.is_of_records)
        self.unsaved = sum(one.is_of_records for one in summary.skipped)
        self.is_legacy = snapshot.is_legacy
        self.unread: list[Skipped] = []

    @cached_property
    def _named(self) -> set[tuple[str | None, str]]:
        return {(record.workspace, record.name) for record in self._snapshot.records(EXPERIMENTS)}

    def names(self, selection: Selection) -> set[str]:
        return {name for workspace, name in self._named if selection.has_workspace(workspace)}

    def items(self, selection: Selection) -> Iterator[Item]:
        return Selected(self._snapshot, selection).items()


class _StoreSide:
    """A store as it is now; histories that can't have changed since a base come from there."""

    def __init__(self, source: Source, identity: str, progress: Progress, base: Snapshot | None) -> None:
        self._source = source
        self._progress = progress
        self._base = base
        self.shown = self.uri = source.info.uri
        self.kind = source.info.kind
        self.identity = identity
        self.limit = Selection()
        self.unsupported: tuple[Kind[Record], ...] = ()
        self.unsaved = 0
        self.is_legacy = False
        self.unread: list[Skipped] = []

    @property
    def gaps(self) -> Set[tuple[str, str]]:
        return {(one.kind, one.id) for one in self.unread}

    @cached_property
    def _named(self) -> set[tuple[str | None, str]]:
        return self._source.experiment_names()

    def names(self, selection: Selection) -> set[str]:
        return {name for workspace, name in self._named if selection.has_workspace(workspace)}

    def items(self, selection: Selection) -> Iterator[Item]:
        for item in with_followers(read_along(self._source, selection, self._base, self._progress)):
            if not isinstance(item, Skipped):
                yield item
            elif item.is_of_records:
                self.unread.append(item)


def _compared(before: _Side, after: _Side, limit: Selection, progress: Progress, notes: Sequence[str]) -> DiffResult:
    progress.phase("comparing")
    wanted = _wanted(before, after, limit)
    left, right = _items(before, wanted), _items(after, wanted)
    unknown: frozenset[str] = frozenset()
    shown = _ShownByApi()
    if (before.kind in DATABASES) != (after.kind in DATABASES):
        left, right = filter(shown, left), filter(shown, right)
        unknown = frozenset(UNSHOWN_BY_API)
    rules = ComparisonRules(unknown, before.is_legacy, after.is_legacy)
    found = changes(left, right, rules, lambda: (before.gaps, after.gaps))
    return DiffResult(
        before=before.shown,
        after=after.shown,
        experiments=wanted.experiments,
        workspaces=wanted.workspaces,
        comparison=found,
        unread=tuple(after.unread),
        warnings=(*_cautions(before, after, differ=bool(found.changes)), *shown.notes(), *notes),
    )


def _wanted(before: _Side, after: _Side, limit: Selection) -> Selection:
    """What to compare: what both sides can have.

    Raises:
        UsageError: neither side has them, or they don't cover any in common.
    """
    hint = "`mlmeta show` names the experiments of a snapshot"
    limits = (limit, before.limit, after.limit)
    without = {name for one in limits for name in one.without}
    without.update(kind.name for side in (before, after) for kind in side.unsupported)
    wanted = _common("experiments", [set(one.experiments) for one in limits], hint)
    workspaces = _common("workspaces", [set(one.workspaces) for one in limits], hint)
    found = Selection(tuple(sorted(wanted)), limit.only, tuple(sorted(without)), tuple(sorted(workspaces)))
    if unknown := wanted and wanted - before.names(found) - after.names(found):
        raise UsageError(f"neither side has an experiment {', '.join(map(repr, sorted(unknown)))}", hint=hint)
    found = replace(found, auth=before.limit.auth and after.limit.auth)
    if not any(map(found.means, KINDS.values())):
        raise UsageError(f"not both sides have {', '.join(limit.only)}: there is nothing to compare", hint=_LACKS)
    return found


_LACKS = "`mlmeta show` says what a snapshot was made without"


def _common(what: str, limits: Sequence[set[str]], hint: str) -> set[str]:
    """What all limits allow, of which empty ones are none; empty: everything."""
    given = [limit for limit in limits if limit]
    common = set.intersection(*given) if given else set()
    if given and not common:
        raise UsageError(f"none of the given {what} is covered by both sides", hint=hint)
    return common


def _items(side: _Side, wanted: Selection) -> Iterator[Item]:
    """What a side has of a selection."""
    if not wanted.experiments:
        return side.items(wanted)
    there = side.names(wanted).intersection(wanted.experiments)
    return side.items(replace(wanted, experiments=tuple(sorted(there)))) if there else iter(())


class _ShownByApi:
    """Lets through what MLflow's API shows, and counts records of kinds of which it shows none."""

    def __init__(self) -> None:
        self._hidden: Counter[str] = Counter()

    def __call__(self, item: Item) -> bool:
        record = bare(item)
        kind = kind_of(record)
        if not kind.in_api:
            self._hidden[kind.many] += 1
        return kind.in_api and (kind.shows_deleted or getattr(record, "lifecycle_stage", "") != "deleted")

    def notes(self) -> Iterator[str]:
        """What was not compared."""
        for many, count in self._hidden.items():
            yield f"{count:,} {many} of the database were not compared: MLflow's API does not show them"


def _cautions(before: _Side, after: _Side, *, differ: bool) -> Iterator[str]:
    """What a person should know who reads what changed."""
    if before.limit.auth != after.limit.auth:
        only = before if before.limit.auth else after
        yield f"users and permissions were not compared: only {only.shown} has them"
    for side, other in ((before, after), (after, before)):
        if left_out := set(side.limit.without) - set(other.limit.without):
            yield f"{', '.join(sorted(left_out))} were not compared: {side.shown} was made without them"
        if side.unsupported:
            kinds = ", ".join(kind.many for kind in side.unsupported)
            yield f"{side.shown} is of a version of mlmeta that did not save {kinds} yet: they were not compared"
        if side.unsaved:
            yield f"{amount(side.unsaved, 'things')} could not be saved in {side.shown}, and may appear to be missing"
        if side.is_legacy:
            yield f"an older script wrote {side.shown}: it has no metric histories and no aliases to compare"
    if differ and _are_two(before, after):
        yield f"these are two different stores, {before.uri} and {after.uri}: where ids are new, everything differs"


def _are_two(before: _Side, after: _Side) -> bool:
    """Whether they tell of two stores; where an older snapshot can't say, the texts decide."""
    if is_vague(before.identity) or is_vague(after.identity):
        return canonical(before.uri) != canonical(after.uri)
    return before.identity != after.identity
