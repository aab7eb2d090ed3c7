"""Compares what follows records: the points of metric histories, and spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from mlmeta.schema import RUNS, TRACES, Kind, Span, SpanLine
from mlmeta.schema.words import amount
from mlmeta.snapshot.equality import NOTHING, MetricPoints, metrics_of, parts, same, short
from mlmeta.snapshot.reader import RunLines, TraceLines
from mlmeta.snapshot.records import taken_apart

_NO_POINTS = MetricPoints((), None)
_NAME = 60
"""Characters of a span's name in the name of a field."""


@dataclass(frozen=True)
class FieldDifference:
    """A field that is not the same on both sides.

    Args:
        field: such as ``status``, ``metrics[loss]`` or ``history of loss``.
        before: what it was; `NOTHING`: the key of a map that was not there.
        after: what it is, likewise.
        is_more: whether the right side has all that is on the left, and more or later things besides.
        points: of a history, how many are on the left, on the right, and on both sides; None: it is another field.
        metric: of a history, the field of the metric, such as ``metrics[loss]``.
        is_single: whether neither side has more than the latest point, which the record tells already.
        words: what was and what is, where the values themselves don't say it to people.
    """

    field: str
    before: Any
    after: Any
    is_more: bool
    points: tuple[int, int, int] | None = None
    metric: str = ""
    is_single: bool = False
    words: tuple[str, str] | None = None

    @property
    def left(self) -> str:
        """What it was, for people, shortened."""
        return self.words[0] if self.words else short(self.before)

    @property
    def right(self) -> str:
        """What it is, likewise."""
        return self.words[1] if self.words else short(self.after)


Found = tuple[list[FieldDifference], tuple[int, int]]
"""What differs, and how many points or spans there are on the left, and on both sides."""


def compared(kind: Kind[Any]) -> Callable[..., Found]:
    """How what follows the records of a kind is compared: ``(left, right, is_same=…)``, whether the records are."""
    return _COMPARED[kind.name]


def _histories(left: RunLines, right: RunLines, *, is_same: bool) -> Found:
    """The metrics of which a run has other points, and how many points there are on the left, and on both sides."""
    if is_same and [line.line for line in left.lines] == [line.line for line in right.lines]:
        return [], (_size(left), _size(left))
    found, total, matching = [], 0, 0
    old, new = metrics_of(left), metrics_of(right)
    for key in sorted({*old, *new}):
        one, other = old.get(key, _NO_POINTS), new.get(key, _NO_POINTS)
        if one.is_plainly(other):
            total, matching = total + one.size, matching + one.size
            continue
        points, there = one.points(), other.points()
        total, matching = total + len(points), matching + len(points & there)
        if points != there:
            new_ones, gone = len(there - points), len(points - there)
            found.append(
                FieldDifference(
                    f"history of {key}",
                    {"points": len(points)},
                    {"points": len(there), "new": new_ones, "gone": gone},
                    words=(
                        amount(len(points), "points"),
                        f"{amount(len(there), 'points')}: {new_ones:,} new, {gone:,} gone",
                    ),
                    is_more=points <= there,
                    points=(len(points), len(there), len(points & there)),
                    metric=f"metrics[{key}]",
                    is_single=not (one.lines or other.lines),
                )
            )
    return found, (total, matching)


def _size(item: RunLines) -> int:
    """The number of points of a run: a history that is its latest point has no line."""
    keys = {line.key for line in item.lines}
    return item.size + sum(metric.step is not None and key not in keys for key, metric in item.record.metrics.items())


def _spans(left: TraceLines, right: TraceLines, *, is_same: bool) -> Found:
    """The spans of a trace that differ, and how many there are on the left, and on both sides."""
    if is_same and left.lines == right.lines:
        return [], (len(left.lines), len(left.lines))
    old, new = ({line.span_id: line for line in item.lines} for item in (left, right))
    if not old or not new:
        return [*_all_spans(len(old), len(new))], (len(old), 0)
    found, matching = [], 0
    for key in dict.fromkeys((*old, *new)):
        differs = [*_span(key, old.get(key), new.get(key))]
        matching += not differs
        found += differs
    return found, (len(old), matching)


def _all_spans(old: int, new: int) -> Iterator[FieldDifference]:
    """None of the spans of a trace are on one of the sides."""
    if old or new:
        words = (amount(old, "spans"), amount(new, "spans"))
        yield FieldDifference("spans", {"spans": old}, {"spans": new}, words=words, is_more=not old)


def _span(key: str, old: SpanLine | None, new: SpanLine | None) -> Iterator[FieldDifference]:
    """What differs in a span; nothing where its JSON says the same in other letters."""
    if old is not None and new is not None and old.line == new.line:
        return
    before, after = (cast("Span", taken_apart(line)) if line is not None else None for line in (old, new))
    one = before or after
    field, refused = f"spans[{key} {short(_name(one))[:_NAME]}]", f"spans[{key}]"
    if before is None or after is None:
        was, now = ({"bytes": len(line.line)} if line is not None else NOTHING for line in (old, new))
        words = (_size_of(old), _size_of(new))
        yield FieldDifference(field, was, now, words=words, is_more=before is None, metric=refused)
        return
    for name, left, right in _parts(_fields(before), _fields(after)):
        yield FieldDifference(f"{field}.{name}", left, right, is_more=False, metric=refused)


def _size_of(line: SpanLine | None) -> str:
    return f"{len(line.line):,} bytes" if line is not None else "nothing"


def _parts(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What differs of a span: attributes one by one, anything else as a whole."""
    for name in sorted({*before, *after}):
        left, right = before.get(name, NOTHING), after.get(name, NOTHING)
        if not same(left, right):
            yield from parts(name, left, right)


def _name(span: Span | None) -> Any:
    if span is None:
        return None
    return span.content.get("name") if isinstance(span.content, dict) else span.name


def _fields(span: Span) -> dict[str, Any]:
    """What there is to compare: of an archived span, what is left of it."""
    if isinstance(span.content, dict):
        return span.content
    return {name: value for name, value in span if value is not None}


_COMPARED: dict[str, Callable[..., Found]] = {RUNS.name: _histories, TRACES.name: _spans}
