"""Which snapshot of a storage a person means, where it holds several sources and some that count for nothing."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlmeta.errors import AmbiguousSelectorError, MlmetaError, SnapshotNotFoundError
from mlmeta.schema import Summary
from mlmeta.schema.identity import canonical
from mlmeta.snapshot.catalog import SnapshotInfo, State, file_sets, glance, info_of
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.selector import is_latest, is_name, select
from mlmeta.snapshot.summaries import read_summary
from mlmeta.storage import Storage

_NAMED = 5
"""So many sources are named in an error."""


@dataclass(frozen=True)
class Which:
    """Which source is meant.

    Args:
        source: spellings of it, the surest first, one to be shown last: one has to be there; none: it does not matter.
        likely: spellings of what it may be, for a storage with several.
    """

    source: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A snapshot that was found.

    Args:
        files: its files.
        notes: what a person should know of the choice.
        summary: its table of contents, or why that can't be read; None: nobody has looked yet.
    """

    files: FileSet
    notes: tuple[str, ...] = ()
    summary: Summary | MlmetaError | None = None


def find(storage: Storage, selector: str, which: Which | None = None) -> Found:
    """The files of the snapshot that is meant.

    A timestamp, or the beginning of one, names its snapshot whatever it is. Times and `latest` mean snapshots of one
    source, none of those from the future; `latest` passes over shrunken ones, too.

    Args:
        storage: where to look.
        selector: see `snapshot.selector.select`.
        which: source, where the storage has several.

    Raises:
        SnapshotNotFoundError: there is none.
        AmbiguousSelectorError: a prefix names several, or there are several sources.
    """
    sets = file_sets(storage)
    committed = {files.timestamp: files for files in sets if files.summary is not None}
    leftovers = [files.timestamp for files in sets if files.summary is None]
    if is_name(selector) or not committed:
        return Found(committed[select(selector, list(committed), leftovers)])
    now = time.time()
    infos = {timestamp: glance(storage, files, now) for timestamp, files in committed.items()}
    while True:
        counting = _of_one_source(_not_from_the_future(infos.values(), storage), which or Which(), selector, storage)
        good, notes = _good(counting) if is_latest(selector) else (counting, ())
        chosen = committed[select(selector, [info.timestamp for info in good], leftovers)]
        try:
            summary = read_summary(storage, chosen)
        except MlmetaError as error:
            return Found(chosen, notes, error)
        if (info := info_of(chosen, summary, now)) == infos[chosen.timestamp]:
            return Found(chosen, notes, summary)
        infos[chosen.timestamp] = info  # the listing came with something else than what it has inside


def _good(infos: list[SnapshotInfo]) -> tuple[list[SnapshotInfo], tuple[str, ...]]:
    """Without the shrunken ones, unless there are no others; and what to know of that."""
    good = [info for info in infos if info.state is not State.SHRUNKEN] or infos
    newer = [info for info in infos if info.timestamp > good[0].timestamp]
    return good, tuple(f"{info.timestamp} was skipped: {info.problem}" for info in newer[:1])


def _not_from_the_future(infos: Iterable[SnapshotInfo], storage: Storage) -> list[SnapshotInfo]:
    newest_first = list(infos)
    present = [info for info in newest_first if not info.is_ahead]
    if not present:
        raise SnapshotNotFoundError(
            f"all snapshots in {storage.location} are dated in the future",
            nearest=tuple(info.timestamp for info in newest_first[-3:]),
            hint=f"check the clock of this machine; or name one of them, such as {newest_first[-1].timestamp}",
        )
    return present


def _of_one_source(infos: list[SnapshotInfo], which: Which, selector: str, storage: Storage) -> list[SnapshotInfo]:
    """Those of the source that is meant, and those that nobody knows the source of: reading them says why."""
    identities = _identities(infos)
    sources = dict.fromkeys(filter(None, identities.values()))
    if which.source:
        if not (found := _spelt(which.source, infos, identities)):
            raise SnapshotNotFoundError(
                f"no snapshot of {which.source[-1]} in {storage.location}", hint=f"there are: {_named(sources)}"
            )
    else:
        likely = _spelt(which.likely, infos, identities)
        found = likely if len(sources) > 1 and len(likely) == 1 else list(sources)
    if len(found) > 1:
        raise AmbiguousSelectorError(
            f"{selector} is ambiguous: {storage.location} has snapshots of {len(found)} sources: {_named(found)}",
            hint="choose one with --source, or name a timestamp: `mlmeta list` shows them",
        )
    return [info for info in infos if identities[info.timestamp] in {"", *found}]


def _identities(infos: Iterable[SnapshotInfo]) -> dict[str, str]:
    """The source of each snapshot; of an older one that does not say, the only one that had its text, if there is."""
    known: dict[str, set[str]] = defaultdict(set)
    for info in infos:
        if not info.is_vague:
            known[canonical(info.source)].add(info.identity)

    def of(info: SnapshotInfo) -> str:
        same = known[info.identity] if info.is_vague else set()
        return next(iter(same)) if len(same) == 1 else info.identity

    return {info.timestamp: of(info) for info in infos}


def _spelt(spellings: Sequence[str], infos: Iterable[SnapshotInfo], identities: dict[str, str]) -> list[str]:
    """The sources that are spelt so: as they count, else as they were once named."""
    exact = [identity for identity in dict.fromkeys(identities.values()) if identity and identity in spellings]
    if exact:
        return exact[:1]
    named = [info for info in infos if {info.source, canonical(info.source)} & set(spellings)]
    return list(dict.fromkeys(identities[info.timestamp] for info in named if info.source))


def _named(sources: Iterable[str]) -> str:
    found = list(sources)
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
