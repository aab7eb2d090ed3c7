"""How a record of the target differs from what a restore would leave there: changed since, or another record.

What MLflow itself may have made of the snapshot's record by now (tags, a status, a stage, further points) was changed
since. What MLflow never changes (a param, a start time, a point that was logged) shows another record under the id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlmeta.schema import Record
from mlmeta.schema.words import amount
from mlmeta.snapshot.compare import Compared, ComparisonRules, Item, Pair, compare
from mlmeta.snapshot.followers import FieldDifference
from mlmeta.snapshot.reader import Led, bare
from mlmeta.stores.sql.stored import as_far_as_known
from mlmeta.stores.sql.tables import table_of

INCIDENTAL = {"lifecycle_stage", "deleted_time", "last_update_time", "last_updated_timestamp"}
"""Fields that change with a deletion, or with anything that happens to a record."""

_HISTORY = "history of "
_NAMED = 20


@dataclass(frozen=True)
class TargetChange:
    """A field that differs.

    Args:
        field: such as ``params[lr]``.
        expected: what a restore would leave there, shortened.
        found: what the target has, shortened.
        is_other: whether it shows another record; if not, it was changed since.
        is_more: whether the target has all that is expected, and more or later things besides.
    """

    field: str
    expected: str
    found: str
    is_other: bool
    is_more: bool = False

    @property
    def name(self) -> str:
        """The field without the key of a map, such as ``params``."""
        return self.field.partition("[")[0]

    @property
    def key(self) -> str | None:
        """The key of a map; None: the field is not a map."""
        _, bracket, key = self.field.partition("[")
        return key[:-1] if bracket else None


def is_same(stored: Item, found: Item) -> bool:
    """Whether the target has what a restore would leave there: nearly always to the byte, which is quick to see.

    Args:
        stored: the stored form of the snapshot's record; a run with the snapshot's histories.
        found: the target's.
    """
    return _lines(stored) == _lines(found) or _compared(stored, found).is_same


def _lines(item: Item) -> list[bytes]:
    return [bare(item).to_line(), *(line.line for line in (item.lines if isinstance(item, Led) else ()))]


def _compared(stored: Item, found: Item) -> Compared:
    """What the target has beside what a restore would leave there; what the snapshot can't know is as it should be."""
    return compare(Pair(stored, found, as_far_as_known(stored, found)), ComparisonRules())


def changes(stored: Item, found: Item) -> list[TargetChange]:
    """The fields that differ; see `is_same`. What the snapshot does not know of those that never change is no change.

    Parts of the record, such as versions, are not looked at.
    """
    record = bare(stored)
    return [change for one in _compared(stored, found).differences if (change := _change(one, record)) is not None]


def _change(one: FieldDifference, stored: Record) -> TargetChange | None:
    if one.points is not None:
        points, _, common = one.points
        told = amount(points, "points"), f"{common:,}"
        return TargetChange(one.field, *told, not one.is_more, one.is_more) if points else None
    name = one.field.partition("[")[0]
    if name not in table_of(stored).lasting:
        return TargetChange(one.field, one.left, one.right, is_other=False, is_more=one.is_more)
    if dict(stored).get(name, one) in (None, 0):
        return None
    return TargetChange(one.field, one.left, one.right, not one.is_more, one.is_more)


def others(found: Sequence[TargetChange]) -> str:
    """What shows another record, in words; empty: nothing does."""
    named = [change for change in found if change.is_other]
    if len(named) == 1 and named[0].field.startswith(_HISTORY):
        return f"{named[0].field} has {named[0].found} of {named[0].expected}"
    if len(named) == 1:
        return f"{named[0].field} is {named[0].found} instead of {named[0].expected}"
    more = f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
    return ", ".join(change.field for change in named[:_NAMED]) + more


def is_deleted(stored: Record, found: Record) -> bool:
    """Whether the snapshot has something active that the target has deleted."""
    return (getattr(stored, "lifecycle_stage", None), getattr(found, "lifecycle_stage", None)) == ("active", "deleted")
