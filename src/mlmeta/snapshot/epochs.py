"""Numbers of guards. Each takes the next by creating an object that nobody can create twice: no clock, no lock.

The objects are no part of a snapshot, and numbers are given out for a storage as a whole, whatever source they are for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mlmeta.errors import ObjectExistsError, ObjectMissingError, ObjectRefusedError
from mlmeta.redaction import cut
from mlmeta.schema import LAST_EPOCH, Selection
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState
from mlmeta.snapshot.layout import moment_of
from mlmeta.storage import Storage, StoredFile, base

T = TypeVar("T")

_NAME = re.compile(r"guard_([1-9][0-9]{0,8})\.json", re.ASCII)
_MOST = 16 << 10
"""Bytes of an object that are read."""
_SHOWN = 100
_READ = 20
"""So many objects are read for the last guard of a source."""
_BESIDE = timedelta(days=1)
"""How long a guard is expected to go on beside a later one."""


class Claim(BaseModel):
    """Which guard has a number.

    Args:
        epoch: the number.
        source: what its snapshots are of (`Summary.identity`).
        guard: a random word, by which it knows its own.
        host: the machine that it ran on.
        pid: its process there.
        started: when, ISO 8601 in UTC, by that machine's clock: to be shown, and nothing goes by it.
        mlmeta_version: that it was.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    epoch: int
    source: str
    guard: str
    host: str = ""
    pid: int = 0
    started: str = ""
    mlmeta_version: str = ""

    @property
    def told(self) -> str:
        """Which guard it is, for people."""
        return f"guard {self.epoch} on {cut(self.host, _SHOWN)} (process {self.pid}, since {cut(self.started, _SHOWN)})"


def name_of(epoch: int) -> str:
    """The name of the object of a number."""
    return f"guard_{epoch}.json"


def claims_in(files: Iterable[StoredFile]) -> dict[int, StoredFile]:
    """The objects among some files, by their numbers: whatever has such a name has taken the number."""
    matches = ((_NAME.fullmatch(file.name), file) for file in files)
    return {int(match[1]): file for match, file in matches if match is not None}


def create(storage: Storage, claim: Claim) -> bool:
    """Take a number; False: another guard has it.

    Raises:
        StorageError: whether it is taken is unknown.
    """
    if claim.epoch > LAST_EPOCH:
        raise ValueError(f"{claim.epoch} is no number of a guard")
    try:
        base.create(storage, name_of(claim.epoch), f"{claim.model_dump_json()}\n".encode())
    except ObjectExistsError:
        there = read_claim(storage, claim.epoch)
        return there is not None and there.guard == claim.guard  # an earlier try, whose reply was lost
    return True


def read_claim(storage: Storage, epoch: int) -> Claim | None:
    """Which guard has a number; None: none does, as what has that name is something else.

    Raises:
        StorageError: it can't be read.
    """
    try:
        claim = Claim.model_validate_json(base.read(storage, name_of(epoch), _MOST))
    except (ValidationError, ObjectMissingError, ObjectRefusedError):
        return None
    return claim if claim.epoch == epoch else None


def last_claim(storage: Storage, files: Iterable[StoredFile], sources: Collection[str]) -> Claim | None:
    """The last guard of a source, as far as a look at the highest numbers tells; None: there is none.

    Args:
        storage: where.
        files: of it, all of them.
        sources: spellings of the source; none: any is meant.

    Raises:
        StorageError: it can't be read.
    """
    for number in sorted(claims_in(files), reverse=True)[:_READ]:
        claim = read_claim(storage, number)
        if claim is not None and (not sources or claim.source in sources):
            return claim
    return None


def outlived(claims: Mapping[int, StoredFile], in_use: Collection[int], before: float) -> dict[int, StoredFile]:
    """Objects that nobody needs any more. The highest always stays, so that no number is given out twice.

    Args:
        claims: all of a storage.
        in_use: epochs that snapshots there have.
        before: seconds since the epoch: guards that are superseded have noticed younger ones by then.
    """
    highest = max(claims, default=0)
    return {
        epoch: file
        for epoch, file in claims.items()
        if epoch != highest and epoch not in in_use and file.modified < before and not file.problem
    }


def preferred(infos: Iterable[SnapshotInfo]) -> SnapshotInfo | None:
    """The snapshot to go on from: of those that guards saved, only the last guard's count; then the newest.

    What no guard saved has no place in their order: it counts by its time.

    Args:
        infos: of one source.
    """
    found = list(infos)
    last = max((info.epoch for info in found), default=0)
    return max((info for info in found if info.epoch in {0, last}), key=lambda info: info.timestamp, default=None)


def heads(infos: Iterable[SnapshotInfo]) -> set[str]:
    """Timestamps of snapshots of guards that are in no later guard's: they have what nothing else has.

    They are the newest of each guard, and older ones that may have what newer ones lack.

    Args:
        infos: of a storage, those that count.
    """
    series: dict[tuple[str, Selection], dict[int, list[SnapshotInfo]]] = {}
    for info in infos:
        if info.epoch:
            series.setdefault(info.series, {}).setdefault(info.epoch, []).append(info)
    found = set()
    for by_epoch in series.values():
        newest = {epoch: max(own, key=lambda info: info.timestamp) for epoch, own in by_epoch.items()}
        for epoch, own in by_epoch.items():
            after = [info.lineage for other, info in newest.items() if other > epoch]
            late = (info for info in own if not any(lineage.has(epoch, info.timestamp) for lineage in after))
            found |= {info.timestamp for info in least_lacking(late, lambda info: (info.timestamp, lacks(info)))}
    return found


def least_lacking(found: Iterable[T], told: Callable[[T], tuple[str, int]]) -> list[T]:
    """The newest, and before it each older one that lacks less than all newer ones.

    Args:
        found: snapshots of one guard, in any order.
        told: the timestamp of one, and how much it is to be doubted.
    """
    chosen: list[T] = []
    for one in sorted(found, key=lambda one: (told(one)[0], -told(one)[1]), reverse=True):
        if not chosen or told(one)[1] < told(chosen[-1])[1]:
            chosen.append(one)
    return chosen[::-1]


def lacks(info: SnapshotInfo) -> int:
    """How much a snapshot is to be doubted: whether its store may have lost something, or not all of that was saved."""
    return info.gap_level + (3 if info.state is SnapshotState.SHRUNKEN else 0)


def forks(infos: Iterable[SnapshotInfo]) -> set[str]:
    """Timestamps of the snapshots up to which others of the last day have what earlier guards saved.

    What an earlier one saves late is compared with such a one: what was in it, and is gone from a later guard's store
    since, stays gone. Not only the newest counts: another guard may just have been started from an older one.

    Args:
        infos: of a storage, those that count.
    """
    series: dict[tuple[str, Selection], list[SnapshotInfo]] = {}
    for info in infos:
        series.setdefault(info.series, []).append(info)
    found = set()
    for known in series.values():
        last = max(known, key=lambda info: info.timestamp)
        recent = [info for info in known if _is_beside(info, last)]
        needed = {one for info in recent for one in info.includes.items()}
        found |= {info.timestamp for info in recent if (info.epoch, info.timestamp) in needed}
    return found


def _is_beside(info: SnapshotInfo, last: SnapshotInfo) -> bool:
    made, latest = moment_of(info.timestamp), moment_of(last.timestamp)
    return made is not None and latest is not None and latest - made <= _BESIDE
