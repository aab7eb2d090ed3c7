"""The numbers of model versions. A server gives each once, and counts on from the highest there ever was.

So a gap is made by creating a version and deleting it, a number that was passed can't be had any more, and a version
that comes out with the wrong number has used one up. A server shows no deleted version; but whatever deletes one sets
the model's time of change, as does what creates one.
"""

from __future__ import annotations

from typing import Any

from mlmeta.schema import RegisteredModel
from mlmeta.stores.api import restore_tags

MOST_FILLERS = 100
"""Most versions of a model that are created and deleted again to keep the numbers of others."""


class Numbers:
    """Which numbers of a model can still be had.

    Args:
        last: the highest number that is known to have been given.
        is_certain: whether no higher one was.
    """

    def __init__(self, last: int = 0, *, is_certain: bool = True) -> None:
        self.last = last
        self._is_certain = is_certain
        self.fillers = 0

    @staticmethod
    def of(model: RegisteredModel, entity: Any, versions: dict[int, Any], timestamp: str) -> Numbers:
        """What the target tells.

        Args:
            model: in the snapshot.
            entity: in the target.
            versions: of the target, by number.
            timestamp: the snapshot's.
        """
        highest, changed = max(versions, default=0), entity.last_updated_timestamp
        mark = entity.tags.get(restore_tags.VERSIONS, "")
        if mark == restore_tags.filling(timestamp):  # a killed restore went no further than the next number it wanted
            return Numbers(highest)
        marked, _, moment = mark.partition(" ")
        known = [highest, int(marked) if marked.isdigit() else 0]
        newest = versions[highest].creation_timestamp if versions else entity.creation_timestamp
        if changed in {newest, int(moment) if moment.isdigit() else None}:  # so nothing was deleted since
            return Numbers(max(known))
        if entity.creation_timestamp == model.creation_timestamp:  # the very model that the snapshot is of
            known += [version.version for version in model.versions]
        return Numbers(max(known), is_certain=False)

    def obstacle(self, number: int) -> str:
        """Why a version can't get a number; empty: it can."""
        gap = number - self.last - 1
        if gap < 0:
            return f"the model's next number is {self.last + 1} or higher: a number is given once, deleted or not"
        if not gap and not self._is_certain:
            return (
                "the model was changed since its newest version was made, so a later one may have been deleted and "
                f"number {number} used up; trying would use up another"
            )
        if self.fillers + gap > MOST_FILLERS:
            return (
                f"{self.fillers + gap} versions would have to be made and deleted to get number {number}, and a "
                f"restore makes at most {MOST_FILLERS} a model"
            )
        return ""

    def given(self, number: int) -> None:
        """Note a number that the server gave, or will give, after those before it."""
        self.fillers += max(number - self.last - 1, 0)
        self.last = max(number, self.last)
        self._is_certain = True
