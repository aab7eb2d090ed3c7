"""The proof of a restore: the snapshot's records against what the target gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.schema import FOLLOWERS, WITH_PARTS, Kind, Skipped
from mlmeta.snapshot.compare import MOST_NAMED, Compared, ComparisonRules, Pair, compare
from mlmeta.snapshot.followers import FieldDifference
from mlmeta.snapshot.reader import Led
from mlmeta.stores.target import Key, Report


class Difference(BaseModel):
    """Something that the target gives back differently, or not at all.

    Args:
        kind: ``experiment``, ``run``, ``metric history``, ``logged model``, ``registered model`` or
            ``model version``.
        id: in the snapshot.
        field: which field; empty: the whole record is missing, or there twice.
        expected: what was to be there, shortened.
        found: what the target says, shortened.
        metric: of a metric's history or of a span, the field that a refusal names. Not part of the JSON output.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    field: str = ""
    expected: str = ""
    found: str = ""
    metric: str = Field(default="", exclude=True)

    def __str__(self) -> str:
        """In one line."""
        if not self.field:
            return f"{self.kind} {self.id}: {self.found}"
        return f"{self.kind} {self.id}: {self.field} is {self.found} instead of {self.expected}"


class Comparison(BaseModel):
    """What came of it.

    Args:
        compared: records of the snapshot by kind.
        matching: those of them that the target gives back equal.
        differences: the first `MOST_NAMED`; not those that a refusal has told already.
        total: of all differences.
        changed: what people did in the target since the snapshot was made: the first `MOST_NAMED`.
        total_changed: of all that.
        unkept: fields that were not compared, for the route can't keep them.
    """

    model_config = ConfigDict(frozen=True)

    compared: dict[str, int]
    matching: dict[str, int]
    differences: tuple[Difference, ...] = ()
    total: int = 0
    changed: tuple[Difference, ...] = ()
    total_changed: int = 0
    unkept: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether all came back that was written."""
        return self.total == 0


def records_of(pair: Pair | Skipped) -> int:
    """How many records of a snapshot's files a pair is about: a run comes with the lines of its histories."""
    if isinstance(pair, Skipped):
        return 1
    return 0 if pair.left is None else 1 + (len(pair.left.lines) if isinstance(pair.left, Led) else 0)


def prove(pairs: Iterable[Pair | Skipped], unkept: tuple[str, ...], report: Report | None = None) -> Comparison:
    """Check what a target gives back against the snapshot.

    A difference is what the restore wrote and the target does not give back. What was there before the restore, and
    what the target has more than the snapshot, was changed since by somebody.

    Args:
        pairs: what was to be restored, beside what the target has; see `Target.read_back`.
        unkept: fields to leave out, such as ``runs.artifact_uri``.
        report: what the restore did; None: it wrote everything, and nobody else writes there.
    """
    proof = _Proof(unkept, report)
    for pair in pairs:
        if isinstance(pair, Pair):
            proof.take(pair)
        elif pair.is_of_records:
            proof.differ(Difference(kind=pair.kind, id=pair.id, found=f"not readable: {pair.reason}"))
    return proof.result()


class Told:
    """What a restore has told of records already.

    Args:
        report: what it did.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._refused: dict[Key, set[str]] = {}
        for refusal in report.refused:
            for key in refusal.concerned:
                self._refused.setdefault(key, set()).add(refusal.field)

    def explains(self, difference: Difference) -> bool:
        """Whether the target refused the record or what differs in it."""
        told = self._refused.get((difference.kind, difference.id), set())
        return not told.isdisjoint({"", difference.field, difference.metric})

    def is_older(self, difference: Difference) -> bool:
        """Whether it is about something that this restore did not write."""
        key = (difference.kind, difference.id)
        return key in self._report.existing and (*key, difference.field) not in self._report.completed


_TIMES_OF_CHANGE = {"last_update_time", "last_updated_timestamp", "deleted_time"}
_KINDS = {kind.counted_as: kind.one for kind in WITH_PARTS}


class _Proof:
    def __init__(self, unkept: tuple[str, ...], report: Report | None) -> None:
        self._told = Told(report) if report is not None else None
        self._unkept = unkept
        self._blank: dict[str, dict[str, str]] = {}
        self._rules = ComparisonRules(frozenset(unkept))
        self._last = ("", "")
        self._compared: Counter[str] = Counter()
        self._matching: Counter[str] = Counter()
        self._differences: list[Difference] = []
        self._total = 0
        self._changed: list[Difference] = []
        self._total_changed = 0

    def result(self) -> Comparison:
        return Comparison(
            compared=dict(self._compared),
            matching=dict(self._matching),
            differences=tuple(self._differences),
            total=self._total,
            changed=tuple(self._changed),
            total_changed=self._total_changed,
            unkept=tuple(filter(self._concerns, self._unkept)),
        )

    def _concerns(self, field: str) -> bool:
        """Whether there was a record that a field could be of, and one of them had something there."""
        kind = _KINDS.get(field.partition(".")[0])
        return kind is None or (bool(self._compared[kind]) and field not in self._blank[kind].values())

    def take(self, pair: Pair) -> None:
        """The next record. What only the target has does not count, unless it is there for the second time."""
        found = compare(pair, self._rules)
        key = (found.kind.one, found.kind.found_as(pair.record))
        if found.what != "added":
            self._check(found, key[1])
        elif key == self._last:
            self.differ(Difference(kind=key[0], id=key[1], found="it is there twice"))
        self._last = key

    def _check(self, found: Compared, identifier: str) -> bool:
        """Whether the target has a record of the snapshot, and as it should be; what differs is noted."""
        kind = found.kind.one
        self._compared[kind] += 1
        if kind not in self._blank:
            self._blank[kind] = _fields_among(self._unkept, found.kind)
        blank = self._blank[kind]
        for name in [name for name in blank if getattr(found.pair.record, name)]:
            del blank[name]
        if found.what == "removed":
            self._matching[kind] += 0
            self.differ(Difference(kind=kind, id=identifier, found="it is not there"))
            return False
        if found.points[0]:
            unit = FOLLOWERS[found.kind.name].unit.replace("_", " ").removesuffix("s")
            self._compared[unit] += found.points[0]
            self._matching[unit] += found.points[1]
        parts = [self._check(part, part.key) for part in found.parts if part.what != "added"]
        told = [one for one in found.differences if not _is_new(one)]
        differences = [one for one in told if not self._is_just_later(kind, identifier, one.field)]
        for one in differences:
            self.differ(_difference(kind, identifier, one), is_more=one.is_more)
        is_same = all(parts) and not differences
        self._matching[kind] += is_same
        return is_same

    def _is_just_later(self, kind: str, identifier: str, field: str) -> bool:
        """Whether it is the time at which something changed in what was there before: what that was is told by itself.

        A deletion that is taken back leaves nothing else.
        """
        difference = Difference(kind=kind, id=identifier, field=field)
        return field in _TIMES_OF_CHANGE and self._told is not None and self._told.is_older(difference)

    def differ(self, difference: Difference, *, is_more: bool = False) -> None:
        """Note a difference; `is_more`: all of the snapshot is there, and something else besides."""
        if self._told is not None and self._told.explains(difference):
            return
        if self._told is not None and (is_more or self._told.is_older(difference)):
            self._total_changed += 1
            noted = self._changed
        else:
            self._total += 1
            noted = self._differences
        if len(noted) < MOST_NAMED:
            noted.append(difference)


def _fields_among(fields: tuple[str, ...], kind: Kind[Any]) -> dict[str, str]:
    """Those fields of a kind that are named, by their names in a record."""
    return {name: kind.field(name) for name in kind.record.model_fields if kind.field(name) in fields}


def _is_new(one: FieldDifference) -> bool:
    """Whether it is the history of a metric that only the target has: the metric is a difference by itself."""
    return one.points is not None and one.points[0] == 0


def _difference(kind: str, identifier: str, one: FieldDifference) -> Difference:
    if one.points is None:
        told = {"expected": one.left, "found": one.right}
        return Difference(kind=kind, id=identifier, field=one.field, metric=one.metric, **told)
    expected, found, common = one.points
    others = f" and {found - common} others" if found > common else ""
    told = {"expected": f"{expected} points", "found": f"{common} of them{others}"}
    return Difference(kind=kind, id=identifier, field=one.field, metric=one.metric, **told)
