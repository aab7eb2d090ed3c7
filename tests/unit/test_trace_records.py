"""Traces: the same whether they come from MLflow's tables or over its API."""

from __future__ import annotations

import json

from mlmeta.schema import Assessment, Trace


def assessment(key: str, created: int, value: object = None) -> Assessment:
    told = {"assessment_id": key, "name": "quality", "type": "feedback", "source_type": "HUMAN"}
    return Assessment.model_validate({**told, "created": created, "updated": created, "value": value})


def test_whole_numbers_are_integers_and_keys_in_order() -> None:
    value = {"b": 3.0, "a": [1.5, -2.0, True, 2.0**60], "c": {"z": None, "y": 1e300}}
    found = assessment("a-1", 1, value).to_line()
    read = json.loads(found)["value"]
    assert json.dumps(read) == '{"a": [1.5, -2, true, 1.152921504606847e+18], "b": 3, "c": {"y": 1e+300, "z": null}}'
    assert Assessment.model_validate_json(found).to_line() == found


def test_assessments_are_in_the_order_in_which_they_were_made() -> None:
    some = (assessment("a-3", 2), assessment("a-2", 1), assessment("a-1", 2))
    trace = Trace(trace_id="tr-1", experiment_id="0", timestamp=1, state="OK", assessments=some)
    assert [one.assessment_id for one in trace.assessments] == ["a-2", "a-1", "a-3"]


def test_where_its_spans_are() -> None:
    trace = Trace(trace_id="tr-1", experiment_id="0", timestamp=1, state="OK")
    assert trace.spans_location == "ARTIFACT_REPO"
    stored = trace.model_copy(update={"tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"}})
    assert stored.spans_location == "TRACKING_STORE"
