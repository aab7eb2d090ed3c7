"""Traces in a server, made by its own calls: what MLflow's tracing client sends, and what is odd besides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import requests

_API = "/api/3.0/mlflow/traces"
START = 1_700_000_000_123_456_789
"""Nanoseconds."""


@dataclass
class SpanSpec:
    """A span that is to be sent.

    Args:
        number: makes its id, 16 hexadecimal digits.
        parent: the number of its parent; 0: it has none.
        name: of it.
        attributes: texts, numbers, lists and maps.
        events: names of events.
        ended: whether it has an end.
        status: 0: unset, 1: OK, 2: error.
    """

    number: int
    parent: int = 0
    name: str = "span"
    attributes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    ended: bool = True
    status: int = 1


def trace_id(number: int) -> str:
    """The id of the trace with this number."""
    return f"tr-{number:032x}"


def send_spans(uri: str, number: int, spans: list[SpanSpec], experiment_id: str = "0") -> None:
    """Send spans of a trace, as OpenTelemetry does."""
    from mlflow.tracing.utils.otlp import _set_otel_proto_anyvalue  # MLflow 2 has none
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for spec in spans:
        start = START + number * 1_000_000_000 + spec.number * 1_000_000
        span = scope.spans.add(
            trace_id=bytes.fromhex(f"{number:032x}"),
            span_id=bytes.fromhex(f"{spec.number:016x}"),
            parent_span_id=bytes.fromhex(f"{spec.parent:016x}") if spec.parent else b"",
            name=spec.name,
            start_time_unix_nano=start,
            end_time_unix_nano=start + 500_001 if spec.ended else 0,
        )
        span.status.code = spec.status
        for key, value in spec.attributes.items():
            _set_otel_proto_anyvalue(span.attributes.add(key=key).value, value)
        for name in spec.events:
            event = span.events.add(name=name, time_unix_nano=start + 7)
            event.attributes.add(key="count").value.int_value = 3
    headers = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": experiment_id}
    body = message.SerializeToString()
    requests.post(f"{uri}/v1/traces", data=body, headers=headers, timeout=30).raise_for_status()


def start_trace(uri: str, number: int, experiment_id: str = "0", **fields: Any) -> None:
    """What the client says of a trace at its end."""
    info = {
        "trace_id": trace_id(number),
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}},
        "request_time": f"2023-11-14T22:13:{20 + number}.123Z",
        "execution_duration": "0.035s",
        "state": "OK",
        **fields,
    }
    done = requests.post(f"{uri}{_API}", json={"trace": {"trace_info": info}}, timeout=30)
    assert done.ok, done.text


def assess(uri: str, number: int, identifier: str, **fields: Any) -> None:
    """An assessment of a trace; by default, a feedback."""
    value = {} if {"expectation", "issue"} & set(fields) else {"feedback": {"value": True}}
    assessment = {
        "assessment_id": identifier,
        "assessment_name": "quality",
        "source": {"source_type": "HUMAN", "source_id": "ada"},
        "create_time": "2023-11-15T00:00:00.5Z",
        "last_update_time": "2023-11-15T00:00:01Z",
        **value,
        **fields,
    }
    path = f"{uri}{_API}/{trace_id(number)}/assessments"
    done = requests.post(path, json={"assessment": assessment}, timeout=30)
    assert done.ok, done.text


def fill_traces(uri: str, experiment_id: str = "0", run_id: str = "") -> None:
    """Something of everything: a tree of spans, an error, assessments of all types, a session, texts in all letters."""
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    inputs = {
        "question": 'Grüße 🎈 "quoted" \\ \n',
        "numbers": [1, 2.5, 1e300, None, True],
        "nested": {"b": {}, "a": []},
    }
    tree = [
        SpanSpec(
            1, name="root", attributes={"mlflow.spanInputs": inputs, "mlflow.spanType": "CHAIN", "session.id": "s-1"}
        ),
        SpanSpec(2, 1, "llm", {"mlflow.chat.tokenUsage": usage, "mlflow.spanType": "LLM", "text": "1e3"}, ("token",)),
        SpanSpec(3, 2, "tool", {"mlflow.spanOutputs": "plain", "flag": False, "none": None}, status=2),
    ]
    send_spans(uri, 1, tree, experiment_id)
    metadata = {"mlflow.sourceRun": run_id, "mlflow.trace.session": "s-1", "mlflow.trace.sizeStats": '{"num_spans": 3}'}
    start_trace(
        uri,
        1,
        experiment_id,
        client_request_id="client-1",
        request_preview="Grüße",
        response_preview="plain",
        trace_metadata={**({} if run_id else {"note": "x" * 250}), **{k: v for k, v in metadata.items() if v}},
        tags={"mlflow.traceName": "first", "team": "blue", "empty": "", "mlflow.trace.spansLocation": "TRACKING_STORE"},
    )
    assess(uri, 1, "a-1", feedback={"value": 3}, rationale="why", metadata={"key": "value"}, span_id=f"{2:016x}")
    assess(uri, 1, "a-2", feedback={"value": [1, 2.5, "x"]}, overrides="a-1", create_time="2023-11-15T00:00:02Z")
    assess(uri, 1, "a-3", expectation={"value": "yes"}, create_time="2023-11-15T00:00:03Z")
    listed = {"serialization_format": "JSON_FORMAT", "value": '{"b": [1, {"c": 2.5}], "a": null}'}
    assess(uri, 1, "a-4", expectation={"serialized_value": listed}, create_time="2023-11-15T00:00:04Z")
    error = {"error_code": "LIMIT", "error_message": "too many", "stack_trace": "line"}
    judge = {"source_type": "LLM_JUDGE", "source_id": "judge"}
    assess(uri, 1, "a-5", feedback={"value": None, "error": error}, source=judge, create_time="2023-11-15T00:00:05Z")
    assess(uri, 1, "a-6", assessment_name="i-1", issue={"issue_name": "slow"}, create_time="2023-11-15T00:00:06Z")
    send_spans(uri, 2, [SpanSpec(1, name="failed", status=2)], experiment_id)
    start_trace(uri, 2, experiment_id, state="ERROR", execution_duration="1.5s")
    send_spans(uri, 3, [SpanSpec(1, name="by OpenTelemetry alone"), SpanSpec(2, 1)], experiment_id)
    start_trace(uri, 4, experiment_id, tags={"mlflow.traceName": "spans in artifacts"})
