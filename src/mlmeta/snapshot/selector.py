"""Which snapshot a person means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from mlmeta.errors import AmbiguousSelectorError, SnapshotNotFoundError, UsageError
from mlmeta.snapshot import layout

_LATEST = re.compile(r"latest(?:~([0-9]+))?")
_PREFIX = re.compile(r"[0-9]{1,8}(?:_[0-9]{0,6})?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def is_name(selector: str) -> bool:
    """Whether it is a timestamp, or may be the beginning of one."""
    return _PREFIX.fullmatch(selector.strip()) is not None


def is_latest(selector: str) -> bool:
    """Whether it counts from the newest."""
    return _LATEST.fullmatch(selector.strip()) is not None


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
            f"{prefix} matches {len(found)} snapshots: {named}", hint="write more of the timestamp"
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
