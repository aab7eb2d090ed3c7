"""Traces as MLflow's own client makes them (3.5 and later)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.builders.tracking import tracking


def fill_with_traces(uri: str) -> list[str]:
    """An experiment with traces of every kind that the client makes; their ids.

    A tree of spans with token usage, costs, a session, events and letters of all alphabets; an error; one under way;
    and all kinds of assessments.
    """
    import mlflow
    from mlflow.entities import AssessmentError, AssessmentSource, SpanEvent  # MLflow 2 has none

    with pytest.MonkeyPatch.context() as patch, tracking(uri):
        # One after the other: a trace that is there before its spans has the client put these into the artifacts, too
        patch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
        mlflow.tracing.reset()
        mlflow.set_experiment("traced")
        with mlflow.start_span("wurzel 夢", span_type="CHAIN") as root:
            root.set_inputs({"question": 'Grüße 🎈 "quoted" \\ \n', "numbers": [1, 2.5, 1e300, None, True]})
            with mlflow.start_span("llm", span_type="LLM") as llm:
                usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
                llm.set_attributes({"mlflow.chat.tokenUsage": usage, "mlflow.llm.model": "gpt-4o-mini"})
                llm.set_attribute("mlflow.llm.provider", "openai")
                cost = {"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75}
                llm.set_attribute("mlflow.llm.cost", cost)  # else MLflow looks for it in the internet
                llm.add_event(SpanEvent("token", attributes={"count": 3, "some": [1.5, 2.0]}))
            session = {"mlflow.trace.session": "s-1", "mlflow.trace.user": "ada"}
            mlflow.update_current_trace(tags={"team": "blue", "empty": ""}, metadata=session)
            root.set_outputs("fertig")
        _fail(mlflow)
        client = MlflowClient(uri, uri)
        ids = [trace.info.trace_id for trace in mlflow.search_traces(return_type="list", order_by=["timestamp ASC"])]
        source = AssessmentSource("HUMAN", "ada")
        more: dict[str, Any] = {"trace_id": ids[0], "source": source}
        first = mlflow.log_feedback(name="quality", value=0.7, rationale="so so", metadata={"k": "v"}, **more)
        mlflow.override_feedback(trace_id=ids[0], assessment_id=first.assessment_id, value=3.0)
        mlflow.log_feedback(name="judge", error=AssessmentError("LIMIT", "too many", "line 1"), trace_id=ids[0])
        mlflow.log_feedback(name="listed", value=[1, 2.5, "x"], span_id=root.span_id, **more)
        mlflow.log_expectation(name="answer", value={"b": [1, {"c": 2.0}], "a": None}, **more)
        mlflow.log_feedback(name="says", value="yes", trace_id=ids[1], source=source)
        client.set_trace_tag(ids[1], "note", "ü" * 3000)
        return ids


def _fail(mlflow: Any) -> None:
    with contextlib.suppress(ZeroDivisionError), mlflow.start_span("fails"):
        _ = 1 // 0


OLD_COLUMNS = "request_id, experiment_id, timestamp_ms, execution_time_ms, status"
SPAN = """
INSERT INTO spans (trace_id, experiment_id, span_id, parent_span_id, name, type, status, start_time_unix_nano,
end_time_unix_nano, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ASSESSMENT = """
INSERT INTO assessments (assessment_id, trace_id, name, assessment_type, value, created_timestamp,
last_updated_timestamp, source_type, valid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def old_rows() -> list[tuple[str, tuple[Any, ...]]]:
    """A trace as MLflow 3.10 keeps it: all of its metadata are rows, and JSON has letters as escapes."""
    cost = {"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75}
    content = {
        "trace_id": "AAAAAAAAAAAAAAAAAAAAAQ==",
        "span_id": "AAAAAAAAAAE=",
        "parent_span_id": None,
        "name": "älter",
        "start_time_unix_nano": 1_700_000_000_123_456_789,
        "end_time_unix_nano": 1_700_000_000_999_999_999,
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {
            "mlflow.spanType": '"LLM"',
            "mlflow.llm.model": '"gpt"',
            "mlflow.llm.cost": json.dumps(cost),
        },
    }
    times = (content["start_time_unix_nano"], content["end_time_unix_nano"])
    span = ("tr-1", 1, f"{1:016x}", None, "älter", "LLM", "OK", *times, json.dumps(content))
    metadata = {
        "mlflow.trace.session": "s-1",
        "mlflow.trace.tokenUsage": '{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}',
        "mlflow.trace.cost": json.dumps(cost),
        "mlflow.trace_schema.version": "3",
    }
    tags = {"mlflow.traceName": "älter", "mlflow.trace.spansLocation": "TRACKING_STORE"}
    assessment = ("a-1", "tr-1", "quality", "feedback", '"yes"', 5, 6, "HUMAN", 1)
    return [
        ("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (?, ?, ?)", (1, "old", "active")),
        (f"INSERT INTO trace_info ({OLD_COLUMNS}) VALUES (?, ?, ?, ?, ?)", ("tr-1", 1, 1_700_000_000_123, 876, "OK")),
        *(("INSERT INTO trace_tags VALUES (?, ?, 'tr-1')", pair) for pair in tags.items()),
        *(("INSERT INTO trace_request_metadata VALUES (?, ?, 'tr-1')", pair) for pair in metadata.items()),
        (SPAN, span),
        ("UPDATE spans SET dimension_attributes = ?", (json.dumps({"mlflow.llm.model": "gpt"}),)),
        *(("INSERT INTO span_metrics VALUES ('tr-1', '0000000000000001', ?, ?)", pair) for pair in cost.items()),
        (ASSESSMENT, assessment),
    ]
