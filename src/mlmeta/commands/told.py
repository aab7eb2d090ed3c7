"""Progress of a backup, in the counts that its result will show."""

from __future__ import annotations

from collections import Counter

from mlmeta.progress import Progress
from mlmeta.schema import Skipped
from mlmeta.snapshot.writer import SnapshotWriter

_SELDOM = 50
"""Records that others may follow, after which it is told how many there are."""


class Told:
    """Passes on the phases of a source; how much there is, the writer counts.

    `skipped` is what it came upon that the writer leaves out.
    """

    def __init__(self, progress: Progress, writer: SnapshotWriter) -> None:
        """Begin with nothing told.

        Args:
            progress: that listens.
            writer: of the snapshot that is being made.
        """
        self.skipped: list[Skipped] = []
        self._progress = progress
        self._writer = writer
        self._told: Counter[str] = Counter()
        self._calls = 0

    def phase(self, name: str) -> None:
        """What was read up to now belongs to the phase before."""
        self.skipped += self._writer.settle()
        self.tell()
        self._progress.phase(name)

    def expect(self, unit: str, total: int) -> None:
        """Passed on."""
        self._progress.expect(unit, total)

    def advance(self, unit: str, amount: int = 1) -> None:
        """Nothing: the writer counts."""

    def now_and_then(self) -> None:
        """Tell what was counted, once in many calls."""
        self._calls += 1
        if not self._calls % _SELDOM:
            self.tell()

    def tell(self) -> None:
        """Tell what was counted since the last time."""
        for unit, count in self._writer.stats.items():
            if more := count - self._told[unit]:
                self._told[unit] = count
                self._progress.advance(unit.replace("_", " "), more)
