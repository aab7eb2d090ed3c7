"""The canonical order of a metric's history."""

from __future__ import annotations

import math
import random
from functools import cmp_to_key

from hypothesis import given
from hypothesis import strategies as st

from mlmeta.schema import MetricHistory, Point, canonical, point_order, to_records
from mlmeta.schema.metrics import POINTS_PER_RECORD
from tests.builders.strategies import CROWDED_POINTS

LISTS = st.lists(CROWDED_POINTS, max_size=12)


def _as_text(points: list[Point]) -> list[str]:
    return [repr(point) for point in points]


def _compare(one: Point, other: Point) -> int:
    """The order written out by hand: step, timestamp, value; NaN last, -0.0 before 0.0."""
    for left, right in zip(one, other, strict=True):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) - math.isnan(right)
        if left != right:
            return -1 if left < right else 1
    return int(math.copysign(1, one[2]) - math.copysign(1, other[2]))


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(points: list[Point], chance: random.Random) -> None:
    shuffled = list(points)
    chance.shuffle(shuffled)
    assert _as_text(canonical(shuffled)) == _as_text(canonical(points))


@given(LISTS)
def test_each_point_is_there_exactly_once(points: list[Point]) -> None:
    found = _as_text(canonical(points))
    assert len(set(found)) == len(found)
    assert set(found) == set(_as_text(points))


@given(LISTS)
def test_the_order_is_the_one_that_the_format_promises(points: list[Point]) -> None:
    found = canonical(points)
    assert _as_text(found) == _as_text(sorted(found, key=cmp_to_key(_compare)))
    assert _as_text(found) == _as_text(sorted(found, key=point_order))


@given(LISTS)
def test_twice_is_the_same_as_once(points: list[Point]) -> None:
    once = canonical(points)
    assert _as_text(canonical(once)) == _as_text(once)


def test_a_long_history_is_cut_into_records_that_say_the_same() -> None:
    points = [(step, 1, float(step)) for step in range(2 * POINTS_PER_RECORD + 1)]
    records = list(to_records("r", "k", points))
    assert [len(record.step) for record in records] == [POINTS_PER_RECORD, POINTS_PER_RECORD, 1]
    assert [point for record in records for point in MetricHistory.points(record)] == points
