"""Saves a guarded store, again and again, with retention built in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mlmeta.commands.backup import BackupResult, backup
from mlmeta.commands.epochs import Epochs
from mlmeta.commands.new_snapshot import EMPTY
from mlmeta.commands.previous import FULL_EVERY, SHRINK_LIMIT
from mlmeta.errors import ExitCode, MlmetaError
from mlmeta.guard.supervisor import Outcome
from mlmeta.metrics import EXIT_CODE, LAST_SUCCESS, Sample
from mlmeta.schema.identity import sqlite_path
from mlmeta.snapshot.retention import Rules
from mlmeta.stores.opening import Store

KEEP = Rules(last=10, hourly=24, daily=14, monthly=12)
_UNPRUNED = "not_pruned"
"""Code of the issue that retention failed: the store is saved all the same."""


@dataclass(frozen=True)
class Saving:
    """How the store is saved; see `backup`.

    Args:
        storages: where the snapshots go.
        label: a name for the source.
        compress: gzip the data files.
        full_every: how often everything is read again.
        shrink_limit: percent below which a snapshot is suspected to lack something.
        keep: what stays.
        prune_every: how often the rest goes.
        auth_uri: of the database of basic-auth.
        include_password_hashes: whether these may go into a bucket.
        accept: kinds of things that may be missing.
        tags: of each snapshot, by key.
    """

    storages: tuple[str, ...]
    label: str = ""
    compress: bool = False
    full_every: timedelta = FULL_EVERY
    shrink_limit: int = SHRINK_LIMIT
    keep: Rules = KEEP
    prune_every: timedelta = timedelta(hours=1)
    auth_uri: str = ""
    include_password_hashes: bool = False
    accept: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class Wal:
    """Switches a SQLite database to a write-ahead log, as soon as it is there, and free.

    Args:
        store: that has it.
        wanted: whether that is to be done at all.
    """

    def __init__(self, store: Store, *, wanted: bool) -> None:
        self._uri = store.tracking_uri if wanted and store.kind == "sqlite" else ""

    def switch(self) -> str:
        """Do it, unless it is done; why it can't be done, or not yet."""
        if not self._uri or not (path := Path(sqlite_path(self._uri))).exists():
            return ""
        from mlmeta.stores.sql.sqlite import use_wal

        why, for_good = use_wal(path)
        if not why or for_good:
            self._uri = ""
        return f"the database has no write-ahead log, so it is copied before it is read: {why}" if why else ""


class Saver:
    """Saves the store; called from one thread.

    Args:
        store: that is saved.
        saving: how.
        wal: is switched to as soon as it can be.
        epochs: tells which of the store's guards this is.
    """

    def __init__(self, store: Store, saving: Saving, wal: Wal, epochs: Epochs) -> None:
        self._store = store
        self._saving = saving
        self._wal = wal
        self._epochs = epochs
        self._missing: tuple[str, ...] = ()
        self._read_along = 0
        self._told_unpruned = False
        self._prunes_at = time.monotonic()
        self._is_first = True

    def __call__(self, again: bool, last: bool) -> Outcome:
        """See `Save`."""
        places = self._missing if again and self._missing else self._saving.storages
        said, adopted = self._wal.switch(), self._epochs.adopted
        self._claim()
        prunes = not last and self._may_prune()
        done = backup(
            self._store.tracking_uri,
            places,
            registry_uri=self._store.registry_uri,
            auth_uri=self._saving.auth_uri,
            include_password_hashes=self._saving.include_password_hashes,
            compress=self._saving.compress,
            if_changed=True,
            incremental=self._read_along == adopted,  # what came in may be behind the latest step of an ended run
            full_every=self._saving.full_every,
            label=self._saving.label,
            tags=self._saving.tags,
            shrink_limit=self._saving.shrink_limit,
            keep=self._saving.keep if prunes else None,
            accept=self._saving.accept,
            lineage=self._epochs.lineage,
        )
        self._missing = tuple(done.failures)
        self._epochs.saved(done.timestamp)
        self._read_along = adopted
        self._is_first = False
        if prunes and done.timestamp:
            self._prunes_at = time.monotonic() + self._saving.prune_every.total_seconds()
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

    def _may_prune(self) -> bool:
        """Whether it is time for it. The first save tells how long one takes, which pruning would falsify."""
        return not self._is_first and time.monotonic() >= self._prunes_at and self._epochs.may_prune()

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
