"""How a record of the target differs from what a restore would leave there: changed since, or another record.

What MLflow itself may have made of the snapshot's record by now (tags, a status, a stage, further points) was changed
since. What MLflow never changes (a param, a start time, a point that was logged) shows another record under the id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlmeta.schema import Record
from mlmeta.snapshot import equality
from mlmeta.snapshot.reader import RunLines
from mlmeta.stores.sql.stored import comparable
from mlmeta.stores.sql.tables import table_of

INCIDENTAL = {"lifecycle_stage", "deleted_time", "last_update_time", "last_updated_timestamp"}
"""Fields that change with a deletion, or with anything that happens to a record."""

_HISTORY = "history of "
_NAMED = 20


@dataclass(frozen=True)
class Change:
    """A field that differs.

    Args:
        field: such as ``params[lr]``.
        expected: what a restore would leave there, shortened.
        found: what the target has, shortened.
        is_other: whether it shows another record; if not, it was changed since.
    """

    field: str
    expected: str
    found: str
    is_other: bool


def changes(stored: Record, found: Record) -> list[Change]:
    """The fields that differ. What the snapshot does not know of those that never change says nothing.

    Args:
        stored: the stored form of the snapshot's record.
        found: the target's record.
    """
    wanted, actual = dict(comparable(stored, stored)), dict(comparable(found, stored))
    never = table_of(stored).lasting
    differences = []
    for field, expected, there in equality.differences(wanted, actual, wanted):
        name = field.partition("[")[0]
        if name not in never:
            differences.append(Change(field, expected, there, is_other=False))
        elif wanted[name] not in (None, 0):
            is_other = not equality.is_more(field, wanted, actual)
            differences.append(Change(field, expected, there, is_other))
    return differences


def history_changes(item: RunLines, theirs: RunLines) -> Iterator[Change]:
    """The metrics of which a run of the target has other points."""
    found = equality.metrics_of(theirs)
    for key, metric in equality.metrics_of(item).items():
        there = found.get(key)
        if there is not None and metric.is_plainly(there):
            continue
        points, others = metric.points(), there.points() if there else set()
        if points != others:
            kept = f"{len(points & others):,}"
            yield Change(f"{_HISTORY}{key}", f"{len(points):,} points", kept, is_other=not points <= others)


def others(found: Sequence[Change]) -> str:
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
