"""Records survive the way to JSON and back, whatever is in them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from pydantic import ValidationError

from mlmeta.schema import Experiment, LatestMetric, MetricHistory, Record, Run, experiment_order
from tests.builders import strategies


@given(strategies.records)
def test_a_record_read_again_is_the_same_to_the_byte(record: Record) -> None:
    line = record.to_line()
    assert b"\n" not in line
    assert type(record).model_validate_json(line).to_line() == line


@given(strategies.VALUES)
def test_a_metric_value_keeps_every_bit_and_is_strict_json(value: float) -> None:
    line = LatestMetric(value=value).to_line()
    json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    found = LatestMetric.model_validate_json(line).value
    assert math.isnan(found) if math.isnan(value) else repr(found) == repr(value)


def test_infinities_and_nan_are_written_as_words() -> None:
    words = [
        json.loads(LatestMetric(value=value).to_line())["value"] for value in (math.nan, math.inf, -math.inf, -0.0)
    ]
    assert words == ["NaN", "Infinity", "-Infinity", -0.0]


def test_the_order_in_which_maps_were_filled_does_not_show() -> None:
    one = Experiment(experiment_id="1", name="a", tags={"b": "1", "a": "2"})
    other = Experiment(experiment_id="1", name="a", tags={"a": "2", "b": "1"})
    assert one.to_line() == other.to_line()


def test_fields_of_a_newer_minor_version_are_kept_out_of_the_way() -> None:
    line = b'{"run_id":"r","experiment_id":"1","status":"FINISHED","carbon":{"kg":1}}'
    assert Run.model_validate_json(line) == Run(run_id="r", experiment_id="1", status="FINISHED")


@pytest.mark.parametrize("columns", [([1], [1, 2], [1.0]), ([], [], []), ([1], [1], [])])
def test_columns_of_unequal_length_are_refused(columns: tuple[list[int], list[int], list[float]]) -> None:
    step, timestamp, value = columns
    with pytest.raises(ValidationError, match="equally long"):
        MetricHistory(run_id="r", key="k", step=step, timestamp=timestamp, value=value)


def test_experiment_ids_are_ordered_as_numbers_where_they_are_numbers() -> None:
    assert sorted(["10", "9", "b", "0", "a", "²"], key=experiment_order) == ["0", "9", "10", "a", "b", "²"]


@pytest.mark.parametrize("field", ["tags", "params", "metrics"])
def test_a_key_that_can_not_be_written_is_refused(field: str) -> None:
    """Half a surrogate, as in the name of a file: pydantic would write another key, without a word."""
    value = LatestMetric(value=1) if field == "metrics" else "x"
    with pytest.raises(ValidationError, match="surrogates not allowed"):
        Run(run_id="r", experiment_id="1", status="FINISHED", **{field: {"a\udce9": value}})
