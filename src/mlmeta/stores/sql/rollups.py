"""MLflow's daily statistics of traces (3.17 on): days whose traces changed are noted there, to be counted again.

A restore adds traces to days that may have been counted already. As MLflow's own writers do
(`mlflow/store/tracking/utils/sql_trace_rollups.py`), it notes which.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import date, datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

TRACE_METRIC, SPAN_COST, ASSESSMENT = "trace_metric", "span_cost", "assessment"
_ROLLUPS = ("sql_trace_metric_daily_rollups", "sql_span_cost_daily_rollups", "sql_assessment_daily_rollups")
_QUEUE = sa.table(
    "sql_trace_rollup_rebuild_queue",
    sa.column("experiment_id", sa.Integer),
    sa.column("rollup_day", sa.Date),
    sa.column("rollup_family", sa.String),
)
_DAY = 86_400_000
"""Milliseconds. Days that are not yet over for so long are counted when they are."""


class Rollups:
    """The days of a target that have to be counted again.

    Args:
        connection: in a transaction that may write.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._days: set[tuple[int, int, str]] = set()
        there = set(sa.inspect(connection).get_table_names())
        self._is_needed = _QUEUE.name in there and any(self._has_rows(name) for name in _ROLLUPS if name in there)
        self._newest = time.time() * 1000 - _DAY

    def _has_rows(self, name: str) -> bool:
        query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
        return self._connection.execute(query).first() is not None

    def add(self, experiment_id: int, timestamp: int, span_starts: Iterable[int]) -> None:
        """Note the days of a trace.

        Args:
            experiment_id: of the trace.
            timestamp: of the trace, milliseconds since the epoch.
            span_starts: of its spans, nanoseconds since the epoch.
        """
        if not self._is_needed:
            return
        starts = {start // 1_000_000 for start in span_starts}
        for family, moments in ((TRACE_METRIC, {timestamp}), (ASSESSMENT, {timestamp}), (SPAN_COST, starts)):
            self._days.update((experiment_id, moment // _DAY, family) for moment in moments if moment <= self._newest)

    def finish(self) -> None:
        """Write what was noted, but for what is there already."""
        noted = {(number, _date(day), family) for number, day, family in self._days}
        if not noted:
            return
        columns: Any = _QUEUE.c
        there = self._connection.execute(sa.select(columns.experiment_id, columns.rollup_day, columns.rollup_family))
        if new := sorted(noted - {tuple(row) for row in there}):
            names = [column.name for column in _QUEUE.columns]
            self._connection.execute(sa.insert(_QUEUE), [dict(zip(names, row, strict=True)) for row in new])


def _date(day: int) -> date:
    return datetime.fromtimestamp(day * _DAY / 1000, tz=timezone.utc).date()
