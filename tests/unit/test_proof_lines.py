"""A proof compares lines first; checked against one that parses every history."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlmeta.schema import LatestMetric, MetricHistory, Run, canonical
from mlmeta.snapshot import equality
from mlmeta.snapshot.compare import Pair, with_followers
from mlmeta.snapshot.reader import Led, RunLines
from mlmeta.stores.proof import Comparison, prove
from mlmeta.stores.sql import changes
from tests.support.examples import examples

VALUES = st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e5, float("nan"), float("inf"), 1.7976931348623157e308])


def _as_a_database_has_them(points: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Without those that are one to MLflow: it keeps 0.0 for -0.0, and the largest number for infinity."""
    return list(
        {(s, t, repr(v + 0.0).replace("inf", "1.7976931348623157e+308")): (s, t, v) for s, t, v in points}.values()
    )


POINTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), VALUES), min_size=1, max_size=5)
POINTS = POINTS.map(_as_a_database_has_them)
HISTORIES = st.dictionaries(st.sampled_from("abc"), POINTS, min_size=1, max_size=3)


def run_with(histories: dict[str, list[tuple[int, int, float]]]) -> tuple[Run, list[MetricHistory]]:
    records, metrics = [], {}
    for key, points in sorted(histories.items()):
        step, timestamp, value = (list(column) for column in zip(*canonical(points), strict=True))
        records.append(MetricHistory(run_id="r", key=key, step=step, timestamp=timestamp, value=value))
        metrics[key] = LatestMetric(step=step[-1], timestamp=timestamp[-1], value=value[-1])
    return Run(run_id="r", experiment_id="1", status="FINISHED", metrics=metrics), records


def compared(histories: tuple[Run, list[MetricHistory]], found: list[Any]) -> Comparison:
    run, records = histories
    (item,) = with_followers(found)
    assert isinstance(item, Led)
    return prove([Pair(RunLines(run, tuple(record.as_line() for record in records)), item)], ())


@examples(300)
@given(HISTORIES, HISTORIES, st.booleans())
def test_a_comparison_of_lines_finds_what_one_of_points_finds(
    monkeypatch: pytest.MonkeyPatch, ours: dict[str, Any], theirs: dict[str, Any], equal: bool
) -> None:
    expected = run_with(ours)
    run, records = run_with(ours if equal else theirs)
    quick = compared(expected, [run, *(record.as_line() for record in records)])
    assert quick == compared(expected, [run, *records])
    with monkeypatch.context() as patch:
        patch.setattr(equality.MetricPoints, "is_plainly", lambda *_: False)
        assert quick == compared(expected, [run, *records])
    assert quick.is_equal or not equal


def test_a_lost_tag_that_says_nothing_is_a_difference() -> None:
    run, _ = run_with({"a": [(0, 0, 0.5)]})
    told = run.model_copy(update={"tags": {"note": "nothing"}})
    found = compared((told, []), [run])
    assert [(d.field, d.expected, d.found) for d in found.differences] == [("tags[note]", "'nothing'", "nothing")]
    assert not found.is_equal


FINITE = VALUES.filter(lambda value: value != float("inf"))
FINITE_POINTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), FINITE), min_size=1, max_size=5)
THEIRS = FINITE_POINTS.map(_as_a_database_has_them)


@examples(300)
@given(FINITE_POINTS, THEIRS)
@example([(0, 0, 0.0), (0, 0, -0.0)], [(0, 0, 0.0)])
@example([(0, 0, float("nan"))], [(0, 0, float("nan"))])
def test_a_stored_history_is_known_by_its_line(
    ours: list[tuple[int, int, float]], theirs: list[tuple[int, int, float]]
) -> None:
    (run, [own]), (_, [found]) = run_with({"a": ours}), run_with({"a": theirs})
    slow = [(s, t, repr(v + 0.0)) for s, t, v in _as_a_database_has_them(ours)]
    is_same = sorted(slow) == sorted((s, t, repr(v + 0.0)) for s, t, v in theirs)
    pair = compared((run, [own]), [run, found])
    assert (pair.matching["metric point"] == pair.compared["metric point"] and pair.is_equal) == is_same
    stored = RunLines(run, (own.as_line(),))
    assert changes.is_same(stored, RunLines(run, (found.as_line(),))) == is_same
    assert not changes.is_same(stored, RunLines(run.model_copy(update={"metrics": {}}), ()))


def test_an_infinity_may_be_stored_as_it_is_or_as_mlflow_does_it() -> None:
    run, own = run_with({"a": [(0, 0, float("inf")), (1, 0, 1.0)]})
    _, clamped = run_with({"a": [(0, 0, 1.7976931348623157e308), (1, 0, 1.0)]})
    _, other = run_with({"a": [(0, 0, 1.7976931348623155e308), (1, 0, 1.0)]})
    assert [compared((run, own), [run, *found]).is_equal for found in (own, clamped, other)] == [True, True, False]
