"""The history of metrics, in columns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from pydantic import model_validator
from pydantic_core import to_json

from mlmeta.schema.kind import Int64, Record
from mlmeta.visible import visible

Point = tuple[int, int, float]
"""Step, timestamp (milliseconds since the epoch), value."""

POINTS_PER_RECORD = 10_000
"""A longer history continues in further records, so that no line outgrows memory."""


class MetricHistory(Record):
    """Points of one metric of one run: three columns of the same length, in `point_order`."""

    run_id: str
    key: str
    step: list[Int64]
    timestamp: list[Int64]
    value: list[float]

    @model_validator(mode="after")
    def _columns_are_equally_long(self) -> MetricHistory:
        if not len(self.step) == len(self.timestamp) == len(self.value) or not self.step:
            raise ValueError("the columns step, timestamp and value must be equally long, and not empty")
        return self

    def __repr__(self) -> str:
        return f"<MetricHistory {visible(self.key)} of run {self.run_id}: {self.size:,} point{'s' * (self.size > 1)}>"

    def __str__(self) -> str:
        return repr(self)

    @property
    def size(self) -> int:
        """The number of points."""
        return len(self.step)

    def record(self) -> MetricHistory:
        """Itself: a `HistoryLine` has to be taken apart."""
        return self

    def as_line(self) -> HistoryLine:
        """The line that a snapshot has of it."""
        return HistoryLine(self.run_id, self.key, self.size, self.to_line())

    def points(self) -> Iterator[Point]:
        """The points, one by one."""
        return zip(self.step, self.timestamp, self.value, strict=True)


_LINE = re.compile(rb'\{"run_id":"([^"\\]*)","key":("[^"\\]*(?:\\.[^"\\]*)*"),"step":\[([^\]]*)\],')
_LONG = 1 << 20
"""Bytes that no line of ours has: the expression above would take a hundred times the memory of its backslashes."""


@dataclass(slots=True)  # frozen, it would take three times as long to make: there are millions
class HistoryLine:
    """A metric history as the line that a snapshot has of it, its columns not taken apart.

    Args:
        run_id: of its run.
        key: the metric.
        size: the number of points.
        line: JSON, as `MetricHistory.to_line` gives it.
    """

    run_id: str
    key: str
    size: int
    line: bytes

    @staticmethod
    def of(line: bytes) -> HistoryLine:
        """From a line of a snapshot.

        Raises:
            ValueError: it is not a metric history.
        """
        found = _LINE.match(line) if len(line) <= _LONG else None
        if found is None:  # valid JSON of another make: write it as we do
            record = MetricHistory.model_validate_json(line)
            return HistoryLine(record.run_id, record.key, record.size, record.to_line())
        run_id, key, steps = found.groups()
        return HistoryLine(run_id.decode(), json.loads(key), steps.count(b",") + 1, line)

    @staticmethod
    def of_columns(run_id: str, key: str, step: str, timestamp: str, value: list[float]) -> HistoryLine:
        """From columns, of which the integers are JSON already: ``0,1,2``."""
        line = b'{"run_id":%b,"key":%b,"step":[%b],"timestamp":[%b],"value":%b}' % (
            _json(run_id),
            _json(key),
            step.encode(),
            timestamp.encode(),
            to_json(value, inf_nan_mode="strings"),
        )
        return HistoryLine(run_id, key, len(value), line)

    def record(self) -> MetricHistory:
        """Its columns, taken apart."""
        return MetricHistory.model_validate_json(self.line)

    def as_line(self) -> HistoryLine:
        """Itself."""
        return self

    def to_line(self) -> bytes:
        """The line."""
        return self.line


History = MetricHistory | HistoryLine
"""The two forms of a metric history."""


@lru_cache(maxsize=1000)  # the same few names, again and again
def _json(name: str) -> bytes:
    return to_json(name)


def point_order(point: Point) -> tuple[int, int, bool, float, bool]:
    """Sort key of points: step, timestamp, value; NaN after all numbers, -0.0 before 0.0."""
    step, timestamp, value = point
    if math.isnan(value):
        return (step, timestamp, True, 0.0, True)
    return (step, timestamp, False, value, value == 0 and math.copysign(1, value) > 0)


def canonical(points: Iterable[Point]) -> list[Point]:
    """Points in order, identical ones once: MLflow's database keeps a history as a set."""
    points = list(points)
    values = [value for _, _, value in points]
    if 0.0 in values or any(map(math.isnan, values)):
        return [point for _, point in sorted({point_order(p): p for p in points}.items())]
    return sorted(set(points))  # the same, at the speed of C, where comparing numbers is enough


def to_records(run_id: str, key: str, points: list[Point]) -> Iterator[MetricHistory]:
    """Records of at most `POINTS_PER_RECORD` points for points that are `canonical`."""
    for start in range(0, len(points), POINTS_PER_RECORD):
        step, timestamp, value = zip(*points[start : start + POINTS_PER_RECORD], strict=True)
        yield MetricHistory(run_id=run_id, key=key, step=list(step), timestamp=list(timestamp), value=list(value))
