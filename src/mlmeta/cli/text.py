"""What views are made of, and the small texts that several of them need. Nothing here prints, or needs rich.

A view makes blocks of a result: lines, tables, pairs. `mlmeta.cli.screen` draws them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from mlmeta.visible import visible

if TYPE_CHECKING:
    from mlmeta.commands.forget import Forgotten
    from mlmeta.commands.prune import Decision
    from mlmeta.schema import Skipped
    from mlmeta.snapshot.catalog import SnapshotInfo
    from mlmeta.stores.target import Refusal

_AGES = ((60, "s"), (3600, "min"), (86400, "h"), (86400 * 1000, "d"))

T = TypeVar("T")


class Styled(NamedTuple):
    """A piece of text in a style of rich's, such as ``bold green``."""

    text: str
    style: str


Piece = str | Styled
Line = Piece | list[Piece]


class Elastic(NamedTuple):
    """A cell that is short where the table has no room for it in full: an id's beginning, a time without seconds."""

    full: str
    short: str


Cell = Piece | Elastic


class Table(NamedTuple):
    """A table without rules: readable on a terminal, and for `awk`. A row is a line; texts too long for it end in ….

    Args:
        columns: their names.
        rows: a cell for each column.
        right: names of the columns that are aligned at the right: numbers, which are never cut.
        whole: names of other columns that are never cut, as somebody copies what stands there.
        spare: names of the columns that go where there is no room for all, the first of them first.
        brief: shorter headings for some columns, where there is no room for all.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    brief: Mapping[str, str] = {}


class Pairs(NamedTuple):
    """Names and what they stand for, one pair a line.

    Args:
        title: above them; empty: none.
        pairs: the names are never cut.
        whole: whether the values are not cut either, as somebody copies them.
    """

    title: str
    pairs: Mapping[str, str]
    whole: bool = False


class Terms(NamedTuple):
    """Names and texts about them, which are folded beside them.

    Args:
        title: above them.
        texts: by name.
    """

    title: str
    texts: Mapping[str, str]


class Verbatim(NamedTuple):
    """A line that is copied, such as a command: it is neither folded nor cut."""

    text: str
    style: str = ""


class Curve(NamedTuple):
    """Values as a curve, with axes.

    Args:
        x: where the values are, from left to right.
        y: the values.
        marks: signs of one character that stand where some values are, by their index.
        first: what stands below the left end.
        last: below the right one.
    """

    x: Sequence[float]
    y: Sequence[float]
    marks: Mapping[int, Styled]
    first: str
    last: str


Block = Line | Table | Pairs | Terms | Verbatim | Curve


def size(count: int) -> str:
    """Bytes, as people write them."""
    from rich import filesize  # not at the top: a quiet command does without rich

    return filesize.decimal(count)


def age(seconds: float | None) -> str:
    """How long ago, in one unit."""
    if seconds is None:
        return "?"
    if seconds < 0:
        return "in the future"
    per_unit = 1
    for limit, unit in _AGES:
        if seconds < limit:
            return f"{int(seconds / per_unit)} {unit}"
        per_unit = limit
    return f"{int(seconds / 86400)} d"


def counts(stats: Mapping[str, int]) -> str:
    """Such as ``3 experiments, 31 runs, 8,402 metric points, 2 models (3 versions)``."""
    from mlmeta.schema.words import counts  # not at the top: `--help` does without

    return counts(stats)


def amount(count: int, many: str) -> str:
    """Such as ``1 run``, ``1 model alias`` or ``1,000 runs``, from the word for several."""
    from mlmeta.schema.words import amount

    return amount(count, many)


def plural(count: int, one: str) -> str:
    """Such as ``1 run``, ``1,000 runs`` or ``2 metric histories``, from the word for one."""
    return f"{count:,} {one if count == 1 else many(one)}"


def many(one: str) -> str:
    """The word for several of what may be a kind of record."""
    from mlmeta.schema import WITH_PARTS

    return next((kind.many for kind in WITH_PARTS if kind.one == one), f"{one}s")


def seconds(count: float) -> str:
    """How long a command or a phase took: ``0.4 s``, ``2 min 5 s``, ``1 h 12 min``."""
    minutes, rest = divmod(round(count), 60)
    if round(count, 1) < 60:
        return f"{count:.1f} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def shortest(ids: Sequence[str]) -> int:
    """How many characters of ids tell them apart: as many as people are used to, or more.

    Args:
        ids: without what all of them begin with.
    """
    unlike = len(set(ids))
    return next((most for most in (8, 12, 16) if len({one[:most] for one in ids}) == unlike), 1000)


def when(milliseconds: int | None) -> Elastic:
    """A time of MLflow's for a table, in UTC, with seconds where there is room."""
    full = _calendar(milliseconds)
    return Elastic(full, full.rpartition(":")[0] or full)


def moment(milliseconds: int | None, *, exactly: bool = False) -> str:
    """A time of MLflow's (milliseconds since the epoch), in UTC, which it names.

    Args:
        milliseconds: since the epoch.
        exactly: with the milliseconds, which may be all that tells two times apart.
    """
    found = _calendar(milliseconds)
    if milliseconds is None or ":" not in found:
        return found
    return f"{found}.{milliseconds % 1000:03} UTC" if exactly else f"{found} UTC"


def _calendar(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(milliseconds // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # outside the calendar, but MLflow takes it
        return str(milliseconds)


def iso_moment(text: str) -> str:
    """A time of a summary (ISO 8601) as people write it, in UTC; anything else stays as it is."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    if found.tzinfo is None:
        return text
    told = moment(int(found.timestamp() * 1000))
    return told if ":" in told else text


def duration(milliseconds: float | None) -> str:
    """How long something took: ``3 ms``, ``1.25 s``, ``2 min 5 s``, ``1 h 12 min``."""
    if milliseconds is None:
        return "-"
    if abs(milliseconds) < 1000:
        return f"{milliseconds:.3g} ms"
    count = milliseconds / 1000
    return f"{count:.3g} s" if round(count, 1) < 60 else seconds(count)


def accepted(words: Sequence[str], found: Sequence[Skipped | Refusal], *, most: int | None) -> list[Line]:
    """A line for each thing that is missing, and that somebody accepts to be missing.

    Args:
        words: for their kinds.
        found: all that is missing.
        most: so many lines; None: all.
    """
    if not words:
        return []
    from mlmeta.schema.summary import Acceptance

    known = Acceptance(tuple(words))
    told = [f"accepted: {one.kind} {one.id}: {one.reason}" for one in found if known.covers(one.kind, one.id)]
    left = len(told) - len(told[:most])
    return [Styled(line, "dim") for line in (*told[:most], *([f"… and {left:,} more accepted"] if left else []))]


def sources(items: Sequence[SnapshotInfo | Decision | Forgotten]) -> list[str]:
    """The source of each, as it was named; with its label, and in full where the same text names several."""
    texts = Counter(source for source, _ in {(one.source, one.identity) for one in items})
    return [
        f"{one.label} ({one.source})" if one.label else one.source if texts[one.source] == 1 else one.identity
        for one in items
    ]


def tags(given: Mapping[str, str]) -> str:
    """The tags of a snapshot, such as ``release=1.4, keep``."""
    return ", ".join(f"{key}={value}" if value else key for key, value in given.items())


def more(total: int, shown: int) -> list[Line]:
    """A line on what a limit leaves out; none where it leaves out nothing."""
    left = total - shown
    return [Styled(f"… and {left:,} more: --limit shows them", "dim")] if left else []


def number(value: float) -> str:
    """A metric's value, in six digits or all before the point."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.6g}"


def all_visible(value: T) -> T:
    """A result with every text in it made visible, names of keys included; itself where there is nothing to do."""
    return cast("T", _all_visible(value))


def _all_visible(value: Any) -> Any:
    if type(value) is str:  # not an Enum, whose words are ours
        return visible(value)
    from pydantic import BaseModel  # not at the top: `--help` does without

    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: new for name, old in fields.items() if (new := _all_visible(old)) is not old}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        return {_all_visible(key): _all_visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_all_visible(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else type(value)(items)
    return value
