"""Which snapshots a storage holds, and in which state they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlmeta.errors import MlmetaError, ObjectMissingError, StorageError, UnsupportedSchemaError
from mlmeta.parallel import ordered_map
from mlmeta.schema import SCHEMA_VERSION, Lineage, Selection, Summary
from mlmeta.snapshot import layout, legacy
from mlmeta.snapshot.summaries import read_summary, untrue
from mlmeta.storage import Storage, StoredFile

ABOUT = "summary"
"""Under this name a copy of the summary rides on its object's metadata, where the storage has such."""
FUTURE = 300
"""Seconds that a snapshot may be ahead of this machine's clock: two clocks are never quite the same."""
_ABOUT_SIZE = 6 << 10
"""GCS takes 8 KiB of custom metadata an object (https://cloud.google.com/storage/quotas)."""
_AT_ONCE = 8
"""Summaries that are read at once: in a bucket, each takes a request."""


class SnapshotState(str, Enum):
    """What a snapshot is good for."""

    COMPLETE = "complete"
    PARTIAL = "partial"  # the source had things that could not be read, and nobody accepts that; the summary names them
    SHRUNKEN = "shrunken"  # it has markedly less than the one before: perhaps the store was lost, or hid something
    FUTURE = "future"  # its timestamp is still to come: a clock was wrong, or somebody made it up
    LEGACY = "legacy"  # written by the script that mlmeta replaces
    INCOMPLETE = "incomplete"  # no summary: an interrupted backup's leftovers, or a backup under way
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"  # the storage does not give its summary away
    UNSUPPORTED = "unsupported"  # written by a newer major version

    @property
    def restorable(self) -> bool:
        """Whether a restore may be tried."""
        return self in {
            SnapshotState.COMPLETE,
            SnapshotState.PARTIAL,
            SnapshotState.SHRUNKEN,
            SnapshotState.FUTURE,
            SnapshotState.LEGACY,
        }


class SnapshotInfo(BaseModel):
    """A row of the list.

    Args:
        timestamp: the snapshot's name.
        state: see `SnapshotState`.
        source: where it was taken from, without credentials; empty where unknown.
        identity: what the snapshots of one source share, whatever text named it; empty where unknown.
        label: the name that a person gave the source; empty: none.
        tags: that a person gave the snapshot.
        accepted: how many things that could not be saved a person accepts to be missing: they make it no less complete.
        is_vague: whether an older mlmeta wrote it, and its text can mean several stores.
        stats: counts by kind; empty where unknown.
        size: bytes of all its files.
        age: seconds since its timestamp; None where the timestamp is not a date.
        experiments: the names it was limited to; empty: everything.
        workspaces: likewise, ``default`` for the default one.
        without: the kinds and groups that it leaves out on request; empty: none.
        auth: whether it has users and permissions of basic-auth.
        epoch: number of the guard that saved it; 0: none did.
        includes: what of earlier guards is in it: see `Lineage`. Not part of the JSON output.
        problem: why the state is not `complete`.
    """

    model_config = ConfigDict(frozen=True)

    timestamp: str
    state: SnapshotState
    source: str = ""
    identity: str = ""
    label: str = ""
    tags: dict[str, str] = {}
    accepted: int = 0
    is_vague: bool = False
    stats: dict[str, int] = {}
    size: int
    age: float | None = None
    experiments: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    auth: bool = False
    epoch: int = 0
    includes: dict[int, str] = Field(default={}, exclude=True)
    problem: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of it."""
        known = f"{self.accepted:,} not saved, as is accepted: see `mlmeta show {self.timestamp}`"
        return (*((self.problem,) if self.problem else ()), *((known,) if self.accepted else ()))

    @property
    def gap_level(self) -> int:
        """0: all of its source could be saved; 1: what could not is accepted; 2: not all of that is."""
        return 2 if self.state is SnapshotState.PARTIAL else 1 if self.accepted else 0

    @property
    def lineage(self) -> Lineage:
        """Which guard saved it, and what of earlier ones it includes."""
        return Lineage(self.epoch, self.includes)

    @property
    def series(self) -> tuple[str, Selection]:
        """What those share that one may stand for another of, in retention and as a measure: source and limits."""
        limit = Selection(self.experiments, without=self.without, workspaces=self.workspaces, auth=self.auth)
        return self.identity, limit

    @property
    def is_ahead(self) -> bool:
        """Whether its timestamp is still to come, or never will, as it is not a date: whatever its state is."""
        return self.age is None or self.age < -FUTURE


def file_sets(storage: Storage) -> list[layout.FileSet]:
    """The files of all snapshots, newest first, the half-written ones included."""
    return sets_of(storage.files())


def sets_of(files: Iterable[StoredFile]) -> list[layout.FileSet]:
    """See `file_sets`.

    Args:
        files: of the storage, all of them.
    """
    return [found for found in layout.group(files) if found.files]


def ignored(storage: Storage, files: Sequence[StoredFile]) -> Iterator[str]:
    """What can't be read and belongs to no snapshot, each with its reason: nothing stops for it.

    Args:
        storage: where it is.
        files: of the storage, all of them.
    """
    told = {file.name for found in layout.group(files) if found.files for file in found.odd}
    for file in files:
        if file.problem and file.name not in told:
            name = file.name.encode("utf-8", "backslashreplace").decode()
            yield f"{storage.location}{name} was skipped: {file.problem}"


def describe(storage: Storage, files: layout.FileSet, now: float) -> SnapshotInfo:
    """What is known of a snapshot without reading its data files. Never raises for a bad snapshot.

    Args:
        storage: where it is.
        files: its files.
        now: seconds since the epoch, for the age; 0: it does not matter.
    """
    info = _blank(files, now)
    if files.summary is None:
        return info
    try:
        return _filled(info, read_summary(storage, files), files)
    except UnsupportedSchemaError as error:
        return info.model_copy(update={"state": SnapshotState.UNSUPPORTED, "problem": str(error)})
    except MlmetaError as error:
        away = isinstance(error, StorageError) and not isinstance(error, ObjectMissingError)
        return info.model_copy(
            update={"state": SnapshotState.UNREADABLE if away else SnapshotState.DAMAGED, "problem": str(error)}
        )


def described(storage: Storage, sets: list[layout.FileSet], now: float) -> list[SnapshotInfo]:
    """Like `describe`, for many."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mlmeta-summaries") as pool:
        return list(ordered_map(pool, partial(describe, storage, now=now), sets, 4 * _AT_ONCE))


def glance(storage: Storage, files: layout.FileSet, now: float) -> SnapshotInfo:
    """Like `describe`, to be shown only: where a listing came with a copy of the summary, that is believed."""
    summary = _listed(files.summary) if files.summary is not None else None
    if summary is None:
        return describe(storage, files, now)
    return info_of(files, summary, now)


def info_of(files: layout.FileSet, summary: Summary, now: float) -> SnapshotInfo:
    """What `describe` gives, for a summary that was read already."""
    return _filled(_blank(files, now), summary, files)


def _blank(files: layout.FileSet, now: float) -> SnapshotInfo:
    """What its files' names tell."""
    moment = layout.moment_of(files.timestamp)
    return SnapshotInfo(
        timestamp=files.timestamp,
        state=SnapshotState.INCOMPLETE,
        size=files.size,
        age=now - moment.timestamp() if moment and now else None,
        problem=_odd(files) or "no summary: an interrupted backup, or one that is still running",
    )


def _filled(info: SnapshotInfo, summary: Summary, files: layout.FileSet) -> SnapshotInfo:
    state, problem = _state(summary, files)
    if state.restorable and info.age is not None and info.is_ahead:
        state, problem = (
            SnapshotState.FUTURE,
            f"it is dated in the future, and used only when it is named{_also(problem)}",
        )
    return info.model_copy(
        update={
            "state": state,
            "problem": problem,
            "source": summary.mlflow_uri,
            "identity": summary.identity,
            "label": summary.label,
            "tags": summary.tags,
            "accepted": len(summary.skipped) - len(summary.gaps),
            "is_vague": summary.is_vague,
            "stats": summary.stats,
            "experiments": summary.experiments,
            "workspaces": summary.workspaces,
            "without": summary.without,
            "auth": summary.has_auth,
            "epoch": summary.epoch,
            "includes": summary.includes,
        }
    )


def about(summary: Summary) -> dict[str, str]:
    """What a bucket's listing shall tell of a snapshot, so that `list` needs no download."""
    text = summary.model_dump_json()
    return {ABOUT: text} if len(text.encode()) <= _ABOUT_SIZE else {}


def _listed(stored: StoredFile) -> Summary | None:
    """The summary as the listing itself gave it; None where it didn't, or where the body has to tell what is wrong."""
    text = stored.about.get(ABOUT)
    try:
        summary = Summary.model_validate_json(text) if text else None
    except ValidationError:
        return None
    if summary is None or _major(summary.schema_version) != _major(SCHEMA_VERSION):
        return None
    return None if any(untrue(summary, summary.backup_timestamp)) else summary


def _major(version: str) -> str:
    return version.partition(".")[0]


def _odd(files: layout.FileSet) -> str:
    return next((f"{file.name} is not read: {file.problem}" for file in files.odd), "")


def _state(summary: Summary, files: layout.FileSet) -> tuple[SnapshotState, str]:
    if odd := _odd(files):
        return SnapshotState.DAMAGED, odd
    if legacy.is_legacy(summary):
        missing = [kind for kind in legacy.FILES if kind not in files.files]
        return (SnapshotState.DAMAGED, f"missing: {', '.join(missing)}") if missing else (SnapshotState.LEGACY, "")
    for entry in summary.files.values():
        stored = files.find(entry.name)
        if stored is None:
            return SnapshotState.DAMAGED, f"{entry.name} is missing"
        if stored.size != entry.bytes:
            return SnapshotState.DAMAGED, f"{entry.name} has {stored.size} bytes instead of {entry.bytes}"
    gaps = summary.gaps
    unsaved = f"{len(gaps):,} not saved: see `mlmeta show {summary.backup_timestamp}`"
    if summary.shrunken:
        return SnapshotState.SHRUNKEN, f"it has {summary.shrunken}{_also(unsaved if gaps else '')}"
    return (SnapshotState.PARTIAL, unsaved) if gaps else (SnapshotState.COMPLETE, "")


def _also(problem: str) -> str:
    return f"; {problem}" if problem else ""
