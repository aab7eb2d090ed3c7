"""Which guard of its store this one is, and what it knows of the others."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from mlmeta import __version__
from mlmeta.commands.previous import SOUND
from mlmeta.errors import MlmetaError, SnapshotError, StorageError, StorageMissingError
from mlmeta.schema import LAST_EPOCH, Lineage, Summary
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState, glance, sets_of
from mlmeta.snapshot.epochs import Claim, claims_in, create, heads, lacks, least_lacking, name_of, read_claim
from mlmeta.snapshot.layout import FileSet, timestamp_of
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.summaries import read_summary
from mlmeta.snapshot.writer import MOMENT, utc_now
from mlmeta.storage import Storage, StoredFile, distinct, open_storage
from mlmeta.stores.opening import Store, whereabouts

EVERYTHING = "99999999_999999"
"""After all timestamps."""
_DAMAGED = 10
"""More than anything that a snapshot lacks."""
_LOOKED_AT = 20
"""So many snapshots are looked at for one of the same store."""


@dataclass(frozen=True)
class Origin:
    """What a store has in it of snapshots when its guard begins.

    Args:
        includes: what is known of that: see `Lineage`.
        until: all that guards saved of the source up to this timestamp counts as well; empty: no more.
        epoch: and so does all that this guard saved, which had the very same store; 0: there was none.
    """

    includes: Lineage = field(default_factory=Lineage)
    until: str = ""
    epoch: int = 0

    @staticmethod
    def of(summary: Summary) -> Origin:
        """That of a store that was restored from a snapshot."""
        timestamp = summary.backup_timestamp
        if not summary.epoch:
            return Origin(until=timestamp)  # nobody said what is in it: it goes by time
        return Origin(Lineage(0, summary.includes).having(summary.epoch, timestamp))

    def has(self, info: SnapshotInfo) -> bool:
        """Whether a guard's snapshot counts as included."""
        return info.epoch == self.epoch or info.timestamp <= self.until


@dataclass(frozen=True)
class Late:
    """A snapshot that an earlier guard saved of its own store, and that is not in this one's.

    Args:
        place: where it is.
        info: what is known of it.
        snapshot: itself.
        base: one that both stores have in them; None: there is none any more.
        fork: the timestamp of the newest such one, be it there or not; empty: they have nothing in common.
        is_same_store: whether both guard the very same store, so that there is nothing to bring in.
    """

    place: Storage
    info: SnapshotInfo
    snapshot: Snapshot
    base: Snapshot | None
    fork: str
    is_same_store: bool


@dataclass(frozen=True)
class _Survey:
    """What a storage has.

    Args:
        place: the storage.
        claims: numbers that are taken.
        sets: the files of snapshots.
        infos: what is known of these, by timestamp.
    """

    place: Storage
    claims: dict[int, StoredFile]
    sets: dict[str, FileSet]
    infos: dict[str, SnapshotInfo]

    @property
    def highest(self) -> int:
        """Of the numbers that are taken, or have been."""
        return max([0, *self.claims, *(info.epoch for info in self.infos.values())])

    def snapshot(self, timestamp: str) -> Snapshot:
        """One of its snapshots."""
        return Snapshot(self.place, read_summary(self.place, self.sets[timestamp]))


class Epochs:
    """The numbers of a store's guards. Threads may share it.

    Args:
        store: that is guarded.
        places: where its snapshots go.
        label: that these have; empty: none.
        origin: what is in it at the beginning.
        remember: told what is in it whenever this guard has a new number.
    """

    def __init__(
        self, store: Store, places: Sequence[str], label: str, origin: Origin, remember: Callable[[Lineage], None]
    ) -> None:
        self._store = store
        self._places = sorted((place.location, place) for place in distinct(map(open_storage, places)))
        self._label = label
        self._origin = origin
        self._remember = remember
        self._lock = threading.RLock()
        self._unsettled = {location for location, _ in self._places}
        self._claimed: set[str] = set()
        self._earlier: set[int] = set()
        self._last_saved = ""
        self._done: dict[int, str] = {}
        self._damaged: set[tuple[str, str]] = set()
        self._known: dict[str, dict[StoredFile, SnapshotInfo]] = {}
        self._word, self._started = secrets.token_hex(16), utc_now().isoformat(timespec="seconds")
        self.adopted = 0
        """How often something was brought into the store."""
        self.left_out: dict[int, str] = {}
        """Of a store that was there before its guard: what earlier guards saved and is not brought in."""
        self.lineage = origin.includes
        """What is in the store, and this guard's number."""
        self.rival: Claim | None = None
        """The last of the later guards, if there is one."""

    @cached_property
    def _who(self) -> tuple[str, bool]:
        return whereabouts(self._store)

    @property
    def _source(self) -> str:
        """What the store's snapshots are of."""
        return self._label or self._who[0]

    def _surveys(self) -> tuple[list[_Survey], list[str]]:
        """What the storages have, and why some can't be looked at."""
        found, problems = [], []
        for location, place in self._places:
            try:
                survey = self._survey(place)
            except StorageError as error:
                problems.append(f"{location} can't be looked at: {error}")
                continue
            found.append(survey)
            if location in self._unsettled:
                self._settle(survey)
        return found, problems

    def _survey(self, place: Storage) -> _Survey:
        try:
            files = list(place.files())
        except StorageMissingError:
            files = []
        sets = {one.timestamp: one for one in sets_of(files) if one.summary is not None}
        known = self._known.get(place.location, {})
        infos = {
            timestamp: known[one.summary] if one.summary in known else glance(place, one, time.time())
            for timestamp, one in sets.items()
        }
        self._known[place.location] = {  # a summary never changes, but a snapshot from the future stops being one
            one.summary: infos[timestamp]
            for timestamp, one in sets.items()
            if one.summary is not None and infos[timestamp].state in SOUND
        }
        return _Survey(place, claims_in(files), sets, infos)

    def _settle(self, survey: _Survey) -> None:
        """Note what of a storage is in the store from its beginning."""
        infos = [info for info in survey.infos.values() if self._is_of_source(info)]
        origin = self._origin_by(survey, infos)
        with self._lock:
            self.lineage = self.lineage.joined(origin.includes)
            for info in filter(origin.has, infos):
                own = info.lineage if info.epoch == origin.epoch else Lineage()
                self.lineage = self.lineage.joined(own).having(info.epoch, info.timestamp)
            if origin.until == EVERYTHING:
                left = (info for info in infos if info.timestamp in heads(infos))
                self.left_out.update((info.epoch, info.timestamp) for info in left)
            self._unsettled.discard(survey.place.location)

    def _origin_by(self, survey: _Survey, infos: Sequence[SnapshotInfo]) -> Origin:
        """The origin of the store; where nobody kept it, as the last snapshot of the very same store says it."""
        if self._origin.until != EVERYTHING or self._store.kind == "sqlite":  # whose file keeps it, if anybody does
            return self._origin
        for info in sorted(infos, key=lambda info: info.timestamp, reverse=True)[:_LOOKED_AT]:
            summary = survey.snapshot(info.timestamp).summary
            if summary.source_id == self._who[0]:
                return Origin.of(summary)
        return self._origin

    def _is_of_source(self, info: SnapshotInfo) -> bool:
        return info.epoch > 0 and info.identity == self._source

    def settle(self) -> None:
        """Look at what there is at the beginning, as far as that is possible yet."""
        if self._unsettled and (self._origin.until or self._origin.epoch):
            try:
                self._surveys()
            except MlmetaError:  # the store is not there yet: the next look will do
                return

    def claim(self) -> None:
        """Take a number in every storage where this guard has none yet, as far as they can be used.

        It takes another one when its clock was set back: what it saves from then on comes after what it has saved, and
        only numbers still tell that.

        Raises:
            MlmetaError: the store can't be read.
        """
        with self._lock:
            is_back = self._last_saved > timestamp_of(utc_now() + MOMENT)
            if self.lineage.epoch and len(self._claimed) == len(self._places) and not is_back:
                return
            lacking = [one for one in self._surveys()[0] if is_back or one.place.location not in self._claimed]
            if not lacking:
                return
            number, highest = self.lineage.epoch, max(survey.highest for survey in lacking)
            if number > highest and not is_back:
                self._take(number, {one.place.location for one in lacking})
            else:
                self._take(max(number, highest) + 1, {one.place.location for one in lacking} | self._claimed)

    def _take(self, number: int, locations: set[str]) -> None:
        """Have this number in some storages, or the next one that is free in all of them."""
        while number <= LAST_EPOCH:
            claim = self._claim_of(number)
            taken = {location: _created(place, claim) for location, place in self._places if location in locations}
            if False not in taken.values():
                self._have(number, {location for location, done in taken.items() if done})
                return
            number += 1

    def _claim_of(self, number: int) -> Claim:
        return Claim(
            epoch=number,
            source=self._source,
            guard=self._word,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self._started,
            mlmeta_version=__version__,
        )

    def _have(self, number: int, locations: set[str]) -> None:
        """Go by a number, if any storage took it."""
        if not locations:
            return
        before = self.lineage.epoch
        if before == number:
            self._claimed |= locations
            return
        self._claimed, self._earlier = locations, {*self._earlier, before} - {0}
        before = before if self._last_saved else 0
        self.lineage = replace(self.lineage.having(before, self._last_saved), epoch=number)
        self._last_saved = ""
        self._remember(self.lineage)

    def saved(self, timestamp: str) -> None:
        """This guard has saved a snapshot; empty: it has not, as nothing had changed."""
        self._last_saved = timestamp or self._last_saved

    def may_prune(self) -> bool:
        """Whether this is the last guard, as far as all storages tell."""
        if self.rival is not None:
            return False
        try:
            _, problems = self.look()
        except MlmetaError:
            return False
        return self.lineage.epoch > 0 and self.rival is None and not problems

    def look(self) -> tuple[list[Late], list[str]]:
        """What earlier guards saved of their own stores; and why some of it is not known.

        Of each the newest, which has all that older ones have, and before it those that may have what it lacks.
        Later guards are noted in `rival`.

        Raises:
            MlmetaError: the store can't be read.
        """
        surveys, problems = self._surveys()
        for survey in surveys:
            try:
                self._look_for_rival(survey)
            except StorageError as error:
                problems.append(f"{survey.place.location} can't be looked at: {error}")
        late: dict[int, list[tuple[_Survey, SnapshotInfo]]] = {}
        for survey in surveys:
            for info in filter(self._is_late, survey.infos.values()):
                late.setdefault(info.epoch, []).append((survey, info))
        found = []
        for _, own in sorted(late.items()):
            for survey, info in least_lacking(own, self._doubted):
                try:
                    found.append(self._late(survey, info))
                except MlmetaError as error:
                    problems.append(f"{info.timestamp} of guard {info.epoch} can't be read: {error}")
                    self._note_damage(survey.place, info.timestamp, error)
        return [one for one in found if self._is_late(one.info)], problems

    def _doubted(self, found: tuple[_Survey, SnapshotInfo]) -> tuple[str, int]:
        """The timestamp of a snapshot, and how much it is to be doubted: see `least_lacking`."""
        survey, info = found
        is_damaged = (survey.place.location, info.timestamp) in self._damaged
        return info.timestamp, lacks(info) + (_DAMAGED if is_damaged else 0)

    def could_not_use(self, late: Late, error: MlmetaError) -> None:
        """A snapshot could not be brought in: if that is its own fault, an older one, or a copy, will do for now."""
        self._note_damage(late.place, late.info.timestamp, error)

    def _note_damage(self, place: Storage, timestamp: str, error: MlmetaError) -> None:
        if isinstance(error, SnapshotError):
            self._damaged.add((place.location, timestamp))

    def _look_for_rival(self, survey: _Survey) -> None:
        known = max(self.lineage.epoch, self.rival.epoch if self.rival is not None else 0)
        for number in sorted((one for one in survey.claims if one > known), reverse=True) if known else ():
            claim = read_claim(survey.place, number)
            if claim is not None and claim.source == self._source and claim.guard != self._word:
                self.rival = claim
                return

    def _is_late(self, info: SnapshotInfo) -> bool:
        """Whether an earlier guard saved it, and it is not in the store, nor was it tried to bring it in."""
        return (
            self._is_of_source(info)
            and info.epoch < self.lineage.epoch
            and info.epoch not in self._earlier
            and info.timestamp > self._done.get(info.epoch, "")
            and info.state.restorable
            and info.state is not SnapshotState.FUTURE
            and not self.lineage.has(info.epoch, info.timestamp)
        )

    def _late(self, survey: _Survey, info: SnapshotInfo) -> Late:
        snapshot = survey.snapshot(info.timestamp)
        summary = snapshot.summary
        told = info.model_copy(update={"epoch": summary.epoch, "identity": summary.identity})  # not what a listing says
        source_id, is_everywhere = self._who
        same = is_everywhere and summary.source_id == source_id
        fork = self.lineage.fork(summary.lineage)
        return Late(survey.place, told, snapshot, self._base(survey, snapshot), fork, same)

    def _base(self, survey: _Survey, snapshot: Snapshot) -> Snapshot | None:
        """The newest snapshot that both stores have in them."""
        theirs = snapshot.summary.lineage
        common = [
            info
            for info in survey.infos.values()
            if self._is_of_source(info)
            and self.lineage.has(info.epoch, info.timestamp)
            and (info.epoch == theirs.epoch or theirs.has(info.epoch, info.timestamp))
            and info.state.restorable
        ]
        if not common:
            return None
        return survey.snapshot(max(common, key=lambda info: (info.epoch, info.timestamp)).timestamp)

    def is_in(self, late: Late) -> None:
        """What a snapshot has is in the store now."""
        with self._lock:
            self.lineage = self.lineage.having(late.info.epoch, late.info.timestamp)
            self.adopted += not late.is_same_store

    def is_done(self, late: Late) -> None:
        """What a snapshot has is in the store now, but for what does not go there: it is not tried again."""
        self._done[late.info.epoch] = max(late.info.timestamp, self._done.get(late.info.epoch, ""))
        self.adopted += 1

    @property
    def rival_told(self) -> str:
        """Who has taken over; empty: nobody."""
        return self.rival.told if self.rival is not None else ""

    def unnumbered(self) -> Iterator[str]:
        """Why this guard has no number."""
        if not self.lineage.epoch:
            yield (
                "this guard has no number, so it prunes nothing: no storage can be used, or there is "
                f"{name_of(LAST_EPOCH)}, after which none comes"
            )


def _created(place: Storage, claim: Claim) -> bool | None:
    """Whether a storage has a number for this guard now; None: it can't be used."""
    try:
        return create(place, claim)
    except StorageError:
        return None
