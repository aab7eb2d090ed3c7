"""When two values are the same to MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from mlmeta.redaction import cut
from mlmeta.schema import HistoryLine, LatestMetric, Record, canonical, point_order
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.records import taken_apart

LARGEST = 1.7976931348623157e308
"""What MLflow's SQL store keeps for infinity (`SqlAlchemyStore.sanitize_metric_value`)."""

StoredPoint = tuple[int, int, str]
"""Step, timestamp and value, the latter as MLflow keeps it."""


@dataclass(slots=True)  # frozen, it would take three times as long to make: there is one for each metric of each run
class MetricPoints:
    """All points of a metric of a run, not taken apart.

    Args:
        lines: its history; none where the latest point is all there is.
        latest: that point.
    """

    lines: tuple[HistoryLine, ...]
    latest: LatestMetric | None

    @property
    def size(self) -> int:
        """The number of points."""
        return sum(line.size for line in self.lines) or 1

    def is_plainly(self, other: MetricPoints) -> bool:
        """Whether the two are the same at first sight: to the byte."""
        if self.lines or other.lines:
            return [line.line for line in self.lines] == [line.line for line in other.lines]
        return self.latest == other.latest

    def points(self) -> set[StoredPoint]:
        """The points, taken apart."""
        if not self.lines:
            return {_point(self.latest)} if self.latest is not None else set()
        return {
            (step, timestamp, repr(_stored(value)))
            for line in self.lines
            for step, timestamp, value in canonical(taken_apart(line).points())
        }


def _point(latest: LatestMetric) -> StoredPoint:
    return latest.step or 0, latest.timestamp or 0, repr(_stored(latest.value))


def metrics_of(item: RunLines) -> dict[str, MetricPoints]:
    """The metrics of a run, by key; those without a step, of an older script, say nothing of points."""
    latest = {key: metric for key, metric in item.record.metrics.items() if metric.step is not None}
    lines: dict[str, list[HistoryLine]] = {key: [] for key in latest}
    for line in item.lines:
        lines.setdefault(line.key, []).append(line)
    return {key: MetricPoints(tuple(own), latest.get(key)) for key, own in lines.items()}


def _stored(value: float) -> float:
    """A value as MLflow's database keeps it."""
    return clamped(value) + 0.0  # -0.0 and 0.0 are one value there


def clamped(value: float) -> float:
    """A value, or the largest number for an infinity."""
    return math.copysign(LARGEST, value) if math.isinf(value) else value


def same(expected: Any, found: Any) -> bool:
    """Whether two values are equal to MLflow's database: NaN is NaN, and an infinity its largest number."""
    return bool(_comparable(expected) == _comparable(found))


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return repr(_stored(value))
    if isinstance(value, Record):
        return {k: _comparable(v) for k, v in value}
    if isinstance(value, dict):
        return {k: _comparable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_comparable(v) for v in value]
    return value


class _Nothing:
    """Stands for a key that is not there; equal to no value, not even to the word."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def parts(field: str, expected: Any, found: Any) -> Iterator[tuple[str, Any, Any]]:
    """The keys of a map that differ; anything else as a whole."""
    if not isinstance(expected, dict) or not isinstance(found, dict):
        yield field, expected, found
        return
    for key in sorted({*expected, *found}):
        left, right = expected.get(key, NOTHING), found.get(key, NOTHING)
        if not same(left, right):
            yield f"{field}[{key}]", left, right


def differences(
    expected: Mapping[str, Any], found: Mapping[str, Any], fields: Iterable[str]
) -> Iterator[tuple[str, Any, Any]]:
    """Those of some fields that differ, maps key by key: name, and both values."""
    for field in fields:
        if not same(expected[field], found[field]):
            yield from parts(field, expected[field], found[field])


_TOUCHED = {"last_update_time", "last_updated_timestamp"}
"""Times that MLflow moves on whenever something is added to a record."""


def is_more(field: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a field of `differences` has all that is expected, and more or later things besides.

    Args:
        field: as `differences` names it.
        expected: the fields of a record.
        found: likewise.
    """
    name, bracket, key = field.partition("[")
    wanted, actual = expected[name], found[name]
    if isinstance(wanted, dict) and not bracket:  # the target has something else than a map
        return not wanted
    if isinstance(wanted, dict):
        return key[:-1] not in wanted or _is_later(wanted[key[:-1]], actual.get(key[:-1]))
    if isinstance(wanted, tuple):
        return all(item in actual for item in wanted)
    return name in _TOUCHED and (wanted or 0) < (actual or 0)


def _is_later(expected: object, found: object) -> bool:
    """Whether a metric was logged on. Whether its earlier points are still there, its history tells."""
    if not isinstance(expected, LatestMetric) or not isinstance(found, LatestMetric):
        return False
    return _order(expected) < _order(found)


def _order(metric: LatestMetric) -> tuple[Any, ...]:
    return point_order((metric.step or 0, metric.timestamp or 0, _stored(metric.value)))


def short(value: Any) -> str:
    """A value for a message."""
    text = value.to_line().decode() if isinstance(value, Record) else repr(value)
    return cut(text, 80)


def plain(value: Any, most: int) -> tuple[Any, bool]:
    """A value as JSON has it, and whether it was cut: more than `most` bytes of JSON come as the beginning of it."""
    if value is NOTHING:
        return None, False
    text = to_json(value, inf_nan_mode="strings", by_alias=True)
    if len(text) > most:
        return cut(text.decode(), most), True
    return json.loads(text), False
