"""Rows of the tables `metrics` and `latest_metrics`: the bulk of most stores, so made by hand."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import repeat

from mlmeta.schema import LatestMetric, MetricHistory, Run
from mlmeta.stores.sql.mapping import Row


def latest_rows(run: Run, without: Iterable[MetricHistory]) -> Iterator[Row]:
    """For `latest_metrics`.

    Args:
        run: has the latest points that the snapshot knows.
        without: the other histories: their latest point is the last one.
    """
    yield from latest_points(run.run_id, run.metrics)
    last = {history.key: (history.value[-1], history.step[-1], history.timestamp[-1]) for history in without}
    for key, point in last.items():
        yield _row(run.run_id, key, *point)


def latest_points(run_id: str, metrics: Mapping[str, LatestMetric]) -> Iterator[Row]:
    """For `latest_metrics`: the latest points of metrics, by key."""
    for key, metric in metrics.items():
        yield _row(run_id, key, metric.value, metric.step, metric.timestamp)


def single_point_rows(run: Run, longer: Container[str]) -> Iterator[Row]:
    """For `metrics`: the latest points that are the whole history, as their key is not among the `longer` ones."""
    for key, metric in run.metrics.items():
        if key not in longer:
            yield _row(run.run_id, key, metric.value, metric.step, metric.timestamp)


def _row(run_id: str, key: str, value: float, step: int | None, timestamp: int | None) -> Row:
    nan = math.isnan(value)
    return (run_id, key, 0.0 if nan else value, step, timestamp, nan)


def history_rows(record: MetricHistory) -> Iterator[Row]:
    """For `metrics`."""
    values, nans = stored_values(record)
    return zip(repeat(record.run_id), repeat(record.key), values, record.step, record.timestamp, nans)


def stored_values(record: MetricHistory) -> tuple[Iterable[float], Iterable[bool]]:
    """Values and flags: NaN is stored as 0 with a flag (`SqlAlchemyStore.sanitize_metric_value`)."""
    if math.isfinite(sum(record.value)):
        return record.value, repeat(False)
    nans = [math.isnan(value) for value in record.value]
    return [0.0 if nan else value for nan, value in zip(nans, record.value, strict=True)], nans
