"""Looks after the other guards of a store, while it is guarded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mlmeta.commands.adopt import Adopted, adopt
from mlmeta.commands.epochs import EVERYTHING, Epochs, Late, Origin
from mlmeta.errors import BaseSnapshotError, MlmetaError
from mlmeta.guard.lock import Lock
from mlmeta.guard.others import Attended
from mlmeta.progress import Silent
from mlmeta.redaction import without_any_secrets
from mlmeta.schema import Lineage
from mlmeta.schema.words import amount
from mlmeta.storage import open_storage
from mlmeta.stores.opening import DATABASES, Store

_FIRST_RETRY = 2.0
_LONGEST_RETRY = 3600.0
_NAMED = 5
"""So many things that a store did not take are named."""
_MAY_COME_BACK = "what was deleted here since then may come back"


def epochs_of(store: Store, storages: Sequence[str], label: str, restored: Origin | None, lock: Lock | None) -> Epochs:
    """What is known of the guards of a store, before it runs.

    Args:
        store: the store.
        storages: where its snapshots go.
        label: that these have; empty: none.
        restored: what was restored into it; None: it was left as it is.
        lock: of its file, which keeps what the last guard of it knew.
    """
    places = [open_storage(place).location for place in storages]

    def remember(lineage: Lineage) -> None:
        if lock is not None:
            lock.leave({"epoch": lineage.epoch, "includes": dict(lineage.includes), "storages": places})

    known = remembered(lock.note(), places) if lock is not None else None
    return Epochs(store, storages, label, restored or known or Origin(until=EVERYTHING), remember)


def remembered(note: dict[str, Any], places: Sequence[str]) -> Origin | None:
    """What the last guard of the same file left; None: nothing that is of use."""
    try:
        if not set(places) & set(note["storages"]):
            return None
        includes = Lineage(0, {int(epoch): str(timestamp) for epoch, timestamp in note["includes"].items()})
        return Origin(includes, epoch=int(note["epoch"]))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


class OtherGuards:
    """See `guard.supervisor.Others`.

    Args:
        store: that is guarded.
        epochs: what is known of its guards.
    """

    def __init__(self, store: Store, epochs: Epochs) -> None:
        self._store = store
        self._epochs = epochs
        self._stop = _Stop()
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    @property
    def epoch(self) -> int:
        """See `Others`."""
        return self._epochs.lineage.epoch

    @property
    def superseded(self) -> bool:
        """See `Others`."""
        return self._epochs.rival is not None

    def attend(self, *, ready: bool) -> Attended:
        """See `Others`."""
        if not ready:
            self._epochs.settle()
            return Attended()
        self._epochs.claim()
        late, problems = self._epochs.look()
        problems += [*self._epochs.unnumbered(), *self._left_out()]
        if self._epochs.rival is not None:
            return Attended(problems=(*problems, *self._superseded()))
        texts: list[str] = []
        waiting: set[int] = set()
        for one in late:
            if one.info.epoch in waiting or time.monotonic() < self._again_at(one):
                waiting.add(one.info.epoch)  # a newer one of the same guard would count as having all of this
                continue
            try:
                self._bring_in(one, texts, problems)
            except _StoppedError:
                break
            except MlmetaError as error:
                waiting.add(one.info.epoch)
                self._epochs.could_not_use(one, error)
                failures = self._failures.get(_place_of(one), (0, 0.0))[0] + 1
                self._failures[_place_of(one)] = failures, time.monotonic()
                problems.append(f"{_named(one)} could not be brought in, and will be tried again: {_told(error)}")
        return Attended(tuple(texts), tuple(problems))

    def _again_at(self, late: Late) -> float:
        """When a snapshot may be tried; that of one that could not be brought in takes its time."""
        failures, failed_at = self._failures.get(_place_of(late), (0, 0.0))
        return failed_at + min(_FIRST_RETRY * 2.0**failures, _LONGEST_RETRY) if failures else 0.0

    def _left_out(self) -> Iterator[str]:
        for epoch, timestamp in sorted(self._epochs.left_out.items()):
            yield (
                f"this store was there before its guard: what only guard {epoch} saved until {timestamp} is left out; "
                f"`mlmeta restore --timestamp {timestamp} --on-conflict merge` brings it in"
            )

    def stop(self) -> None:
        """See `Others`."""
        self._stop.asked.set()

    def _superseded(self) -> Iterator[str]:
        yield f"{self._epochs.rival_told} has taken over: this one goes on saving, and prunes nothing any more"

    def _bring_in(self, late: Late, texts: list[str], problems: list[str]) -> None:
        if late.is_same_store:  # what it has, our next snapshot has
            self._epochs.is_in(late)
            return
        if self._store.kind not in DATABASES:
            way_out = "name the database of its server with --store"
            problems.append(f"{_named(late)} can't be brought in, as the store is no database: {way_out}")
            return
        if late.fork and (late.base is None or late.base.timestamp != late.fork):
            problems.append(f"{late.fork}, which both stores have in them, is gone; {_MAY_COME_BACK}")
        try:
            done = adopt(self._store, late.snapshot, late.base, self._stop)
        except BaseSnapshotError as error:
            problems.append(f"{error}; {_MAY_COME_BACK}")
            done = adopt(self._store, late.snapshot, None, self._stop)
        if done.refused:
            self._epochs.is_done(late)
            more = [f"and {len(done.refused) - _NAMED:,} more"] if len(done.refused) > _NAMED else []
            problems.append(f"{_named(late)} is not all in this store: {'; '.join([*done.refused[:_NAMED], *more])}")
        else:
            self._epochs.is_in(late)
        texts.append(f"brought in {_named(late)}: {_words(done)}")


class _StoppedError(Exception):
    """It was asked to end."""


class _Stop(Silent):
    """Ends work by an error of its progress."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def _check(self, *_: object, **__: object) -> None:
        if self.asked.is_set():
            raise _StoppedError

    phase = expect = advance = _check


def _place_of(late: Late) -> tuple[str, str]:
    return late.place.location, late.info.timestamp


def _named(late: Late) -> str:
    return f"{late.info.timestamp} of guard {late.info.epoch}"


def _words(done: Adopted) -> str:
    told = [
        f"{', '.join(amount(count, kind) for kind, count in counts.items() if count)} {word}"
        for counts, word in ((+done.created, "created"), (+done.merged, "completed"))
        if counts
    ]
    return ", ".join(told) or "nothing of it was missing"


def _told(error: MlmetaError) -> str:
    return without_any_secrets(f"{error}" + (f" ({error.hint})" if error.hint else ""))
