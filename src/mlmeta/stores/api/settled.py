"""A run that is written while it is read: its latest metrics are from before its histories."""

from __future__ import annotations

from collections.abc import Mapping

from mlmeta.schema import LatestMetric, Point, Run, point_order

_ENDED = {"FINISHED", "FAILED", "KILLED"}


def settled(run: Run, histories: Mapping[tuple[str, str], list[Point]]) -> Run:
    """The run with the latest metrics that its histories end with, as the server would have given it a moment later.

    Only of a run that had not ended: what the server says of others stays, whatever it is.

    Args:
        run: read first.
        histories: points by run id and key, read afterwards.
    """
    if run.status in _ENDED:
        return run
    newer = {}
    for key, latest in run.metrics.items():
        last = max(histories.get((run.run_id, key), ()), key=point_order, default=None)
        if last is not None and last[:2] > (latest.step or 0, latest.timestamp or 0):
            newer[key] = LatestMetric(value=last[2], step=last[0], timestamp=last[1])
    return run.model_copy(update={"metrics": {**run.metrics, **newer}}) if newer else run
