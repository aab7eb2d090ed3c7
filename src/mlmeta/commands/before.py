"""What happens before a guarded command starts: the newest snapshot goes into an empty store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from mlmeta.commands.epochs import Origin
from mlmeta.commands.restore import restore
from mlmeta.commands.saver import Saving
from mlmeta.errors import ExitCode, RestoreError, SnapshotNotFoundError, StorageMissingError, UsageError
from mlmeta.guard.processes import apart
from mlmeta.guard.supervisor import Tells
from mlmeta.redaction import without_secrets
from mlmeta.schema import MODEL_GROUP, MODELS, Selection
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import DATABASES, Store, has_content, open_snapshot

IF_EMPTY, NEVER, REQUIRE = "if-empty", "never", "require"


@dataclass(frozen=True)
class Start:
    """What happens before the command starts.

    Args:
        restore: `IF_EMPTY`, `NEVER` or `REQUIRE`.
        allow_none: whether it may start with an empty store where there is no snapshot yet.
        of_source: label or tracking URI of the source that is restored, where a storage has several.
        wal: whether a SQLite database is switched to a write-ahead log.
    """

    restore: str = IF_EMPTY
    allow_none: bool = False
    of_source: str = ""
    wal: bool = True


@dataclass(frozen=True)
class StorePart:
    """What goes into one place.

    Args:
        store: the place.
        selection: of the snapshot.
        needed: whether the command must not start without it.
    """

    store: Store
    selection: Selection
    needed: bool = True


def restore_before(store: Store, saving: Saving, start: Start, tells: Tells) -> Origin | None:
    """Restore the newest snapshot into an empty store, and say what that has in it; None: it is left as it is.

    A model registry in another database is restored likewise, if it is empty.

    Raises:
        MlmetaError: that was wanted and is not possible; the command must not start with an empty history then.
    """
    if start.restore == NEVER:
        return None
    parts = parts_of(store)
    empty = [part for part in parts if not has_content(part.store)]
    if start.restore == REQUIRE:
        _require_empty(part.store for part in parts if part not in empty)
    if not empty:
        tells.log.info("the store is not empty: nothing is restored")
        return None
    is_new = empty[0].needed
    snapshot = _newest(store, saving, start if is_new else replace(start, allow_none=True))
    if snapshot is None:
        tells.log.info("there is no snapshot yet: the store begins empty")
        return Origin() if is_new else None
    if saving.label not in {"", snapshot.summary.label} and not start.of_source:
        whose = snapshot.summary.label or snapshot.summary.mlflow_uri
        tells.log.warning(f"{snapshot.storage.location} has snapshots of {whose} alone, none of {saving.label}")
    wanted = [part for part in empty if part.needed or snapshot.summary.stats.get(MODELS.unit)]
    if wanted and (why := tells.board.tell(replace(tells.board.status, state="restoring"))):
        tells.log.warning(why)
    for part in wanted:
        _restore(snapshot, part, saving, tells)
    return Origin.of(snapshot.summary) if is_new else None


def parts_of(store: Store) -> list[StorePart]:
    """What of a snapshot goes where. A registry that is no database is not this machine's to bring back."""
    if not store.is_split or store.kind not in DATABASES:
        return [StorePart(store, Selection())]
    tracking = StorePart(replace(store, registry_uri=None), Selection(without=MODEL_GROUP))
    registry = StorePart(Store(store.registry_uri or ""), Selection(only=MODEL_GROUP), needed=False)
    return [tracking, registry] if registry.store.kind in DATABASES else [tracking]


def _require_empty(others: Iterable[Store]) -> None:
    for store in others:
        raise UsageError(
            f"{without_secrets(store.tracking_uri)} is not empty, and --restore require starts from a snapshot",
            hint="start with --restore if-empty to go on with what is there",
        )


def _restore(snapshot: Snapshot, part: StorePart, saving: Saving, tells: Tells) -> None:
    log, store = tells.log, part.store
    what = "" if part.needed else f" of the model registry into {without_secrets(store.tracking_uri)}"
    log.info(f"restoring snapshot {snapshot.timestamp}{what} from {snapshot.storage.location}")
    done = apart(
        partial(
            restore,
            store.tracking_uri,
            snapshot.timestamp,
            snapshot.storage.location,
            selection=part.selection,
            registry_uri=store.registry_uri,
            auth_uri=store.auth_uri if snapshot.summary.auth_uri else "",
            accept=saving.accept,
        )
    )
    for text in (*snapshot.notes, *done.warnings, *(issue.message for issue in done.issues)):
        log.warning(text)
    if done.exit_code not in {ExitCode.DONE, ExitCode.INCOMPLETE}:
        raise RestoreError(
            f"the store is not what snapshot {done.timestamp} says; the command was not started",
            hint="see the messages above",
        )
    log.info(f"restored it in {done.seconds:.1f} s, and what the store gives back is the same")


def _newest(store: Store, saving: Saving, start: Start) -> Snapshot | None:
    """The newest snapshot of all storages, or the last guard's; None: there is none, which is allowed."""
    found, missing = [], None
    for place in saving.storages:
        try:
            likely = saving.label or store.tracking_uri
            found.append(open_snapshot(place, of_source=start.of_source, likely=likely, last_guard=True))
        except (SnapshotNotFoundError, StorageMissingError) as error:
            if getattr(error, "nearest", ()) or not start.allow_none:
                missing = error
    if found:
        last = max(snapshot.summary.epoch for snapshot in found)
        counting = (snapshot for snapshot in found if snapshot.summary.epoch in {0, last})
        return max(counting, key=lambda snapshot: snapshot.timestamp)
    if missing is not None:
        raise type(missing)(
            f"{missing}; the command was not started", hint="--allow-none lets the very first start begin empty"
        ) from missing
    return None
