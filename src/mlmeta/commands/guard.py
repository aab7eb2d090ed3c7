"""`mlmeta guard`: a server's command, with its store restored before, and saved while it runs and when it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from mlmeta.commands.backup import EMPTY, BackupResult, backup
from mlmeta.commands.epochs import Epochs, Origin
from mlmeta.commands.others import OtherGuards, epochs_of
from mlmeta.commands.previous import FULL_EVERY, SHRINK_LIMIT
from mlmeta.commands.restore import restore
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import (
    ExitCode,
    MlmetaError,
    RestoreError,
    SnapshotNotFoundError,
    StorageMissingError,
    UsageError,
)
from mlmeta.guard.apart import apart
from mlmeta.guard.board import Board
from mlmeta.guard.child import ENDING, PASSED_ON, Child
from mlmeta.guard.command_line import health_of, registry_of, store_of
from mlmeta.guard.health import answers
from mlmeta.guard.listener import Listener
from mlmeta.guard.lock import Lock, only_guard_of
from mlmeta.guard.processes import adopt_orphans
from mlmeta.guard.signals import listening
from mlmeta.guard.status import Status
from mlmeta.guard.supervisor import Log, Outcome, Supervisor, Tells, Terms
from mlmeta.metrics import EXIT_CODE, LAST_SUCCESS, Sample
from mlmeta.redaction import without_secrets
from mlmeta.schema.identity import sqlite_path
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.retention import Rules
from mlmeta.stores.gaps import acceptance
from mlmeta.stores.opening import DATABASES, Store, has_content, open_snapshot, shown_uri, watch

IF_EMPTY, NEVER, REQUIRE = "if-empty", "never", "require"
KEEP = Rules(last=10, hourly=24, daily=14, monthly=12)
_PRUNE_EVERY = 3600.0
_UNSAVED = "unsaved"
"""What a guard notes for the next one of the same file."""
_UNPRUNED = "not_pruned"
"""Code of the issue that retention failed: the store is saved all the same."""


class GuardResult(Result):
    """How a guarded command ended.

    Args:
        code: its exit code, 128 and the signal's number where one ended it.
        as_asked: whether it ended well, or by a signal that it was sent.
        is_saved: whether all that its store had is saved.
        skipped: whether a second signal cut the last save short.
    """

    code: int
    as_asked: bool
    is_saved: bool
    skipped: bool = False

    @property
    def issues(self) -> tuple[Issue, ...]:
        """That something is lost, where it may be."""
        if self.is_saved:
            return ()
        return (Issue(code="not_saved", message="the last changes are in no snapshot"),)

    @property
    def exit_code(self) -> int:
        """The command's, or `INCOMPLETE` where only the last save failed."""
        return int(ExitCode.INCOMPLETE) if self.as_asked and not self.is_saved else self.code


@dataclass(frozen=True)
class Saving:
    """How the store is saved; see `backup`.

    Args:
        storages: where the snapshots go.
        label: a name for the source.
        compress: gzip the data files.
        full_every: how often everything is read again.
        shrink_limit: percent below which a snapshot is suspected to lack something.
        keep: what stays; pruned once an hour.
        auth_uri: of the database of basic-auth.
        include_password_hashes: whether these may go into a bucket.
        accept: kinds of things that may be missing.
    """

    storages: tuple[str, ...]
    label: str = ""
    compress: bool = False
    full_every: timedelta = FULL_EVERY
    shrink_limit: int = SHRINK_LIMIT
    keep: Rules = KEEP
    auth_uri: str = ""
    include_password_hashes: bool = False
    accept: tuple[str, ...] = ()


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
class Watching:
    """Who may see how it is doing.

    Args:
        listen: ``HOST:PORT`` where it answers over HTTP; empty: nowhere.
        status_file: that says it; None: none.
    """

    listen: str = ""
    status_file: Path | None = None


def guard(
    command: Sequence[str],
    environment: Mapping[str, str],
    saving: Saving,
    log: Log,
    *,
    store_uri: str = "",
    start: Start = Start(),
    terms: Terms = Terms(),  # noqa: B008
    watching: Watching = Watching(),
    health_url: str = "",
) -> GuardResult:
    """Run a command, with its store restored before, and saved while it runs and when it ends.

    To be called in the main thread of a process that does nothing else: it hears signals, and all orphans are its own.

    Args:
        command: its words; no shell reads them.
        environment: of the command.
        saving: how the store is saved.
        log: takes messages.
        store_uri: the store; empty: as the command or its environment says.
        start: what happens before.
        terms: when the store is saved, and how long the end may take.
        watching: who may see how it is doing.
        health_url: answers when the command can do its work; empty: as for an `mlflow server`.

    Raises:
        MlmetaError: the command was not started.
    """
    acceptance(saving.accept)  # a mistake must not wait for the first save
    store = _store(command, environment, store_uri, saving)
    watcher = watch(store)
    board = _board(store, saving, terms, watching)
    with _listener(watching.listen, board, log), _alone(store, log) as lock:
        if store.kind == "sqlite":
            watcher.token()  # which takes back what a server that was killed had begun
            watcher.close()
        restored = _restore_before(store, saving, start, Tells(log, board))
        epochs = epochs_of(store, saving.storages, saving.label, restored, lock)
        wal = _Wal(store, wanted=start.wal)
        if said := wal.switch():
            log.warning(said)
        with listening([*ENDING, *PASSED_ON]) as news:
            if not adopt_orphans():
                log.warning("processes that the command leaves behind can't be looked after on this system")
            left_unsaved = _note(lock, unsaved=True)
            child = Child(command, environment)
            log.info(f"{command[0]} runs as process {child.number}; its store is {without_secrets(store.tracking_uri)}")
            save, others = _Saver(store, saving, wal, epochs), OtherGuards(store, epochs)
            is_ready = partial(answers, health_url or health_of(command, environment))
            terms = replace(terms, watched=store.kind in DATABASES, at_once=left_unsaved)
            end = Supervisor(child, watcher, save, is_ready, terms, Tells(log, board), news, others=others).run()
        _note(lock, unsaved=not end.is_saved)
    return GuardResult(code=end.exit_code, as_asked=end.as_asked, is_saved=end.is_saved, skipped=end.skipped)


def _board(store: Store, saving: Saving, terms: Terms, watching: Watching) -> Board:
    source = saving.label or shown_uri(store.tracking_uri)
    job = {"command": "guard", "source": source, "storage": ",".join(map(without_secrets, saving.storages))}
    rpo = terms.pace.rpo
    return Board(Status("starting", rpo, effective_rpo=rpo), job, watching.status_file)


@contextlib.contextmanager
def _listener(address: str, board: Board, log: Log) -> Iterator[None]:
    """Answer at an address, if there is one, for as long as a block lasts."""
    if not address:
        yield
        return
    listener = Listener(address, board.pages)
    listener.start()
    try:
        log.info(f"how it is doing is told at http://{listener.address}/status")
        yield
    finally:
        listener.close()


def _store(command: Sequence[str], environment: Mapping[str, str], uri: str, saving: Saving) -> Store:
    found = uri or store_of(command, environment)
    if not found:
        raise UsageError(
            "which store is guarded is unknown", hint="name it with --store, or give the command --backend-store-uri"
        )
    return Store(found, registry_of(command, environment) or None, auth_uri=saving.auth_uri)


@contextlib.contextmanager
def _alone(store: Store, log: Log) -> Iterator[Lock | None]:
    """Be the only guard of a SQLite file on this machine."""
    path = Path(sqlite_path(store.tracking_uri))
    if store.kind != "sqlite" or not path.parent.is_dir():
        yield None
        return
    with only_guard_of(path) as lock:
        if not lock.is_held:
            log.warning(f"{path} is where no file can be locked: nothing keeps a second guard away")
        yield lock


def _note(lock: Lock | None, *, unsaved: bool) -> bool:
    """Note for the next guard whether something may be unsaved; whether the last one noted that."""
    if lock is None:
        return False
    before = lock.note().get(_UNSAVED)
    lock.leave({_UNSAVED: unsaved})
    return bool(before)


def _restore_before(store: Store, saving: Saving, start: Start, tells: Tells) -> Origin | None:
    """Restore the newest snapshot into an empty store, and say what that has in it; None: it is left as it is.

    Raises:
        MlmetaError: that was wanted and is not possible; the command must not start with an empty history then.
    """
    log = tells.log
    if start.restore == NEVER:
        return None
    if has_content(store):
        if start.restore == REQUIRE:
            raise UsageError(
                f"{without_secrets(store.tracking_uri)} is not empty, and --restore require starts from a snapshot",
                hint="start with --restore if-empty to go on with what is there",
            )
        log.info("the store is not empty: nothing is restored")
        return None
    snapshot = _newest(store, saving, start)
    if snapshot is None:
        log.info("there is no snapshot yet: the store begins empty")
        return Origin()
    log.info(f"restoring snapshot {snapshot.timestamp} from {snapshot.storage.location}")
    if why := tells.board.tell(replace(tells.board.status, state="restoring")):
        log.warning(why)
    done = apart(
        partial(
            restore,
            store.tracking_uri,
            snapshot.timestamp,
            snapshot.storage.location,
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
    return Origin.of(snapshot.summary)


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


class _Wal:
    """Switches a SQLite database to a write-ahead log, as soon as it is there, and free."""

    def __init__(self, store: Store, *, wanted: bool) -> None:
        self._uri = store.tracking_uri if wanted and store.kind == "sqlite" else ""

    def switch(self) -> str:
        """Do it, unless it is done; why it can't be done, or not yet."""
        if not self._uri or not Path(sqlite_path(self._uri)).exists():
            return ""
        from mlmeta.stores.sql.wal import use_wal

        why, for_good = use_wal(self._uri)
        if not why or for_good:
            self._uri = ""
        return f"the database has no write-ahead log, so it is copied before it is read: {why}" if why else ""


class _Saver:
    """Saves the store; called from one thread."""

    def __init__(self, store: Store, saving: Saving, wal: _Wal, epochs: Epochs) -> None:
        self._store = store
        self._saving = saving
        self._wal = wal
        self._epochs = epochs
        self._missing: tuple[str, ...] = ()
        self._told_unpruned = False
        self._pruned_at = time.monotonic() - _PRUNE_EVERY

    def __call__(self, again: bool, last: bool) -> Outcome:
        """See `Save`."""
        places = self._missing if again and self._missing else self._saving.storages
        said = self._wal.switch()
        self._claim()
        prunes = not last and time.monotonic() - self._pruned_at >= _PRUNE_EVERY and self._epochs.may_prune()
        done = backup(
            self._store.tracking_uri,
            places,
            registry_uri=self._store.registry_uri,
            auth_uri=self._saving.auth_uri,
            include_password_hashes=self._saving.include_password_hashes,
            compress=self._saving.compress,
            if_changed=True,
            incremental=True,
            full_every=self._saving.full_every,
            label=self._saving.label,
            shrink_limit=self._saving.shrink_limit,
            keep=self._saving.keep if prunes else None,
            accept=self._saving.accept,
            lineage=self._epochs.lineage,
        )
        self._missing = tuple(done.failures)
        self._epochs.saved(done.timestamp)
        if prunes and done.timestamp:
            self._pruned_at = time.monotonic()
        warnings = [text for text in done.warnings if text != EMPTY]  # a new store is; one that lost all is shrunken
        problems = (*([said] if said else ()), *warnings, *self._issues(done))
        return Outcome(
            text=_told(done),
            timestamp=done.timestamp or done.unchanged_since,
            problems=problems,
            good=not done.failures,
            complete=all(issue.code == _UNPRUNED for issue in done.issues),
            usual=not done.pruned,
            samples=_samples(done),
        )

    def _claim(self) -> None:
        """Have a number, where that is possible; else the store is saved without one."""
        with contextlib.suppress(MlmetaError):  # of the store, which saving will tell better
            self._epochs.claim()

    def _issues(self, done: BackupResult) -> list[str]:
        """What did not go as it should; that old snapshots can't be removed only once."""
        told = [issue.message for issue in done.issues if issue.code != _UNPRUNED]
        if done.unpruned and not self._told_unpruned:
            told += [f"old snapshots stay: {place}: {why}" for place, why in done.unpruned.items()]
        self._told_unpruned |= bool(done.unpruned)
        return told


def _samples(done: BackupResult) -> tuple[Sample, ...]:
    now = time.time()
    succeeded = [Sample(LAST_SUCCESS, now)] if done.exit_code == ExitCode.DONE else []
    return (*succeeded, Sample(EXIT_CODE, done.exit_code), *done.measures(now))


def _told(done: BackupResult) -> str:
    if not done.timestamp:
        return ""
    gone = sum(map(len, done.pruned.values()))
    pruned = f"; removed {gone} older" if gone else ""
    return f"saved snapshot {done.timestamp} in {done.seconds:.1f} s{pruned}"
