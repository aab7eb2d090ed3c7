"""Histories that need not be read, because an earlier snapshot has them.

MLflow only ever adds points to a history, or removes it as a whole: as many points with the same latest one are the
same points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

from mlmeta.schema import HistoryLine, Run, same_point


class Known(Protocol):
    """What an earlier snapshot knows. Runs come in a snapshot's order."""

    def run(self, now: Run) -> Run | None:
        """The run as it was."""

    def lines(self, run: Run) -> Iterator[HistoryLine]:
        """The histories of a run that `run` found."""


def unchanged(
    known: Known, runs: dict[str, Run], counts: Iterable[tuple[str, str, int]]
) -> Iterator[tuple[str, list[HistoryLine]]]:
    """Those runs of which no history has changed, by id, with their histories.

    Args:
        known: what is known of them.
        runs: by id, in a snapshot's order.
        counts: run id, key and number of points of all their histories.
    """
    now: dict[str, dict[str, int]] = {run_id: {} for run_id in runs}
    for run_id, key, count in counts:
        now[run_id][key] = count
    for run_id, run in runs.items():
        before = known.run(run)
        if before is not None:
            lines = list(known.lines(run))
            if _same_latest(before, run) and _counts(before, lines) == now[run_id]:
                yield run_id, lines


def _same_latest(before: Run, now: Run) -> bool:
    return before.metrics.keys() == now.metrics.keys() and all(
        same_point(metric, now.metrics[key]) for key, metric in before.metrics.items()
    )


def _counts(before: Run, lines: Iterable[HistoryLine]) -> dict[str, int]:
    longer: Counter[str] = Counter()
    for line in lines:
        longer[line.key] += line.size
    return {**dict.fromkeys(before.metrics, 1), **longer}
