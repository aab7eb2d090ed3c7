"""What views are made of, and the small texts that several of them need. Nothing here prints, or needs rich.

A view makes blocks of a result: lines, tables, pairs. `mlmeta.cli.screen` draws them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from mlmeta.visible import visible

if TYPE_CHECKING:
    from mlmeta.commands.prune import Decision
    from mlmeta.snapshot.catalog import SnapshotInfo

_AGES = ((60, "s"), (3600, "min"), (86400, "h"), (86400 * 1000, "d"))

T = TypeVar("T")


class Styled(NamedTuple):
    """A piece of text in a style of rich's, such as ``bold green``."""

    text: str
    style: str


Piece = str | Styled
Line = Piece | list[Piece]


class Bar(NamedTuple):
    """A bar in a cell, of a share of its length."""

    share: float


class Table(NamedTuple):
    """A table without rules: readable on a terminal, and for `awk`.

    Args:
        columns: their names.
        rows: a cell for each column.
        right: names of the columns that are aligned at the right.
        whole: names of the columns that are never folded.
        is_long: whether it has so many rows that it is drawn without colours, and folded nowhere, to be there at once.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Piece | Bar]]
    right: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    is_long: bool = False


class Pairs(NamedTuple):
    """Names and what they stand for, one pair a line, with a title or without one."""

    title: str
    pairs: Mapping[str, str]


Block = Line | Table | Pairs


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


def moment(milliseconds: int | None) -> str:
    """A time of MLflow's (milliseconds since the epoch), in UTC."""
    if milliseconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # outside the calendar, but MLflow takes it
        return str(milliseconds)


def duration(milliseconds: float | None) -> str:
    """How long something took: ``3 ms``, ``1.25 s``, ``2 min 5 s``."""
    if milliseconds is None:
        return "-"
    if abs(milliseconds) < 1000:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    if abs(seconds) < 60:
        return f"{seconds:.3g} s"
    return f"{int(seconds // 60):,} min {int(seconds % 60)} s"


def short(value: str, most: int) -> str:
    """A text, or its beginning and how long it is.

    Args:
        value: the text.
        most: how many characters are shown.
    """
    return value if len(value) <= most else f"{value[:most]}… ({len(value):,} characters: --verbose)"


def sources(items: Sequence[SnapshotInfo | Decision]) -> list[str]:
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
    """A metric's value, short."""
    return f"{value:.6g}"


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
