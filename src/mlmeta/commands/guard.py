"""`mlmeta guard`: a server's command, with its store restored before, and saved while it runs and when it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mlmeta.commands.before import Start, restore_before
from mlmeta.commands.others import OtherGuards, epochs_of
from mlmeta.commands.result import Issue, Result
from mlmeta.commands.saver import Saver, Saving, Wal
from mlmeta.errors import ExitCode, UsageError
from mlmeta.guard.child import ENDING, PASSED_ON, Child
from mlmeta.guard.command_line import answers, health_of, registry_of, store_of
from mlmeta.guard.listener import Listener
from mlmeta.guard.lock import Lock, only_guard_of
from mlmeta.guard.processes import adopt_orphans
from mlmeta.guard.signals import listening
from mlmeta.guard.status import Board, Status
from mlmeta.guard.supervisor import Log, Supervisor, Tells, Terms
from mlmeta.redaction import without_secrets
from mlmeta.schema.identity import sqlite_path
from mlmeta.stores.gaps import acceptance
from mlmeta.stores.opening import DATABASES, Store, shown_uri, watch

_UNSAVED = "unsaved"
"""What a guard notes for the next one of the same file."""


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
    start: Start = Start(),  # noqa: B008
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
        restored = restore_before(store, saving, start, Tells(log, board))
        epochs = epochs_of(store, saving.storages, saving.label, restored, lock)
        wal = Wal(store, wanted=start.wal)
        if said := wal.switch():
            log.warning(said)
        with listening([*ENDING, *PASSED_ON]) as news:
            if not adopt_orphans():
                log.warning("processes that the command leaves behind can't be looked after on this system")
            left_unsaved = _note(lock, unsaved=True)
            child = Child(command, environment)
            log.info(f"{command[0]} runs as process {child.number}; its store is {without_secrets(store.tracking_uri)}")
            save, others = Saver(store, saving, wal, epochs), OtherGuards(store, epochs)
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
