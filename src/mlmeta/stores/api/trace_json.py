"""What a server says of traces → records: MLflow's JSON of a trace's info and of its assessments.

It is read without MLflow's entities: these differ from version to version, and cost as much time as the reply itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from mlmeta.schema import Assessment, AssessmentError, Trace
from mlmeta.schema.traces import SOURCE_RUN_ID

_TYPES = ("feedback", "expectation", "issue")
MODEL = "mlflow.modelId"
"""In a trace's metadata: the logged model that it is of."""
SHOWN = {"metadata": 250, "tags": 4096}
"""Characters of a value that MLflow's API shows; its columns hold 8,000."""
NOT_SHOWN = frozenset(f"trace {part}" for part in SHOWN)
"""Words for what of a trace is not shown to its end."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STATES = {"UNSPECIFIED": "STATE_UNSPECIFIED"}
"""Older names of states: those of MLflow 2."""


def trace(info: Mapping[str, Any]) -> Trace:
    """From the `TraceInfo` of MLflow 3.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is something else.
    """
    duration = info.get("execution_duration")
    return Trace(
        trace_id=_given(info["trace_id"]),
        experiment_id=_given(info["trace_location"]["mlflow_experiment"]["experiment_id"]),
        timestamp=_moment(info["request_time"]),
        duration=None if duration is None else _milliseconds(duration),
        state=info.get("state", "STATE_UNSPECIFIED"),
        client_request_id=info.get("client_request_id") or None,
        request_preview=info.get("request_preview") or None,
        response_preview=info.get("response_preview") or None,
        tags=info.get("tags", {}),
        metadata=info.get("trace_metadata", {}),
        assessments=tuple(map(_assessment, info.get("assessments", ()))),
    )


def old_trace(info: Mapping[str, Any]) -> Trace:
    """From the `TraceInfo` of MLflow 2, which has no assessments and no previews.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is something else.
    """
    state = info.get("status", "TRACE_STATUS_UNSPECIFIED").removeprefix("TRACE_STATUS_")
    duration = int(info.get("execution_time_ms", 0))
    return Trace(
        trace_id=_given(info["request_id"]),
        experiment_id=_given(info["experiment_id"]),
        timestamp=int(info["timestamp_ms"]),
        duration=None if state == "IN_PROGRESS" and not duration else duration,  # it shows 0 for none
        state=_STATES.get(state, state),
        tags={tag["key"]: tag["value"] for tag in info.get("tags", ())},
        metadata={one["key"]: one["value"] for one in info.get("request_metadata", ())},
    )


def _assessment(info: Mapping[str, Any]) -> Assessment:
    (kind,) = (name for name in _TYPES if name in info)
    error = info[kind].get("error")
    metadata = info.get("metadata", {})
    return Assessment(
        assessment_id=_given(info["assessment_id"]),
        name=info["assessment_name"],
        type=kind,
        value=_value(kind, info[kind]),
        error=None if error is None else AssessmentError.model_validate(error),
        source_type=info["source"]["source_type"],
        source_id=info["source"].get("source_id"),
        created=_moment(info["create_time"]),
        updated=_moment(info["last_update_time"]),
        run_id=metadata.get(SOURCE_RUN_ID),
        span_id=info.get("span_id"),
        rationale=info.get("rationale"),
        overrides=info.get("overrides"),
        valid=info.get("valid", True),
        metadata=metadata,
    )


def _value(kind: str, found: Mapping[str, Any]) -> Any:
    """What an assessment says: an expectation that is more than one number or text comes as a JSON text."""
    if kind == "issue":
        return dict(found)
    serialized = found.get("serialized_value")
    return found.get("value") if serialized is None else json.loads(serialized["value"])


def moment(milliseconds: int) -> str:
    """A time as JSON messages of protobuf have it, such as ``2026-11-26T20:07:14.295Z``."""
    seconds, rest = divmod(milliseconds, 1000)
    at = _EPOCH + timedelta(seconds=seconds)
    return f"{at.isoformat()[:19]}.{rest:03}Z"


def _moment(text: str) -> int:
    """Milliseconds since the epoch."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(f"{whole}+00:00") - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + int(fraction[:3].ljust(3, "0"))


def span_of_time(milliseconds: int) -> str:
    """A duration as JSON messages of protobuf have it, such as ``0.061s``."""
    sign = "-" if milliseconds < 0 else ""
    seconds, rest = divmod(abs(milliseconds), 1000)
    return f"{sign}{seconds}.{rest:03}s"


def _milliseconds(text: str) -> int:
    whole, _, fraction = text.removesuffix("s").partition(".")
    found = int(whole.lstrip("-")) * 1000 + int(fraction[:3].ljust(3, "0"))
    return -found if whole.startswith("-") else found


def _given(text: str) -> str:
    if not text:
        raise ValueError("it has no id")
    return str(text)
