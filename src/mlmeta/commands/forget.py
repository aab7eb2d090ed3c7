"""`mlmeta forget`: snapshots go because a person says so, one by one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.previous import SOUND, is_empty
from mlmeta.commands.removal import STAYS, remove_all
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import DamagedSnapshotError, ExitCode, ObjectMissingError, SnapshotNotFoundError, UsageError
from mlmeta.notebook import Row
from mlmeta.schema import Names, several
from mlmeta.schema.words import amount
from mlmeta.snapshot.catalog import SnapshotInfo, described, file_sets
from mlmeta.snapshot.find import Which, find
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.summaries import summary_text
from mlmeta.storage import Location, Locations, Storage, distinct, open_storage
from mlmeta.stores.opening import which


class Forgotten(BaseModel):
    """A snapshot that goes, and what that means.

    Args:
        timestamp: its name.
        storage: where it is.
        source: where it was taken from, without credentials; empty where unknown.
        identity: which store that is, whatever text named it.
        label: the name that a person gave it; empty: none.
        tags: of the snapshot.
        state: what it is good for: see `SnapshotState`.
        size: bytes of its files.
        accepted: how many things it lacks, as a person accepts.
        is_last: whether no good snapshot of that source, limited as this one, is left in the storage; or only such as
            have gaps, where this one has none, or none but accepted ones.
        others: whether others are left that have gaps.
        instead: where it is the newest good one of its source: the one that is that from then on; else empty.
    """

    model_config = ConfigDict(frozen=True)

    timestamp: str
    storage: str
    source: str
    identity: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    state: str
    size: int
    accepted: int = 0
    is_last: bool = False
    others: bool = False
    instead: str = ""

    @property
    def good(self) -> str:
        """What the storage has no other of, where it is the last."""
        if not self.others:
            return "good snapshot"
        return "complete snapshot" if self.accepted else "snapshot without gaps"


class ForgetResult(Result):
    """What went, or would go.

    Args:
        snapshots: each with its storage.
        lacking: storages that do not have one of them, with its timestamps.
        kept: why one could not be removed, by its storage and timestamp.
        dry_run: whether nothing was removed.
    """

    snapshots: tuple[Forgotten, ...]
    lacking: dict[str, tuple[str, ...]] = {}
    kept: dict[str, str] = {}
    dry_run: bool = False

    @property
    def freed(self) -> int:
        """Bytes of all that went."""
        return sum(one.size for one in self.snapshots)

    @property
    def headline(self) -> str:
        """How many, and from where."""
        places = ", ".join(dict.fromkeys(one.storage for one in self.snapshots))
        verb = "would go" if self.dry_run else "removed"
        return f"{amount(len(self.snapshots), 'snapshots')} {verb}" + (f" from {places}" if places else "")

    def entries(self) -> Iterator[Row]:
        """Each snapshot, and where it was."""
        for one in self.snapshots:
            yield {"snapshot": one.timestamp, "storage": one.storage, "bytes": one.size, "state": one.state}

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What could not be removed."""
        hint = "what is left of it is no snapshot anymore; `mlmeta prune` removes it once it is a day old"
        return tuple(
            Issue(code="not_removed", message=f"{what}: {why}", hint="" if why == STAYS else hint)
            for what, why in self.kept.items()
        )

    @property
    def exit_code(self) -> ExitCode:
        """`INCOMPLETE` where something could not be removed."""
        return ExitCode.INCOMPLETE if self.kept else ExitCode.DONE


Confirm = Callable[[ForgetResult], None]
"""Shown the plan before anything is removed; raises to stop."""


@dataclass(frozen=True)
class _Place:
    """A storage, and what is to go there."""

    storage: Storage
    going: dict[str, FileSet]
    infos: tuple[SnapshotInfo, ...]


def forget(
    selectors: Names,
    storages: Locations = ("backups",),
    *,
    of_source: Location = "",
    even_last: bool = False,
    dry_run: bool = False,
    confirm: Confirm | None = None,
) -> ForgetResult:
    """Remove snapshots on purpose, whatever rules would keep them.

    No other snapshot needs them: one that took histories from them has its own copy. The only good one that a storage
    has of a source stays, unless that is said as well.

    Args:
        selectors: which snapshot, or several.
        storages: from where: a folder or ``gs://bucket/prefix``, or several that have copies of the same.
        of_source: label or tracking URI of the source that ``latest`` means, where the storage has several.
        even_last: also the only good snapshot of a source.
        dry_run: only say what would go.
        confirm: shown the plan before anything is removed; raises to stop.

    Raises:
        UsageError: no snapshot is named; it is the only good one; or storages have different ones of that name.
        SnapshotNotFoundError: no storage has such a snapshot.
        StorageError: a storage can't be read.
    """
    if not several(selectors):
        raise UsageError("no snapshot is named", hint="`mlmeta list` shows them")
    places = distinct(map(open_storage, several(storages)))
    timestamps = tuple(dict.fromkeys(_named(places, selector, which(of_source)) for selector in several(selectors)))
    found, plan = _plan(places, timestamps, dry_run=dry_run)
    _must_be_one(found)
    if not even_last:
        _must_not_be_last(plan)
    if dry_run:
        return plan
    if confirm is not None:
        confirm(plan)
        found, again = _plan(places, timestamps, dry_run=dry_run)
        if again != plan:  # whoever was asked may have thought for an hour
            raise UsageError("a storage has changed since the plan was made: nothing was removed", hint="try again")
    kept = dict(_removed(found, even_last=even_last))
    return plan.model_copy(
        update={
            "snapshots": tuple(s for s in plan.snapshots if _name(s.storage, s.timestamp) not in kept),
            "kept": kept,
        }
    )


def _named(places: Sequence[Storage], selector: str, meant: Which) -> str:
    """The timestamp that a selector means: in the first storage that has something of it."""
    first: SnapshotNotFoundError | None = None
    for place in places:
        try:
            return find(place, selector, meant).files.timestamp
        except SnapshotNotFoundError as error:
            first = first or error
    raise first or UsageError("no storage is named", hint="name the folder with --storage")


def _plan(places: Sequence[Storage], timestamps: Sequence[str], *, dry_run: bool) -> tuple[list[_Place], ForgetResult]:
    found = [_look(place, timestamps) for place in places]
    lacking = {
        one.storage.location: tuple(name for name in timestamps if name not in one.going)
        for one in found
        if len(one.going) < len(timestamps)
    }
    snapshots = tuple(forgotten for one in found for forgotten in _forgotten(one))
    return found, ForgetResult(snapshots=snapshots, lacking=lacking, dry_run=dry_run)


def _look(place: Storage, timestamps: Sequence[str]) -> _Place:
    sets = file_sets(place)
    going = {one.timestamp: one for one in sets if one.timestamp in timestamps and one.summary is not None}
    return _Place(place, going, tuple(described(place, sets, time.time())))


def _forgotten(place: _Place) -> Iterator[Forgotten]:
    good = [one for one in place.infos if one.state in SOUND and not is_empty(one.stats)]
    left = [one for one in good if one.timestamp not in place.going]
    for info in place.infos:
        if info.timestamp not in place.going:
            continue
        newest = next((one.timestamp for one in good if one.series == info.series), "")
        others = [one.timestamp for one in left if one.series == info.series]
        as_good = any(one.series == info.series and one.gap_level <= info.gap_level for one in left)
        yield Forgotten(
            timestamp=info.timestamp,
            storage=place.storage.location,
            source=info.source,
            identity=info.identity,
            label=info.label,
            tags=info.tags,
            state=info.state.value,
            size=info.size,
            accepted=info.accepted,
            is_last=info.state.restorable and not as_good,
            others=bool(others),
            instead=others[0] if others and info.timestamp == newest else "",
        )


def _must_be_one(found: Sequence[_Place]) -> None:
    """See that copies are copies.

    Raises:
        UsageError: two storages have different snapshots of a name.
    """
    seen: dict[str, tuple[str, bytes]] = {}
    for place in found:
        for timestamp, files in place.going.items():
            try:
                text = summary_text(place.storage, files)
            except (DamagedSnapshotError, ObjectMissingError):  # whose copy, nobody can tell: it goes all the same
                continue
            where, other = seen.setdefault(timestamp, (place.storage.location, text))
            if other != text:
                raise UsageError(
                    f"{where} and {place.storage.location} have different snapshots {timestamp}: nothing was removed",
                    hint="name one storage at a time",
                )


def _must_not_be_last(plan: ForgetResult) -> None:
    last = [one for one in plan.snapshots if one.is_last]
    if last:
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for one in last:
            groups[one.storage, one.label or one.source or "its source", one.good].append(one.timestamp)
        named = "; ".join(_is_last(timestamps, *group) for group, timestamps in groups.items())
        raise UsageError(
            f"{named}: nothing was removed", hint="make another one first; or add --even-last, if it is not needed"
        )


def _is_last(timestamps: Sequence[str], storage: str, source: str, good: str) -> str:
    verb = "is the only" if len(timestamps) == 1 else "are together the only"
    return f"{', '.join(timestamps)} {verb} {good.replace('snapshot', f'snapshot of {source}')} in {storage}"


def _removed(found: Sequence[_Place], *, even_last: bool) -> Iterator[tuple[str, str]]:
    """Remove them; what was not removed, and why."""
    for place in found:
        done = remove_all(place.storage, [*place.going.values()], even_last=even_last)
        for timestamp in sorted(done.stayed):
            yield _name(place.storage.location, timestamp), STAYS
        for timestamp, error in done.failed.items():
            yield _name(place.storage.location, timestamp), str(error)


def _name(storage: str, timestamp: str) -> str:
    return f"{storage} {timestamp}"
