"""What a merge makes of a record that is on both sides: the target's, with all that it lacks of the snapshot's.

What both have and is not the same stays as the target has it, and is named. Only what goes with the state of a record,
such as the status and the end of a run, comes from the side where it lived on for longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mlmeta.schema import LatestMetric, MetricHistory, Record, canonical, experiment_order, point_order, to_records
from mlmeta.snapshot.equality import metrics_of
from mlmeta.snapshot.reader import RunLines
from mlmeta.stores.sql.changes import INCIDENTAL, TargetChange
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.stored import zip_clamped
from mlmeta.stores.sql.tables import table_of

R = TypeVar("R", bound=Record)

_NOTHING = (None, "")


@dataclass(frozen=True)
class Joined(Generic[R]):
    """What came of two states of a record.

    Args:
        record: the target's, with what is added.
        written: the fields that get something, as a comparison names them.
        kept: what both have and is not the same, and stays.
        replaced: what the target had of the fields that come from the snapshot's, which lived on for longer.
    """

    record: R
    written: tuple[str, ...] = ()
    kept: tuple[TargetChange, ...] = ()
    replaced: tuple[TargetChange, ...] = ()


def join(stored: R, found: R, differences: Sequence[TargetChange], by_hand: Set[str] = frozenset()) -> Joined[R]:
    """Join two states of a record, but for what follows it, and for its parts.

    Args:
        stored: the stored form of the snapshot's.
        found: the target's.
        differences: all of them, as `changes` tells.
        by_hand: fields that are left to the caller.
    """
    joining = _Joining(table_of(stored), stored, found)
    untouched = INCIDENTAL | joining.table.own | by_hand
    for change in differences:
        if not change.is_more and change.name not in untouched:
            joining.take(change)
    return joining.result()


class _Joining(Generic[R]):
    def __init__(self, table: KindTable[R], stored: R, found: R) -> None:
        self.table = table
        self._stored, self._found = dict(stored), dict(found)
        self._record = found
        self._whole = {column.field for column in table.fields if column.is_json}
        rank = table.ending.rank if table.ending is not None else None
        self._order = (rank(stored) > rank(found)) - (rank(stored) < rank(found)) if rank is not None else 0
        self._update: dict[str, Any] = {}
        self._written: list[str] = []
        self._kept: list[TargetChange] = []
        self._replaced: list[TargetChange] = []

    def take(self, change: TargetChange) -> None:
        """Decide about a field that differs, or about a key of a map."""
        if change.name not in self._stored:
            return  # a history, or something else that follows the record
        if change.name in self._whole:
            self._kept.append(change)
        elif change.key is not None:
            self._take_key(change, change.key)
        elif isinstance(self._stored[change.name], tuple):
            theirs = self._found[change.name]
            if both := {*self._stored[change.name]} - {*theirs}:
                self._write(change, tuple(sorted({*theirs, *both}, key=experiment_order)))  # there are no others
        elif self._stored[change.name] in _NOTHING:
            return
        elif self._found[change.name] in _NOTHING:
            self._write(change, self._stored[change.name])
        else:
            self._choose(change, self._stored[change.name], _fields(self.table))

    def _take_key(self, change: TargetChange, key: str) -> None:
        before = self._update.get(change.name, self._found[change.name])
        with_it = {**before, key: self._stored[change.name][key]}
        if key not in before:
            self._write(change, with_it)
        else:
            self._choose(change, with_it, _maps(self.table))

    def _choose(self, change: TargetChange, value: Any, later: Sequence[str]) -> None:
        if change.name not in later or self._order == 0:
            self._kept.append(change)
        elif self._order > 0:
            self._replaced.append(change)
            self._write(change, value)

    def _write(self, change: TargetChange, value: Any) -> None:
        self._update[change.name] = value
        self._written.append(change.field)

    def result(self) -> Joined[R]:
        record = self._record.model_copy(update=self._update) if self._update else self._record
        return Joined(record, tuple(self._written), tuple(self._kept), tuple(self._replaced))


def _fields(table: KindTable[Any]) -> tuple[str, ...]:
    return table.ending.fields if table.ending is not None else ()


def _maps(table: KindTable[Any]) -> tuple[str, ...]:
    return table.ending.maps if table.ending is not None else ()


@dataclass(frozen=True)
class MissingPoints:
    """The points of a run that the target lacks.

    Args:
        histories: these, by key.
        latest: the latest points of metrics that the target has no later one of.
    """

    histories: tuple[MetricHistory, ...]
    latest: dict[str, LatestMetric]

    @property
    def size(self) -> int:
        """The number of points."""
        return sum(history.size for history in self.histories)


def missing_points(stored: RunLines, found: RunLines, without: Set[str]) -> MissingPoints:
    """What the target lacks of the points of a run: a history is a set of points.

    Args:
        stored: of the snapshot, latest points in the form in which MLflow stores them.
        found: of the target.
        without: metrics that are left alone.
    """
    histories: list[MetricHistory] = []
    latest: dict[str, LatestMetric] = {}
    theirs = metrics_of(found)
    for key, own in metrics_of(stored).items():
        other = theirs.get(key)
        if key in without or (other is not None and own.is_plainly(other)):
            continue
        points = dict(_points(own.lines, own.latest))
        last = max(points.values(), key=point_order) if own.latest is None else _point(own.latest)
        there = _point(other.latest) if other is not None and other.latest is not None else None
        if there is None or point_order(there) < point_order(last):
            latest[key] = LatestMetric(step=last[0], timestamp=last[1], value=last[2])
        for known, _ in _points(other.lines, other.latest) if other is not None else ():
            points.pop(known, None)
        histories += to_records(stored.record.run_id, key, canonical(points.values()))
    return MissingPoints(tuple(histories), latest)


_Point = tuple[int, int, float]


def _points(lines: Sequence[Any], latest: LatestMetric | None) -> Iterator[tuple[tuple[int, int, float | str], _Point]]:
    """The points of a history as MLflow keeps them, each behind what makes it the same as another."""
    if not lines and latest is not None:
        yield _same(_point(latest)), _point(latest)
    for line in lines:
        for point in zip_clamped(line.record()):
            yield _same(point), point


def _same(point: _Point) -> tuple[int, int, float | str]:
    return point[0], point[1], "nan" if math.isnan(point[2]) else point[2]


def _point(latest: LatestMetric) -> _Point:
    return latest.step or 0, latest.timestamp or 0, latest.value
