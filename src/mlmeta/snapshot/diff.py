"""What changed between two states of a store: snapshots, or a snapshot and the store as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import InternalError
from mlmeta.schema import (
    Experiment,
    LoggedModel,
    Record,
    RegisteredModel,
)
from mlmeta.snapshot import equality
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.walking import side_by_side

MOST_NAMED = 1000

Item = Record | RunLines
"""An experiment, a run with its histories, a logged model or a registered model."""

_NO_POINTS = equality.MetricPoints((), None)
_KINDS = ("experiment", "run", "logged model", "registered model", "model version")

What = Literal["added", "removed", "changed"]

Named = tuple[str, str, str]
"""A record's kind, id and name."""

_ADDED: What = "added"
_REMOVED: What = "removed"
_CHANGED: What = "changed"


class Change(BaseModel):
    """A record that is on one side only, or a field of one that is on both.

    Args:
        kind: ``experiment``, ``run``, ``logged model``, ``registered model`` or ``model version``.
        id: of the record; of a model its name.
        name: what people call it; empty where that is the id.
        what: ``added``, ``removed`` or ``changed``.
        field: which one changed, such as ``metrics[loss]`` or ``history of loss``.
        before: what it was, shortened.
        after: what it is, shortened.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    name: str = ""
    what: What
    field: str = ""
    before: str = ""
    after: str = ""


class Tally(BaseModel):
    """How many records of a kind."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0


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


@dataclass(frozen=True)
class Blind:
    """What can't be compared.

    Args:
        fields: that one side does not know, such as ``runs.deleted_time``.
        before: whether the side before is of an older script: of its records, the fields that it has count.
        after: the same of the side after.
    """

    fields: Set[str] = frozenset()
    before: bool = False
    after: bool = False


def compared(before: Iterable[Item], after: Iterable[Item], *, blind: Blind) -> Changes:
    """Walk through two states side by side; neither is held in memory.

    Args:
        before: in a snapshot's order, kind after kind.
        after: likewise.
        blind: what can't be compared.
    """
    differ = _Differ(blind)
    for one, other in side_by_side(before, after, place):
        differ.take(one, other)
    records = {kind: differ.records[kind] for kind in _KINDS if kind in differ.records}
    return Changes(records=records, changes=tuple(differ.changes), unnamed=differ.unnamed)


def _named(item: Item) -> Named:
    if isinstance(item, Experiment):
        return "experiment", item.experiment_id, item.name
    if isinstance(item, RunLines):
        return "run", item.run.run_id, item.run.run_name or ""
    if isinstance(item, LoggedModel):
        return "logged model", item.model_id, item.name
    if isinstance(item, RegisteredModel):
        return "registered model", item.name, ""
    raise InternalError(f"a {type(item).__name__} has no name")


class _Differ:
    def __init__(self, blind: Blind) -> None:
        self._blind = blind
        self.records: dict[str, Tally] = {}
        self.changes: list[Change] = []
        self.unnamed = 0

    def take(self, before: Item | None, after: Item | None) -> None:
        if before is not None and after is not None:
            self._both(_named(after), self._within(before, after))
            if isinstance(before, RegisteredModel) and isinstance(after, RegisteredModel):
                self._versions(before, after)
        elif before is not None:
            self._one(before, _REMOVED)
        elif after is not None:
            self._one(after, _ADDED)

    def _one(self, item: Item, what: What) -> None:
        self._single(_named(item), what)
        if isinstance(item, RegisteredModel):
            self._count("model version", what, len(item.versions))

    def _single(self, named: Named, what: What) -> None:
        kind, identifier, name = named
        self._count(kind, what)
        self._name(Change(kind=kind, id=identifier, name=name, what=what))

    def _both(self, named: Named, changes: list[tuple[str, str, str]]) -> None:
        kind, identifier, name = named
        self._count(kind, _CHANGED if changes else "same")
        for field, old, new in changes:
            self._name(Change(kind=kind, id=identifier, name=name, what=_CHANGED, field=field, before=old, after=new))

    def _count(self, kind: str, what: What | Literal["same"], count: int = 1) -> None:
        if not count:
            return
        tally = self.records.setdefault(kind, Tally())
        setattr(tally, what, getattr(tally, what) + count)

    def _name(self, change: Change) -> None:
        if len(self.changes) < MOST_NAMED:
            self.changes.append(change)
        else:
            self.unnamed += 1

    def _within(self, before: Item, after: Item) -> list[tuple[str, str, str]]:
        if isinstance(before, RunLines) and isinstance(after, RunLines):
            return [*self._fields("run", before.run, after.run), *self._histories(before, after)]
        if isinstance(before, RegisteredModel) and isinstance(after, RegisteredModel):
            bare = (model.model_copy(update={"versions": ()}) for model in (before, after))
            return [*self._fields("registered model", *bare)]
        if isinstance(before, Record) and isinstance(after, Record):
            return [*self._fields(_named(after)[0], before, after)]
        raise InternalError(f"a {type(before).__name__} is in the place of a {type(after).__name__}")

    def _fields(self, kind: str, before: Record, after: Record) -> Iterator[tuple[str, str, str]]:
        if before.to_line() == after.to_line():
            return
        old, new = dict(before), dict(after)
        if kind == "run" and (self._blind.before or self._blind.after):  # the older script kept values only
            old["metrics"], new["metrics"] = ({k: m.value for k, m in run["metrics"].items()} for run in (old, new))
        fields = (field for field in self._known(before, after) if f"{kind}s.{field}" not in self._blind.fields)
        yield from equality.differences(old, new, fields)

    def _known(self, before: Record, after: Record) -> Iterable[str]:
        found = list(type(after).model_fields)
        for record, blind in ((before, self._blind.before), (after, self._blind.after)):
            if blind:
                found = [field for field in found if field in record.model_fields_set]
        return found

    def _histories(self, before: RunLines, after: RunLines) -> Iterator[tuple[str, str, str]]:
        """Of metrics with more than a latest point on either side."""
        if self._blind.before or self._blind.after:
            return
        old, new = equality.metrics_of(before), equality.metrics_of(after)
        for key in sorted({line.key for line in chain(before.lines, after.lines)}):
            one, other = old.get(key, _NO_POINTS), new.get(key, _NO_POINTS)
            if one.is_plainly(other):
                continue
            left, right = one.points(), other.points()
            if left != right:
                more = f"{len(right):,} points: {len(right - left):,} new, {len(left - right):,} gone"
                yield f"history of {key}", f"{len(left):,} points", more

    def _versions(self, before: RegisteredModel, after: RegisteredModel) -> None:
        old = {version.version: version for version in before.versions}
        new = {version.version: version for version in after.versions}
        for number in sorted({*old, *new}):
            named = ("model version", f"{after.name} version {number}", "")
            if number in old and number in new:
                self._both(named, [*self._fields(named[0], old[number], new[number])])
            else:
                self._single(named, _ADDED if number in new else _REMOVED)
