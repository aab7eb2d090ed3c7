"""Which snapshots a storage holds, and in which state they are."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mlmeta.errors import MlmetaError, ObjectMissingError, StorageError, UnsupportedSchemaError
from mlmeta.schema import SCHEMA_VERSION, Summary, summary_is_intact
from mlmeta.snapshot import layout, legacy
from mlmeta.snapshot.records import damaged
from mlmeta.storage import Storage, StoredFile

ABOUT = "summary"
"""Under this name a copy of the summary rides on its object's metadata, where the storage has such."""
_NEVER_LEGACY = {"checksum", "mlmeta_version"}
"""Keys of a summary that the older script never wrote."""
_ABOUT_SIZE = 6 << 10
"""GCS takes 8 KiB of custom metadata an object (https://cloud.google.com/storage/quotas)."""


class State(str, Enum):
    """What a snapshot is good for."""

    COMPLETE = "complete"
    PARTIAL = "partial"  # the source had things that could not be read; the summary names them
    LEGACY = "legacy"  # written by the script that mlmeta replaces
    INCOMPLETE = "incomplete"  # no summary: an interrupted backup's leftovers, or a backup under way
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"  # written by a newer major version

    @property
    def restorable(self) -> bool:
        """Whether a restore may be tried."""
        return self in {State.COMPLETE, State.PARTIAL, State.LEGACY}


class SnapshotInfo(BaseModel):
    """A row of the list.

    Args:
        timestamp: the snapshot's name.
        state: see `State`.
        source: where it was taken from, without credentials; empty where unknown.
        identity: what the snapshots of one source share, whatever text named it; empty where unknown.
        is_vague: whether an older mlmeta wrote it, and its text can mean several stores.
        stats: counts by kind; empty where unknown.
        size: bytes of all its files.
        age: seconds since its timestamp; None where the timestamp is no date.
        experiments: the names it was limited to; empty: everything.
        problem: why the state is not `complete`.
    """

    model_config = ConfigDict(frozen=True)

    timestamp: str
    state: State
    source: str = ""
    identity: str = ""
    is_vague: bool = False
    stats: dict[str, int] = {}
    size: int
    age: float | None = None
    experiments: tuple[str, ...] = ()
    problem: str = ""


def file_sets(storage: Storage) -> list[layout.FileSet]:
    """The files of all snapshots, newest first, the half-written ones included."""
    return layout.group(storage.files())


def describe(storage: Storage, files: layout.FileSet, now: float) -> SnapshotInfo:
    """What is known of a snapshot without reading its data files. Never raises for a bad snapshot.

    Args:
        storage: where it is.
        files: its files.
        now: seconds since the epoch, for the age.
    """
    moment = layout.moment_of(files.timestamp)
    info = SnapshotInfo(
        timestamp=files.timestamp,
        state=State.INCOMPLETE,
        size=files.size,
        age=now - moment.timestamp() if moment else None,
        problem="no summary: an interrupted backup, or one that is still running",
    )
    if files.summary is None:
        return info
    try:
        summary = _listed(files.summary) or read_summary(storage, files)
    except UnsupportedSchemaError as error:
        return info.model_copy(update={"state": State.UNSUPPORTED, "problem": str(error)})
    except MlmetaError as error:
        return info.model_copy(update={"state": State.DAMAGED, "problem": str(error)})
    state, problem = _state(summary, files)
    return info.model_copy(
        update={
            "state": state,
            "problem": problem,
            "source": summary.mlflow_uri,
            "identity": summary.identity,
            "is_vague": summary.is_vague,
            "stats": summary.stats,
            "experiments": summary.experiments,
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
    return None if summary is None or _major(summary.schema_version) > _major(SCHEMA_VERSION) else summary


def _state(summary: Summary, files: layout.FileSet) -> tuple[State, str]:
    if legacy.is_legacy(summary):
        missing = [kind for kind in legacy.KINDS if kind not in files.files]
        return (State.DAMAGED, f"missing: {', '.join(missing)}") if missing else (State.LEGACY, "")
    for entry in summary.files.values():
        stored = files.find(entry.name)
        if stored is None:
            return State.DAMAGED, f"{entry.name} is missing"
        if stored.size != entry.bytes:
            return State.DAMAGED, f"{entry.name} has {stored.size} bytes instead of {entry.bytes}"
    if summary.skipped:
        return (
            State.PARTIAL,
            f"{len(summary.skipped)} not saved: see `mlmeta show {summary.backup_timestamp}`",
        )
    return State.COMPLETE, ""


def read_summary(storage: Storage, files: layout.FileSet) -> Summary:
    """A snapshot's summary; of a legacy snapshot, one made from what its own says.

    Raises:
        DamagedSnapshotError: it is cut, altered or not JSON.
        UnsupportedSchemaError: a newer major version wrote it.
        StorageError: it can't be read.
    """
    if files.summary is None:
        raise damaged(layout.file_name(layout.SUMMARY, files.timestamp), None, "it is missing")
    name = files.summary.name
    content = _read(storage, name)
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise damaged(name, None, f"it is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise damaged(name, None, "it is not a JSON object")
    if "schema_version" not in fields:
        if not _NEVER_LEGACY.isdisjoint(fields):  # one altered byte in that key must not make it an older snapshot
            raise damaged(name, None, "it is not what was written: it names no schema version")
        return legacy.summary(fields, files)
    return _checked(fields, content, name)


def _checked(fields: dict[str, Any], content: bytes, name: str) -> Summary:
    version = str(fields["schema_version"])
    if _major(version) > _major(SCHEMA_VERSION):
        raise UnsupportedSchemaError(
            f"{name} has schema version {version}; this mlmeta reads up to {_major(SCHEMA_VERSION)}.x",
            hint="install a newer mlmeta",
        )
    if not summary_is_intact(content):
        raise damaged(name, None, "it is not what was written: its checksum differs")
    try:
        return Summary.model_validate(fields)
    except ValidationError as error:
        raise damaged(name, None, str(error.errors(include_url=False)[0]["msg"])) from error


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


def _read(storage: Storage, name: str) -> bytes:
    try:
        with storage.open(name) as file:
            return file.read()
    except ObjectMissingError:
        raise
    except OSError as error:
        raise StorageError(f"{name}: {error}") from error
