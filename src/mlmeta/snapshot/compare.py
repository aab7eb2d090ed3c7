"""The only comparison: two states of a store, record by record, neither of them held in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.errors import InternalError
from mlmeta.schema import (
    EXPERIMENTS,
    FOLLOWERS,
    FOLLOWING,
    WITH_PARTS,
    FollowerLine,
    Kind,
    Line,
    Record,
    Run,
    Skipped,
    kind_of,
)
from mlmeta.snapshot import equality, followers
from mlmeta.snapshot.followers import FieldDifference
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import AnyLed, Led, bare

T = TypeVar("T")

Item = Record | AnyLed
"""A record of any kind; a run comes with its histories, and a trace with its spans."""

What = Literal["added", "removed", "changed"]

MOST_NAMED = 1000

_HIDDEN = ("a secret", "another")
"""What is told of two values that nobody may see."""

_LONGEST = 10_000
"""Bytes of a value's JSON up to which a change has it whole."""


@dataclass(frozen=True)
class Pair:
    """A record on both sides, or on one of them.

    Args:
        left: as it was before, or as it was to be restored.
        right: as it is now.
        expected: the form in which the right side is to have what is on the left; None: just that.
    """

    left: Item | None
    right: Item | None
    expected: Item | None = None

    @property
    def record(self) -> Record:
        """The left record; the right one, where there is no other."""
        if self.left is not None:
            return bare(self.left)
        if self.right is not None:
            return bare(self.right)
        raise InternalError("a pair has nothing on either side")


@dataclass(frozen=True)
class ComparisonRules:
    """What can't be compared.

    Args:
        unknown: fields that one side does not know or can't keep, such as ``runs.deleted_time``, or the keys of a map
            that begin so: ``runs.tags[mlmeta.*]``; for all that follows the records of a kind, ``traces.spans``.
        left_is_legacy: whether an older script wrote the left side: of its records, only the fields that it has count.
        right_is_legacy: the same of the right side.
    """

    unknown: Set[str] = frozenset()
    left_is_legacy: bool = False
    right_is_legacy: bool = False

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(field.replace("[", "[[]") for field in self.unknown if field.endswith("*]"))

    def fields(self, kind: Kind[Any], left: Record, right: Record) -> Iterator[str]:
        """The fields that are compared; parts are compared by themselves."""
        for field in type(left).model_fields:
            is_known = (not self.left_is_legacy or field in left.model_fields_set) and (
                not self.right_is_legacy or field in right.model_fields_set
            )
            if is_known and field not in kind.parts and kind.field(field) not in self.unknown:
                yield field

    def has_followers(self, kind: Kind[Any]) -> bool:
        """Whether what follows the records of a kind is compared: metric histories, spans."""
        return not (
            self.left_is_legacy or self.right_is_legacy or kind.field(FOLLOWERS[kind.name].name) in self.unknown
        )

    def leave_out(self, name: str) -> bool:
        """Whether a difference does not count, for the key of the map that differs."""
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)


@dataclass(frozen=True)
class Compared:
    """What came of a pair.

    Args:
        pair: that was compared.
        kind: of the record.
        key: of the record.
        what: whether it is the same, on the right only (``added``), on the left only (``removed``), or ``changed``.
        differences: of the record itself.
        points: of a record that others follow and that is on both sides, how many metric points or spans are on the
            left, and how many of them on the right as well.
        parts: what came of the records that are parts of it.
    """

    pair: Pair
    kind: Kind[Any]
    key: str
    what: What | Literal["same"]
    differences: tuple[FieldDifference, ...] = ()
    points: tuple[int, int] = (0, 0)
    parts: tuple[Compared, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether it is the same with all its parts."""
        return self.what == "same" and all(part.is_same for part in self.parts)


def merge_join(left: Iterable[T], right: Iterable[T], order: Callable[[T], Any]) -> Iterator[tuple[T | None, T | None]]:
    """Two streams in one order: what is on both sides as a pair, what is on one side only beside None.

    Args:
        left: each key once.
        right: likewise; what is out of order or there twice counts as on this side only.
        order: gives the key.
    """
    waiting = iter(left)
    following = next(waiting, None)
    for item in right:
        key = order(item)
        while following is not None and order(following) < key:
            yield following, None
            following = next(waiting, None)
        if following is not None and order(following) == key:
            yield following, item
            following = next(waiting, None)
        else:
            yield None, item
    while following is not None:
        yield following, None
        following = next(waiting, None)


def with_followers(items: Iterable[Line | Skipped]) -> Iterator[Skipped | Item]:
    """Each run or trace together with the records that follow it, as lines; anything else as it comes."""
    leader: Any = None
    lines: list[FollowerLine] = []
    item: Any
    for item in items:
        if isinstance(item, FOLLOWING):
            lines.append(item.as_line())
            continue
        if leader is not None:
            yield Led(leader, tuple(lines))
            leader, lines = None, []
        if not isinstance(item, Skipped) and kind_of(item).name in FOLLOWERS:
            leader = item
        else:
            yield item
    if leader is not None:
        yield Led(leader, tuple(lines))


def compare(pair: Pair, rules: ComparisonRules, owner: str = "") -> Compared:
    """Compare the two sides of a pair, of which there is at least one.

    Args:
        pair: the two sides.
        rules: what can't be compared.
        owner: the key of the record that this one is a part of; empty: it is one by itself.
    """
    record = pair.record
    kind = kind_of(record)
    key = f"{owner} {kind.key(record)}" if owner else kind.key(record)
    parts = tuple(_parts(kind, key, pair, rules)) if kind.parts else ()
    if pair.left is None or pair.right is None:
        return Compared(pair, kind, key, "added" if pair.left is None else "removed", parts=parts)
    expected = pair.expected if pair.expected is not None else pair.left
    differences = _fields(kind, expected, pair.right, rules)
    points = (0, 0)
    if isinstance(pair.left, Led) and isinstance(pair.right, Led) and rules.has_followers(kind):
        found, points = followers.compared(kind)(_led(expected, pair.left), pair.right, is_same=not differences)
        differences += found
    return Compared(pair, kind, key, "changed" if differences else "same", tuple(differences), points, parts)


def _led(expected: Item, left: AnyLed) -> AnyLed:
    """What is expected to follow a record: if nothing is said of that, what does on the left."""
    return expected if isinstance(expected, Led) else left


def _parts(kind: Kind[Any], key: str, pair: Pair, rules: ComparisonRules) -> Iterator[Compared]:
    for field, part in kind.parts.items():
        left, right, expected = (
            {part.order(one): one for one in dict(bare(item))[field]} if item is not None else {}
            for item in (pair.left, pair.right, pair.expected)
        )
        for order in sorted({*left, *right}):
            yield compare(Pair(left.get(order), right.get(order), expected.get(order)), rules, key)


def _fields(kind: Kind[Any], left: Item, right: Item, rules: ComparisonRules) -> list[FieldDifference]:
    before, after = bare(left), bare(right)
    if before.to_line() == after.to_line():
        return []
    old, new = dict(before), dict(after)
    if isinstance(before, Run) and isinstance(after, Run) and _has_values_only(before, after, rules):
        old["metrics"], new["metrics"] = ({k: m.value for k, m in one["metrics"].items()} for one in (old, new))
    return [
        _field(kind, name, (was, now), is_more=equality.is_more(name, old, new))
        for name, was, now in equality.differences(old, new, rules.fields(kind, before, after))
        if not rules.leave_out(kind.field(name))
    ]


def _field(kind: Kind[Any], name: str, values: tuple[Any, Any], *, is_more: bool) -> FieldDifference:
    """A field that differs; of what nobody may see, only that."""
    if name in kind.secrets:
        return FieldDifference(name, *_HIDDEN, is_more=is_more, words=_HIDDEN)
    return FieldDifference(name, *values, is_more=is_more)


def _has_values_only(left: Run, right: Run, rules: ComparisonRules) -> bool:
    """Whether an older script wrote one of two runs: it kept no step and no time of a metric."""
    metrics = (*left.metrics.values(), *right.metrics.values())
    return rules.left_is_legacy or rules.right_is_legacy or any(metric.step is None for metric in metrics)


class Change(BaseModel):
    """A record that is on one side only, or a field of one that is on both.

    Args:
        kind: ``experiment``, ``run``, ``logged model``, ``registered model`` or ``model version``.
        id: of the record; of a model its name.
        name: what people call it; empty where that is the id.
        what: ``added``, ``removed`` or ``changed``.
        field: which one changed, such as ``metrics[loss]`` or ``history of loss``.
        before: what it was, as JSON has it: a number, a text, None, a list or a map; of a history, how many points.
        after: what it is, likewise.
        absent: ``before`` or ``after``: where the key of a map is not there at all; empty: it is on both sides.
        is_cut: whether one of the two is so long that it is the beginning of its JSON instead.
        words: both for people, shortened.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    name: str = ""
    what: What
    field: str = ""
    before: Any = None
    after: Any = None
    absent: Literal["before", "after", ""] = ""
    is_cut: bool = False
    words: tuple[str, str] = Field(default=("", ""), exclude=True)


class Tally(BaseModel):
    """How many records of a kind; `unread` are those of which nobody knows whether they were added or removed."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    unread: int = 0


class Changes(BaseModel):
    """What came of a comparison.

    Args:
        records: how many of each kind.
        changes: the first `MOST_NAMED`. The versions of a model that is on one side only are just counted.
        unnamed: how many more there are.
    """

    model_config = ConfigDict(frozen=True)

    records: dict[str, Tally]
    changes: tuple[Change, ...] = ()
    unnamed: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether nothing changed."""
        return not any(tally.added or tally.removed or tally.changed for tally in self.records.values())


Gaps = Callable[[], tuple[Set[tuple[str, str]], Set[tuple[str, str]]]]
"""What could not be read or saved on the left and on the right, each by its kind in one word and its key."""


def _no_gaps() -> tuple[Set[tuple[str, str]], Set[tuple[str, str]]]:
    return frozenset(), frozenset()


def changes(before: Iterable[Item], after: Iterable[Item], rules: ComparisonRules, gaps: Gaps = _no_gaps) -> Changes:
    """What changed from one state to another.

    Args:
        before: in a snapshot's order, kind after kind.
        after: likewise.
        rules: what can't be compared; the left side is the one before.
        gaps: asked once both sides were read. What one side has and the other one could not read is no change; that
            is looked up for the changes that are named.
    """
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    named: list[Change] = []
    lone: dict[tuple[str, str, str], Compared] = {}
    unnamed = 0
    for left, right in merge_join(before, after, place):
        found = compare(Pair(left, right), rules)
        _count(found, tallies)
        for change in _named(found):
            if len(named) < MOST_NAMED:
                named.append(change)
            else:
                unnamed += 1
        if found.what in {"added", "removed"} and len(lone) < MOST_NAMED:
            lone[found.kind.one, found.key, found.what] = replace(found, pair=_bare(found.pair))
    unread = _unread(lone, *gaps())
    for found in unread.values():
        _count(found, tallies, -1)
    for found in {key[:2]: found for key, found in unread.items()}.values():
        _count(found, tallies, 1, "unread")
    records = {kind.one: Tally(**tallies[kind.one]) for kind in WITH_PARTS if kind.one in tallies}
    kept = tuple(change for change in named if (change.kind, change.id, change.what) not in unread)
    beyond = len(unread) - (len(named) - len(kept))
    return Changes(records=records, changes=kept, unnamed=unnamed - beyond)


def _bare(pair: Pair) -> Pair:
    """Without what follows a record, which may be long."""
    return Pair(pair.record, None) if pair.left is not None else Pair(None, pair.record)


def _unread(
    lone: Mapping[tuple[str, str, str], Compared], before: Set[tuple[str, str]], after: Set[tuple[str, str]]
) -> dict[tuple[str, str, str], Compared]:
    """Records on one side only that the other one may have, too: it could not read or save them, or all of them.

    Where just its time was lost, a record stands at two places, and so looks removed and added.
    """
    found = {}
    for (kind, key, what), one in lone.items():
        is_there = (kind, key, "added" if what == "removed" else "removed") in lone
        gaps = before | after if is_there else after if what == "removed" else before
        if (kind, key) in gaps or (EXPERIMENTS.one, _owner(one)) in gaps:
            found[kind, key, what] = one
    return found


def _owner(found: Compared) -> str:
    return found.kind.experiment(found.pair.record) if found.kind.experiment is not None else ""


def _count(found: Compared, tallies: dict[str, Counter[str]], number: int = 1, what: str = "") -> None:
    tallies[found.kind.one][what or found.what] += number
    for part in found.parts:
        _count(part, tallies, number, what)


def _named(found: Compared) -> Iterator[Change]:
    kind, pair = found.kind, found.pair
    title = kind.title(bare(pair.right)) if pair.right is not None else kind.title(pair.record)
    if pair.left is None or pair.right is None:
        yield Change(kind=kind.one, id=found.key, name=title, what="added" if pair.left is None else "removed")
        return
    for one in found.differences:
        if not one.is_single:
            yield _changed(one, kind.one, found.key, title)
    for part in found.parts:
        yield from _named(part)


def _changed(one: FieldDifference, kind: str, key: str, title: str) -> Change:
    (before, first), (after, second) = (equality.plain(value, _LONGEST) for value in (one.before, one.after))
    return Change(
        kind=kind,
        id=key,
        name=title,
        what="changed",
        field=one.field,
        before=before,
        after=after,
        absent="before" if one.before is equality.NOTHING else "after" if one.after is equality.NOTHING else "",
        is_cut=first or second,
        words=(one.left, one.right),
    )
