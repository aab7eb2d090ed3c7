"""Brings what another guard saved of its own store into the one that this guard's server is using.

Only what that guard's snapshot has and an earlier one, which both stores have in them, does not: what was removed here
meanwhile stays removed. It comes in small parts, a transaction each, so that no write of the server waits for long.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlmeta.commands.before import parts_of
from mlmeta.commands.restore import RestoreResult, restore
from mlmeta.errors import BaseSnapshotError, RestoreError, SnapshotError
from mlmeta.progress import Progress
from mlmeta.schema import (
    AUTH,
    EXPERIMENTS,
    MODELS,
    ROWS,
    Experiment,
    Kind,
    Record,
    RegisteredModel,
    Selection,
    Summary,
    kind_of,
)
from mlmeta.snapshot.compare import Item, merge_join
from mlmeta.snapshot.layout import moment_of
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import Led, Snapshot, bare
from mlmeta.snapshot.selected import Selected
from mlmeta.snapshot.writer import SnapshotWriter, utc_now
from mlmeta.storage import LocalStorage
from mlmeta.stores.opening import Store
from mlmeta.stores.target import DELETED, KEPT, MERGE, Key, Refusal
from mlmeta.temporary import scratch_folder

_PART = 1 << 18
"""Bytes of lines that are restored in one transaction; a single run or trace may have more. It takes 0.3 s."""


@dataclass
class Adopted:
    """What came of it.

    Args:
        created: how many of each kind are new in the store.
        merged: how many that were there got what they lacked.
        refused: what of it is not in the store, in sentences.
    """

    created: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


def adopt(store: Store, snapshot: Snapshot, base: Snapshot | None, progress: Progress) -> Adopted:
    """Bring a snapshot into a store that a server is using; doing it again changes nothing.

    Args:
        store: a database.
        snapshot: of another store, that went on from the same one.
        base: a snapshot that both have in them; None: none is known, and all comes in that is not there.
        progress: told how far it is; an error of it ends the work.

    Raises:
        BaseSnapshotError: the base can't be read to its end; what was written stays.
        RestoreError: the store did not take it; likewise.
        MlmetaError: the snapshot or the store can't be used.
    """
    done = Adopted()
    with scratch_folder() as folder, snapshot.kept_open(), base.kept_open() if base is not None else nullcontext():
        for part, carriers in _parts(snapshot, base, folder):
            for where in parts_of(store):
                result = restore(
                    where.store.tracking_uri,
                    snapshot.timestamp,
                    part,
                    selection=where.selection,
                    registry_uri=where.store.registry_uri,
                    on_conflict=MERGE,
                    progress=progress,
                )
                _must_be_proved(result)
                done.created.update(result.created)
                done.merged.update(result.merged)
                done.refused += [f"{one.kind} {one.id}: {one.reason}" for one in result.gaps if _counts(one, carriers)]
    if store.is_split and len(parts_of(store)) == 1 and _hash(snapshot, MODELS) != _hash(base, MODELS):
        done.refused.append("the model registry is no database, and is left alone")
    if _hash(snapshot, AUTH) != _hash(base, AUTH):
        done.refused.append("users and permissions of basic-auth are left alone")
    return done


def _counts(gap: Refusal, carriers: Set[Key]) -> bool:
    """Whether a person has to look at it: not at what was deleted here, nor at what only something else belongs to."""
    return gap.code != DELETED and not (gap.code == KEPT and {*gap.concerned} <= carriers)


def _must_be_proved(result: RestoreResult) -> None:
    if result.unexplained:
        raise RestoreError(
            f"what came from {result.timestamp} is not as it was there: {result.unexplained[0]}",
            hint="it is tried again",
        )


def _hash(snapshot: Snapshot | None, kind: Kind[Any]) -> str:
    """What tells a snapshot's records of a kind from others; empty: it has none."""
    entry = snapshot.summary.files.get(kind.name) if snapshot is not None else None
    return entry.content_sha256 or entry.sha256 if entry is not None else ""


def _parts(snapshot: Snapshot, base: Snapshot | None, folder: Path) -> Iterator[tuple[Path, set[Key]]]:
    """Snapshots that have, one after the other, what a snapshot has and its base has not, and what that needs.

    With the keys of what is only needed.
    """
    experiments = {one.experiment_id: one for one in snapshot.records(EXPERIMENTS)}
    for number, items in enumerate(_chunks(_differing(snapshot, base))):
        part = folder / str(number)
        needed = [*_needed(snapshot, items, experiments)]
        with SnapshotWriter([LocalStorage(part)], moment_of(snapshot.timestamp) or utc_now()) as writer:
            list(writer.add_all(_lines(sorted([*needed, *items], key=place))))
            writer.commit(_summary(snapshot.summary))
        yield part, {(kind_of(record).one, kind_of(record).found_as(record)) for record in needed}
        shutil.rmtree(part)  # the disk may be memory


def _summary(summary: Summary) -> Summary:
    """That of a part: it says nothing of what the whole lacks."""
    nothing: dict[str, Any] = {"skipped": (), "accepted": (), "warnings": (), "shrunken": "", "auth_uri": ""}
    return summary.model_copy(update={**nothing, "incremental_base": "", "epoch": 0, "includes": {}})


def _differing(snapshot: Snapshot, base: Snapshot | None) -> Iterator[Item]:
    """The records of a snapshot that its base does not have like that."""
    before: Iterable[Item] = _of_base(base) if base is not None else ()
    for left, right in merge_join(before, Selected(snapshot, Selection()).items(), place):
        if right is not None and (left is None or not _is_same(left, right)):
            yield _without(left, right)


def _without(left: Item | None, right: Item) -> Item:
    """A record without those of its parts that its base has just like that: versions and aliases of a model."""
    if not isinstance(left, RegisteredModel) or not isinstance(right, RegisteredModel):
        return right
    versions = tuple(one for one in right.versions if one not in left.versions)
    aliases = dict(right.aliases.items() - left.aliases.items())
    return right.model_copy(update={"versions": versions, "aliases": aliases})


def _of_base(base: Snapshot) -> Iterator[Item]:
    try:
        yield from Selected(base, Selection()).items()
    except SnapshotError as error:
        raise BaseSnapshotError(f"{base.timestamp}, which both stores have in them, can't be read: {error}") from error


def _is_same(left: Item, right: Item) -> bool:
    return [one.to_line() for one in _lines([left])] == [one.to_line() for one in _lines([right])]


def _lines(items: Iterable[Item]) -> Iterator[Any]:
    for item in items:
        yield bare(item)
        if isinstance(item, Led):
            yield from item.lines


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Some items at a time."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += sum(len(one.to_line()) for one in _lines([item]))
        if size >= _PART:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _needed(snapshot: Snapshot, items: Sequence[Item], experiments: dict[str, Experiment]) -> Iterator[Record]:
    """What some records belong to, where it is not among them."""
    records = [bare(item) for item in items]
    there = {(kind_of(record).name, kind_of(record).key(record)) for record in records}
    for key in _experiments_of(records, experiments):
        if (EXPERIMENTS.name, key) not in there and key in experiments:
            yield experiments[key]
    owners: dict[str, tuple[Kind[Any], set[str]]] = {}
    for record in records:
        kind = kind_of(record)
        if kind.owner is not None and kind.owned_by is not None:
            owners.setdefault(kind.owner.name, (kind.owner, set()))[1].add(kind.owned_by(record))
    for kind, keys in owners.values():
        found = (one for one in snapshot.records(kind) if kind.key(one) in keys)
        yield from (one for one in found if (kind.name, kind.key(one)) not in there)


def _experiments_of(records: Iterable[Record], experiments: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for record in records:
        kind = kind_of(record)
        if kind is ROWS:  # any column of theirs may name one
            return set(experiments)
        if kind.experiment is not None:
            found.add(kind.experiment(record))
        if kind.experiments:
            found.update(getattr(record, kind.experiments))
    return found
