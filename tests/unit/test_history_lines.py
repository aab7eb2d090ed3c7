"""Histories as lines, beside the records that they stand for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mlmeta.schema import HistoryLine, MetricHistory

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, TEXT, st.lists(st.tuples(INT64, INT64, st.floats()), min_size=1))
def test_a_line_of_columns_is_the_line_of_its_record(
    run_id: str, key: str, points: list[tuple[int, int, float]]
) -> None:
    step, timestamp, value = (list(column) for column in zip(*points, strict=True))
    record = MetricHistory(run_id=run_id, key=key, step=step, timestamp=timestamp, value=value)
    line = HistoryLine.of_columns(run_id, key, ",".join(map(str, step)), ",".join(map(str, timestamp)), value)
    assert line.to_line() == record.to_line()
    assert (line.run_id, line.key, line.size) == (run_id, key, record.size)
    again = line.record()
    assert (again.step, again.timestamp) == (step, timestamp)
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(again.value, value, strict=True))
