"""What a doctor looks at: how a check went, and the newest sound snapshot of a source: is it young enough?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.previous import SOUND
from mlmeta.errors import MlmetaError
from mlmeta.guard.lock import note_of
from mlmeta.metrics import EXIT_CODE, LAST_SAVED, Sample
from mlmeta.redaction import without_secrets
from mlmeta.schema import Selection
from mlmeta.schema.identity import canonical, sqlite_path
from mlmeta.snapshot.catalog import SnapshotInfo, describe, described, file_sets
from mlmeta.snapshot.epochs import last_claim
from mlmeta.snapshot.layout import FileSet, moment_of
from mlmeta.storage import Storage
from mlmeta.stores.checkup import Checkup
from mlmeta.stores.opening import which


class State(str, Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(BaseModel):
    """One thing that was looked at.

    Args:
        name: a stable word, such as ``store`` or ``storage-write``.
        subject: which store or storage; empty: neither.
        state: how it went.
        message: what was found.
        hint: what to do; empty: nothing.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    subject: str = ""
    state: State = State.OK
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """What was found, and where."""
        return f"{self.subject} {self.message}" if self.subject else self.message


def ago(seconds: float) -> str:
    """How long ago something was, in one unit."""
    return f"{duration(max(seconds, 0))} ago"


def duration(seconds: float) -> str:
    """A duration in one unit, of which there are two at least."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds)} s"


_NAMED = 5
"""So many sources are named."""


@dataclass(frozen=True)
class Expected:
    """What backups are like that are looked for.

    Args:
        of_source: label or tracking URI of their source; empty: the store that is looked at.
        label: that they are given.
        limit: what they are limited to.
        if_changed: whether none is made while nothing changes.
        prunes: whether they remove older ones.
        max_age: how old the newest may be; None: any age.
    """

    of_source: str = ""
    label: str = ""
    limit: Selection = field(default_factory=Selection)
    if_changed: bool = False
    prunes: bool = False
    max_age: timedelta | None = None


class Newest(BaseModel):
    """The newest sound snapshot in a storage.

    Args:
        storage: where.
        timestamp: empty: there is none.
        source: where it was taken from.
        age: seconds since its timestamp, or since a backup found that it still holds all.
        too_old: whether that is more than was allowed; also where there is none, but not where nobody could look.
    """

    model_config = ConfigDict(frozen=True)

    storage: str
    timestamp: str = ""
    source: str = ""
    age: float | None = None
    too_old: bool = False


@dataclass(frozen=True)
class Search:
    """A search for the newest snapshots.

    Args:
        tracking_uri: of the store; empty: none is given.
        store: what was found of it; None: it can't be read.
        expected: what the backups are like.
        metrics: what their file of metrics says.
    """

    tracking_uri: str
    store: Checkup | None
    expected: Expected
    metrics: Sequence[Sample]

    def nothing(self, location: str) -> tuple[list[Check], Newest]:
        """What there is in a storage that has no sound snapshot, and what is to say of that."""
        is_bad = self.expected.max_age is not None
        check = Check(
            name="snapshot",
            subject=location,
            state=State.FAILED if is_bad else State.WARNING,
            message="has no sound snapshot of this source" if self._names() else "has no sound snapshot",
            hint="make one: mlmeta backup",
        )
        return [check], Newest(storage=location, too_old=is_bad)

    def of(self, place: Storage, now: float) -> tuple[list[Check], Newest]:
        """What there is in a storage, and what is to say of it.

        Args:
            place: where.
            now: seconds since the epoch.

        Raises:
            StorageError: it can't be read.
        """
        infos = self._counting(place, now)
        sources = list(dict.fromkeys(info.identity for info in infos if info.identity))
        if len(sources) > 1:
            return [self._ambiguous(place, sources)], Newest(storage=place.location)
        found = next((info for info in infos if info.state in SOUND), None)
        suspects = [_suspect(place, info) for info in infos[:1] if info is not found]
        checks, newest = self._aged(place, found, now) if found is not None else self.nothing(place.location)
        return [*suspects, *checks], newest

    def guards(self, place: Storage) -> list[Check]:
        """Which guard of the source is the last one, and whether the one of this file is; nothing where there is none.

        Raises:
            StorageError: that can't be read.
        """
        last = last_claim(place, place.files(), self._names())
        if last is None:
            return []
        text = f"{last.told} has the highest number"
        own = self._own_epoch(place)
        if not own or own > last.epoch:
            return [Check(name="guards", subject=place.location, message=text)]
        if own == last.epoch:
            return [Check(name="guards", subject=place.location, message=f"{text}, and guards this very file")]
        return [
            Check(
                name="guards",
                subject=place.location,
                state=State.WARNING,
                message=f"{text}; that of this file, {own}, is superseded: it saves, and prunes nothing",
                hint="after a deploy, the older server ends; if two go on, end one: its guard saves what is left",
            )
        ]

    def _own_epoch(self, place: Storage) -> int:
        """The number of the last guard of the store's file; 0: that can't be known here."""
        is_file = self.store is not None and self.tracking_uri.startswith("sqlite:")
        note = note_of(Path(sqlite_path(self.tracking_uri))) if is_file else {}
        epoch, storages = note.get("epoch"), note.get("storages")
        is_meant = isinstance(storages, list) and place.location in storages
        return epoch if is_meant and isinstance(epoch, int) else 0

    def _counting(self, place: Storage, now: float) -> list[SnapshotInfo]:
        """Snapshots that may be meant, newest first, up to the first sound one; of all sources where none is named."""
        sets = [files for files in file_sets(place) if files.summary is not None]
        names = self._names()
        if not names:
            return described(place, sets, now)
        exact = self._of(lambda info: {info.identity, info.label}, place, sets, now)
        return exact or self._of(lambda info: {info.source, canonical(info.source)}, place, sets, now)

    def _of(
        self, spellings: Callable[[SnapshotInfo], set[str]], place: Storage, sets: list[FileSet], now: float
    ) -> list[SnapshotInfo]:
        """Those that are spelt as what is meant, up to the first sound one."""
        names, found = self._names(), []
        limit = self.expected.limit if self.store is not None and not self.expected.of_source else None
        for files in sets:
            info = describe(place, files, now)
            if names & spellings(info) - {""} and limit in {None, info.series[1]}:
                found.append(info)
                if info.state in SOUND:
                    break
        return found

    def _names(self) -> set[str]:
        """Spellings of the source that is meant; none: nothing says which."""
        if self.expected.of_source:
            return {*which(self.expected.of_source).source}
        if self.expected.label:
            return {self.expected.label}
        if self.store is not None:
            return {self.store.identity}
        try:
            return {*which(self.tracking_uri).source}
        except MlmetaError:  # what is wrong with it was said
            return {without_secrets(self.tracking_uri)}

    def _ambiguous(self, place: Storage, sources: Sequence[str]) -> Check:
        more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
        named = f"{', '.join(sources[:_NAMED])}{more}"
        return Check(
            name="snapshot",
            subject=place.location,
            state=State.WARNING if self.expected.max_age is None else State.FAILED,
            message=f"has snapshots of {len(sources)} sources, and nothing says which is meant: {named}",
            hint="choose one with --source",
        )

    def _aged(self, place: Storage, found: SnapshotInfo, now: float) -> tuple[list[Check], Newest]:
        limit = self.expected.max_age
        moment = moment_of(found.timestamp)
        age = now - max(moment.timestamp() if moment else 0.0, self._seen_unchanged())
        source = found.label or found.source
        is_old = limit is not None and age > limit.total_seconds()
        text = f"has snapshot {found.timestamp} of {source}, {ago(age)}"
        if limit is not None and is_old:
            text += f": more than {duration(limit.total_seconds())} (--max-age)"
        check = Check(
            name="snapshot",
            subject=place.location,
            state=State.FAILED if is_old else State.OK,
            message="; ".join((text, *found.remarks)),
            hint=self._of_age() if is_old else "",
        )
        newest = Newest(storage=place.location, timestamp=found.timestamp, source=source, age=age, too_old=is_old)
        return [check], newest

    def _seen_unchanged(self) -> float:
        """When a backup last found that the newest snapshot holds all that there is; 0: nobody knows."""
        if not self.expected.if_changed or self.store is None:
            return 0.0
        source = self.expected.label or self.store.info.uri
        own = [one for one in self.metrics if one.job[:2] == ("backup", source)]
        good = {one.job for one in own if one.metric == EXIT_CODE and one.value == 0}
        return max((one.value for one in own if one.metric == LAST_SAVED and one.job in good), default=0.0)

    def _of_age(self) -> str:
        if self.expected.if_changed and not self.metrics:
            return "backup --if-changed makes none while nothing changes: --metrics-file tells when it last looked"
        return "see why the last backups failed, or make one now: mlmeta backup"


def _suspect(place: Storage, info: SnapshotInfo) -> Check:
    return Check(
        name="snapshot",
        subject=place.location,
        state=State.WARNING,
        message=f"has {info.timestamp}, which does not count: it is {info.state.value}: {info.problem}",
        hint=f"look at it: mlmeta show {info.timestamp}",
    )
