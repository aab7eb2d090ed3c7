"""Proof that a server's bulk endpoint gives what `get_metric_history` gives: it is no documented part of the API."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

from mlmeta.schema import Point, Run
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.histories import Batch, BatchResult, expected, read_bulk, read_singly
from mlmeta.stores.api.pace import Pace

_RUNS = 3
_MOST_POINTS = 2_000
"""Histories that are expected to be longer are no sample: reading them one by one takes too long."""


def is_proven(connection: Connection, pace: Pace, runs: list[Run], executor: Executor) -> bool:
    """Whether both ways agree on a sample: one metric each of the first, the middle and the last of some runs.

    Others may add points meanwhile: so what is read singly before must be in the bulk reply, and that in what is read
    singly afterwards.
    """
    having = [run for run in runs if _key(run)]
    sample = {having[(len(having) - 1) * n // (_RUNS - 1)].run_id: n for n in range(_RUNS)} if having else {}
    asked = [Batch(_key(run), (run.run_id,)) for run in having if run.run_id in sample]
    return all(executor.map(partial(_agrees, connection, pace), asked))


def _key(run: Run) -> str:
    """The metric that seems to have most points, of those that are not too long; empty: none."""
    likely = {key: expected(metric.step) for key, metric in run.metrics.items()}
    return max((key for key, points in likely.items() if points <= _MOST_POINTS), key=likely.__getitem__, default="")


def _agrees(connection: Connection, pace: Pace, batch: Batch) -> bool:
    before = read_singly(connection, pace, batch)
    bulk = _points(read_bulk(connection, pace, batch), batch)
    if bulk == _points(before, batch):
        return True
    return _points(before, batch) <= bulk <= _points(read_singly(connection, pace, batch), batch)


def _points(result: BatchResult, batch: Batch) -> set[str]:
    """As text: NaN equals NaN."""
    points: list[Point] = result.histories.get(batch.run_ids[0], [])
    return {repr(point) for point in points}
