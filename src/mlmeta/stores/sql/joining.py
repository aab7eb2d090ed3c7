"""What a merge makes of a record that is on both sides: the target's, with all that it lacks of the snapshot's.

What both have and is not the same stays as the target has it, and is named. Only what goes with the state of a record,
such as the status and the end of a run, comes from the side where it lived on for longer. An experiment is known by its
name, and may get another number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from mlmeta.schema import (
    EXPERIMENTS,
    Experiment,
    LatestMetric,
    MetricHistory,
    Record,
    canonical,
    experiment_order,
    point_order,
    to_records,
)
from mlmeta.snapshot.equality import metrics_of
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.changes import INCIDENTAL, TargetChange
from mlmeta.stores.sql.existing import DEFAULT_ID, ExistingRows, experiment_number
from mlmeta.stores.sql.limits import Limits, Names
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


def same_experiment(found: Experiment, stored: Experiment) -> bool:
    """Whether the experiment with this id is the snapshot's, which may have got another name or workspace since."""
    same = (found.workspace, found.name) == (stored.workspace, stored.name)
    return same or found.creation_time == stored.creation_time is not None


def renumbered(part: Selected, existing: ExistingRows, limits: Limits, suffix: str) -> dict[str, str]:
    """The ids of the snapshot's experiments that have another one in the target, or get one, each with that.

    The same after a merge as before it: what got a number then is found by its name.

    Args:
        part: of the snapshot.
        existing: what the target has.
        limits: of its columns.
        suffix: put behind a name that is taken.
    """
    given = _Numbers(list(part.records(EXPERIMENTS)), existing, limits, suffix).given()
    return {own: there for own, there in given.items() if own != there}


class _Numbers:
    def __init__(self, wanted: Sequence[Experiment], existing: ExistingRows, limits: Limits, suffix: str) -> None:
        self._wanted = wanted
        self._existing = existing
        self._suffix = suffix
        self._largest = limits.column("experiments", "experiment_id").largest
        self._collation = limits.column("experiments", "name").collation
        self._names: dict[str | None, Names[int]] = {}
        for number, (name, workspace) in existing.experiments.items():
            self._names.setdefault(workspace, Names(self._collation))[name] = number
        self._default_is_free = existing.default_is_untouched()

    def given(self) -> dict[str, str]:
        """The number of each experiment in the target. Those that have theirs there go first."""
        own = {one.experiment_id: self._own(one) for one in self._wanted}
        there = {one.experiment_id for one in self._wanted if self._has(one)}
        taken = {number for one in there if (number := own[one]) is not None}
        free = self._free({*own.values()})
        found = {}
        for one in self._wanted:
            number = own[one.experiment_id]
            if one.experiment_id not in there:
                number = self._named(one, taken, number)
                number = next(free) if number is None else number
                taken.add(number)
            found[one.experiment_id] = str(number)
        return found

    def _own(self, one: Experiment) -> int | None:
        """The number that an experiment has already, where the target can hold it."""
        number = experiment_number(one.experiment_id)
        return number if number is not None and number <= self._largest else None

    def _has(self, one: Experiment) -> bool:
        """Whether the target's experiment of the same number is the snapshot's, or makes way for it."""
        number = self._own(one)
        there = self._existing.experiments.get(number) if number is not None else None
        if number is None or there is None:
            return False
        if there == (one.name, one.workspace):
            return True
        if number == DEFAULT_ID and self._default_is_free:
            return self._number_of(one, one.name) in (None, DEFAULT_ID)
        return self._is_same(number, one) and not self._is_same(self._number_of(one, one.name), one)

    def _is_same(self, number: int | None, one: Experiment) -> bool:
        """Whether the target's experiment of a number was made when the snapshot's was."""
        found = self._existing.experiment(number) if number is not None else None
        return found is not None and found.creation_time == one.creation_time is not None

    def _named(self, one: Experiment, taken: Set[int], own: int | None) -> int | None:
        """The number of the target's experiment of that name, else its own; None: it needs another."""
        is_free = own is not None and own not in self._existing.experiments and own not in taken
        for name in (one.name, one.name + self._suffix):
            number = self._number_of(one, name)
            if is_free and number == DEFAULT_ID and self._default_is_free:
                return own  # it takes the place of the one that MLflow made
            if number is not None and number not in taken:
                return number
        return own if is_free else None

    def _number_of(self, one: Experiment, name: str) -> int | None:
        names = self._names.get(one.workspace)
        return names.get(name) if names is not None else None

    def _free(self, wanted: Set[int | None]) -> Iterator[int]:
        """Numbers that nobody has or wants, from behind the target's."""
        first = max(self._existing.experiments, default=DEFAULT_ID) + 1
        return (number for number in count(first) if number not in wanted)
