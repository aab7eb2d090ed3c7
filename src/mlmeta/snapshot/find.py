"""Which snapshot of a storage a person means, where it holds several sources and some that count for nothing."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from mlmeta.errors import AmbiguousSelectorError, MlmetaError, SnapshotNotFoundError, UsageError
from mlmeta.schema import Summary
from mlmeta.schema.identity import canonical
from mlmeta.snapshot import layout
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState, file_sets, glance, info_of
from mlmeta.snapshot.epochs import preferred
from mlmeta.snapshot.layout import FileSet
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
        last_guard: whether `latest` is the last guard's, where several saved side by side: see `epochs.preferred`.
    """

    source: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()
    last_guard: bool = False


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
        return Found(committed[select(selector, _begun(storage, selector, committed, which), leftovers)])
    now, which = time.time(), which or Which()
    infos = {timestamp: glance(storage, files, now) for timestamp, files in committed.items()}
    while True:
        counting = _of_one_source(_not_from_the_future(infos.values(), storage), which, selector, storage)
        good, notes = _good(counting) if is_latest(selector) else (counting, ())
        notes = (*notes, *_ahead(infos.values(), counting))
        if which.last_guard and is_latest(selector, 0):
            good, notes = _of_last_guard(good, notes)
        chosen = committed[select(selector, [info.timestamp for info in good], leftovers)]
        try:
            summary = read_summary(storage, chosen)
        except MlmetaError as error:
            return Found(chosen, notes, error)
        if (info := info_of(chosen, summary, now)) == infos[chosen.timestamp]:
            return Found(chosen, notes, summary)
        infos[chosen.timestamp] = info  # the listing came with something else than what it has inside


def _begun(storage: Storage, prefix: str, committed: dict[str, FileSet], which: Which | None) -> list[str]:
    """The timestamps that a prefix may mean: where it is that of several, only those of the source that is meant."""
    if which is None or not which.source or sum(one.startswith(prefix.strip()) for one in committed) < 2:
        return list(committed)
    infos = [glance(storage, files, 0) for files in committed.values()]
    return [info.timestamp for info in of_source(infos, which, storage)]


def of_source(infos: Sequence[SnapshotInfo], which: Which, storage: Storage) -> list[SnapshotInfo]:
    """Those that are known to be of the source that is meant, whatever their state; all, where none is meant.

    Args:
        infos: of a storage, all of them.
        which: source.
        storage: where they are.

    Raises:
        SnapshotNotFoundError: there are snapshots, and none of it.
    """
    if not which.source or not infos:
        return list(infos)
    identities = _identities(infos)
    found = set(_spelt(which.source, infos, identities))
    if not found:
        raise _no_source(which, storage, dict.fromkeys(filter(None, identities.values())))
    return [info for info in infos if identities[info.timestamp] in found]


def meant_sets(sets: Sequence[FileSet], which: Which, storage: Storage) -> list[FileSet]:
    """The snapshots of the source that is meant, and those that nobody knows the source of: reading them says why.

    Args:
        sets: all snapshots of a storage.
        which: source; where none is meant, all are.
        storage: where they are.

    Raises:
        SnapshotNotFoundError: there are snapshots, and none of it.
    """
    if not which.source:
        return list(sets)
    infos = [glance(storage, files, 0) for files in sets]
    mine = {info.timestamp for info in of_source(infos, which, storage)}
    return [files for files, info in zip(sets, infos, strict=True) if info.timestamp in mine or not info.identity]


def _no_source(which: Which, storage: Storage, sources: Iterable[str]) -> SnapshotNotFoundError:
    return SnapshotNotFoundError(
        f"no snapshot of {which.source[-1]} in {storage.location}", hint=f"there are: {_named(sources)}"
    )


def _good(infos: list[SnapshotInfo]) -> tuple[list[SnapshotInfo], tuple[str, ...]]:
    """Without the shrunken ones, unless there are no others; and what to know of that."""
    good = [info for info in infos if info.state is not SnapshotState.SHRUNKEN] or infos
    newer = [info for info in infos if info.timestamp > good[0].timestamp]
    return good, tuple(f"{info.timestamp} was skipped: {info.problem}" for info in newer[:1])


def _of_last_guard(infos: list[SnapshotInfo], notes: tuple[str, ...]) -> tuple[list[SnapshotInfo], tuple[str, ...]]:
    """The one to go on from, and what to know of newer ones."""
    chosen = preferred(infos)
    if chosen is None or chosen == infos[0]:
        return infos, notes
    newer = infos[0]
    told = (
        f"{newer.timestamp} is newer, but of guard {newer.epoch}, which went on beside a later one: a guard brings in "
        f"what only it has, and so does `mlmeta restore --timestamp {newer.timestamp} --on-conflict merge`"
    )
    return [chosen], (*notes, told)


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


def _ahead(infos: Iterable[SnapshotInfo], counting: Sequence[SnapshotInfo]) -> Iterator[str]:
    """That what may be newer does not count: this machine's clock may be the one that is wrong."""
    series = {info.identity for info in counting}
    newer = [info for info in infos if info.state is SnapshotState.FUTURE and info.identity in series]
    for info in newer[:1]:
        yield f"{info.timestamp} was skipped: {info.problem}; check the clock of this machine"


def _of_one_source(infos: list[SnapshotInfo], which: Which, selector: str, storage: Storage) -> list[SnapshotInfo]:
    """Those of the source that is meant, and those that nobody knows the source of: reading them says why."""
    identities = _identities(infos)
    sources = dict.fromkeys(filter(None, identities.values()))
    if which.source:
        if not (found := _spelt(which.source, infos, identities)):
            raise _no_source(which, storage, sources)
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


_LATEST = re.compile(r"latest(?:~([0-9]+))?")
_PREFIX = re.compile(r"[0-9]{1,8}(?:_[0-9]{0,6})?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def is_name(selector: str) -> bool:
    """Whether it is a timestamp, or may be the beginning of one."""
    return _PREFIX.fullmatch(selector.strip()) is not None


def is_latest(selector: str, back: int | None = None) -> bool:
    """Whether it counts from the newest; by so many, where that is given."""
    match = _LATEST.fullmatch(selector.strip())
    return match is not None and back in {None, int(match[1] or 0)}


def select(selector: str, timestamps: Sequence[str], leftovers: Sequence[str] = ()) -> str:
    """The timestamp that `selector` names.

    Args:
        selector: a timestamp, a unique prefix of one, ``latest``, ``latest~N`` (the N-th before it), or an ISO 8601
            instant (the newest snapshot at or before it; UTC where it names no zone; a day means its end).
        timestamps: of all snapshots, newest first.
        leftovers: timestamps that have files but no summary, for the error's text.

    Raises:
        SnapshotNotFoundError: nothing answers to it.
        AmbiguousSelectorError: a prefix names several.
        UsageError: it is not one of these.
    """
    selector = selector.strip()
    if match := _LATEST.fullmatch(selector):
        back = int(match[1] or 0)
        if back < len(timestamps):
            return timestamps[back]
        raise _not_found(selector, timestamps, leftovers)
    if _PREFIX.fullmatch(selector):
        return _by_prefix(selector, timestamps, leftovers)
    return _by_instant(selector, timestamps, leftovers)


def _by_prefix(prefix: str, timestamps: Sequence[str], leftovers: Sequence[str]) -> str:
    found = [t for t in timestamps if t.startswith(prefix)]
    if not found:
        raise _not_found(prefix, timestamps, leftovers)
    if len(found) > 1:
        named = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        raise AmbiguousSelectorError(
            f"{prefix} matches {len(found):,} snapshots: {named}", hint="write more of the timestamp"
        )
    return found[0]


def _by_instant(text: str, timestamps: Sequence[str], leftovers: Sequence[str]) -> str:
    try:
        wanted = layout.timestamp_of(_instant(text))
    except (ValueError, OverflowError) as error:  # the latter: a year that no calendar has
        raise UsageError(
            f"{text!r} does not name a snapshot",
            hint="write a timestamp (20250815_232928), the beginning of one, latest, latest~1, or an ISO 8601 time",
        ) from error
    for timestamp in timestamps:
        if timestamp <= wanted:
            return timestamp
    raise _not_found(text, timestamps, leftovers)


def _instant(text: str) -> datetime:
    """The moment that an ISO 8601 text names; a day means its end."""
    instant = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    if _DAY.fullmatch(text):
        instant += timedelta(days=1) - timedelta(seconds=1)
    return instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)


def _not_found(selector: str, timestamps: Sequence[str], leftovers: Sequence[str]) -> SnapshotNotFoundError:
    if not timestamps:
        what = "the storage has only leftovers of interrupted backups" if leftovers else "the storage has none"
        return SnapshotNotFoundError(f"no snapshot {selector}: {what}", hint="create one with `mlmeta backup`")
    if selector in leftovers:
        return SnapshotNotFoundError(
            f"{selector} is not a snapshot: it has no summary, so its backup never finished, or is still running",
            nearest=_nearest(selector, timestamps),
            hint=f"nearest: {', '.join(_nearest(selector, timestamps))}",
        )
    nearest = _nearest(selector, timestamps)
    return SnapshotNotFoundError(
        f"no snapshot {selector}", nearest=nearest, hint=f"nearest: {', '.join(nearest)}; all: `mlmeta list`"
    )


def _nearest(selector: str, timestamps: Sequence[str]) -> tuple[str, ...]:
    """The three snapshots nearest in time; the newest where the selector is not a time."""
    digits = re.sub(r"\D", "", selector) if not selector.startswith("latest") else ""
    padded = digits + "00000101000000"[len(digits) :]
    wanted = layout.moment_of(f"{padded[:8]}_{padded[8:14]}") if digits else None
    if wanted is None:
        return tuple(timestamps[:3])

    def distance(timestamp: str) -> float:
        moment = layout.moment_of(timestamp)
        return abs((moment - wanted).total_seconds()) if moment else float("inf")

    return tuple(sorted(timestamps, key=distance)[:3])
