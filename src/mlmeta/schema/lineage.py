"""What a guard's snapshots have in them of the guards before it. No clock is asked: epochs and names of snapshots tell.

Guards of a store are numbered: the number is a guard's epoch. One that starts goes on from a snapshot of an earlier
one, which may go on as well, for a while. What that one saves then is in nothing that the later one saves, until it is
brought in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

LAST_EPOCH = 999_999_999
_MOST = 64
"""Earlier guards that are told apart; those before count as brought in."""


@dataclass(frozen=True)
class Lineage:
    """What is in a guard's snapshot, or in the store that it guards.

    Args:
        epoch: of the guard; 0: there is none.
        includes: of earlier guards, by their epochs, the timestamp of the newest snapshot whose content is in it.
    """

    epoch: int = 0
    includes: Mapping[int, str] = field(default_factory=dict)

    def has(self, epoch: int, timestamp: str) -> bool:
        """Whether the content of an earlier guard's snapshot is in it.

        Args:
            epoch: of that guard.
            timestamp: of the snapshot.
        """
        last = self.includes.get(epoch)
        if last is not None:
            return timestamp <= last
        return len(self.includes) >= _MOST and epoch < min(self.includes)

    def follows(self, epoch: int, timestamp: str) -> bool:
        """Whether it goes on from a snapshot, as far as that can be known: its guard's own, or one that is in it."""
        return not self.epoch or epoch in {0, self.epoch} or self.has(epoch, timestamp)

    def having(self, epoch: int, timestamp: str) -> Lineage:
        """The same, with the content of an earlier guard's snapshot; 0 is none's."""
        if not epoch or self.has(epoch, timestamp):
            return self
        newest = sorted({**self.includes, epoch: timestamp}.items())[-_MOST:]
        return replace(self, includes=dict(newest))

    def joined(self, other: Lineage) -> Lineage:
        """The same, with all that is in another one."""
        found = self
        for epoch, timestamp in other.includes.items():
            found = found.having(epoch, timestamp)
        return found

    def fork(self, other: Lineage) -> str:
        """The timestamp of the newest snapshot that is in both, by its guard's number; empty: none is.

        Args:
            other: of an earlier guard's snapshot.
        """
        if other.epoch in self.includes:
            return self.includes[other.epoch]
        last = max(self.includes.keys() & other.includes.keys(), default=0)
        return min(self.includes[last], other.includes[last]) if last else ""
