"""Which snapshots stay, a pure function of timestamps and rules; and how the others go.

As in restic: a rule such as "daily 7" keeps the newest snapshot of each of the last 7 days that have one. Rules add up:
what any of them keeps stays, so adding a rule never removes more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from mlmeta.errors import UsageError
from mlmeta.schema import Names, several
from mlmeta.snapshot.layout import FileSet, moment_of
from mlmeta.storage import Storage, StoredFile

_WITHIN = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_BUCKETS: dict[str, Callable[[datetime], object]] = {
    "hourly": lambda t: t.strftime("%Y%m%d%H"),
    "daily": lambda t: t.date(),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: t.year,
}


@dataclass(frozen=True)
class Rules:
    """What to keep. Calendar rules count in UTC.

    Args:
        last: the newest N.
        hourly: the newest of each of the last N hours that have one; likewise the others.
        within: those at most this much older than the newest one, so that a schedule that stopped never empties
            a storage.
        tags: those with this tag stay, or with one of several, beside what the other rules keep: ``KEY``, or
            ``KEY=VALUE``. They are no rule by themselves, which would remove all that nobody has given a tag.

    Raises:
        UsageError: a number or `within` is negative.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta = timedelta()
    tags: Names = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", several(self.tags))
        numbers = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        if min(numbers) < 0 or self.within < timedelta():
            raise UsageError(f"{self} keeps less than nothing", hint="give numbers of 0 or more")

    def __bool__(self) -> bool:
        """Whether any rule is given."""
        return any(getattr(self, field.name) for field in fields(self) if field.name != "tags")


def kept(timestamps: Sequence[str], rules: Rules) -> dict[str, list[str]]:
    """Which snapshots the rules keep, and why.

    Args:
        timestamps: of snapshots of one source, all of them dates.
        rules: at least one.

    Returns:
        For each timestamp, newest first, the rules that keep it; none: it goes. The newest always stays.
    """
    newest_first = sorted(timestamps, reverse=True)
    reasons: dict[str, list[str]] = {timestamp: [] for timestamp in newest_first}
    for timestamp in newest_first[: rules.last]:
        reasons[timestamp].append(f"last {rules.last}")
    for name, bucket in _BUCKETS.items():
        _keep_buckets(reasons, name, getattr(rules, name), bucket)
    if newest_first and rules.within:
        newest = _moment(newest_first[0])
        for timestamp in newest_first:
            if newest - _moment(timestamp) <= rules.within:  # from the newest back, there may be no such date
                reasons[timestamp].append(f"within {rules.within}")
    if newest_first and not reasons[newest_first[0]]:
        reasons[newest_first[0]].append("newest")
    return reasons


def _keep_buckets(reasons: dict[str, list[str]], name: str, count: int, bucket: Callable[[datetime], object]) -> None:
    seen: set[object] = set()
    for timestamp, why in reasons.items():
        found = bucket(_moment(timestamp))
        if len(seen) < count and found not in seen:
            seen.add(found)
            why.append(f"{name} {len(seen)} of {count}")


def _moment(timestamp: str) -> datetime:
    moment = moment_of(timestamp)
    if moment is None:
        raise ValueError(f"{timestamp} is not a date")
    return moment


def parse_within(text: str) -> timedelta:
    """A duration such as ``30d``, ``2w``, ``1d12h``, ``90s``.

    Raises:
        UsageError: it is not one.
    """
    match = _WITHIN.fullmatch(text)
    if not text or match is None:
        raise UsageError(f"{text!r} is not a duration", hint="write 30d, 2w, 36h, or 1d12h")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError as error:
        raise UsageError(f"{text} is too long", hint="write a shorter one, such as 30d or 52w") from error


def remove(storage: Storage, files: FileSet) -> None:
    """Remove a snapshot: its summary first, so that what an interruption leaves is not a snapshot.

    Raises:
        StorageError: a file can't be removed.
    """
    for file in files.all:
        storage.remove(file.name)


def leftovers(storage: Storage, sets: list[FileSet], before: float) -> Iterator[FileSet | StoredFile]:
    """Data files without a summary, and staged files, that nobody has touched since `before`.

    A backup that is still running has younger files, and so has somebody who is just copying a snapshot here, whatever
    the date is that the copies have kept: they are not touched.

    Args:
        storage: where to look.
        sets: its files.
        before: seconds since the epoch.
    """
    for files in sets:
        if files.summary is None and not files.odd and all(file.modified < before for file in files.all):
            yield files
    yield from storage.stale(before)
